"""`activator status`: the endpoints of a running activator at a glance, one in detail, or costs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from activator.cli.client import client_of
from activator.cli.costs import ask_costs, cost_table, print_csv
from activator.cli.outcome import WrongUsage, say
from activator.cli.progress import Progress
from activator.cli.tables import (
    ENDPOINTS,
    REPLICAS,
    Seen,
    details,
    endpoint_row,
    replica_row,
    show,
)
from activator.cli.watching import check_terminal, watch
from activator.telemetry.logs import printable

if TYPE_CHECKING:
    import argparse
    from typing import Any

    from activator.cli.client import Client


def run(args: argparse.Namespace) -> int:
    if not args.cost and (args.first or args.last or args.csv or args.by_key):
        raise WrongUsage("--from, --to, --csv and --by-key tell costs: give --cost as well")
    if args.watch and (args.json or args.csv):
        raise WrongUsage("--watch is for the eye: without --json and --csv")
    if args.watch:
        check_terminal()
    client = client_of(args)
    if args.watch:
        watch(lambda: _seen(_ask(client, args), args))
        return 0
    if args.csv:
        print_csv(client, args)
        return 0
    with Progress("asking for the status"):
        told = _ask(client, args)
    if args.json:
        print(json.dumps(told, indent=2))
    else:
        _show(_seen(told, args))
    return 0


def _ask(client: Client, args: argparse.Namespace) -> Any:
    if args.cost:
        return ask_costs(client, args)
    return client.get("endpoints", *([] if args.endpoint is None else [args.endpoint]))


def _seen(told: Any, args: argparse.Namespace) -> Seen:
    if args.cost:
        return Seen((cost_table(told, args),))
    if args.endpoint is not None:
        replicas = (REPLICAS, [replica_row(one) for one in told["replicas"]])
        return Seen(((("", ""), details(told)), *([replicas] if told["replicas"] else [])))
    rows = [endpoint_row(one) for one in told["endpoints"]]
    problems = told["configuration"]["problems"]
    notes = [f"  {printable(problem)}" for problem in problems]
    if notes:
        refused = "the last change of the configuration was refused, the one before is in force:"
        notes.insert(0, refused)
    return Seen(((ENDPOINTS, rows),), tuple(notes))


def _show(seen: Seen) -> None:
    for number, (head, rows) in enumerate(seen.tables):
        if number:
            print()
        show(head, rows)
    for note in seen.notes:
        say(note)
