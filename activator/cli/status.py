"""`activator status`: the endpoints of a running activator at a glance, or one in detail."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from activator.cli.client import client_of
from activator.cli.costs import show_costs
from activator.cli.outcome import WrongUsage, say
from activator.cli.tables import ENDPOINTS, REPLICAS, details, endpoint_row, replica_row, show
from activator.telemetry.logs import printable

if TYPE_CHECKING:
    import argparse


def run(args: argparse.Namespace) -> int:
    if not args.cost and (args.first or args.last or args.csv):
        raise WrongUsage("--from, --to and --csv tell costs: give --cost as well")
    client = client_of(args)
    if args.cost:
        show_costs(client, args)
        return 0
    if args.endpoint is not None:
        status = client.get("endpoints", args.endpoint)
        if args.json:
            print(json.dumps(status, indent=2))
            return 0
        show(("", ""), details(status))
        if status["replicas"]:
            print()
            show(REPLICAS, [replica_row(one) for one in status["replicas"]])
        return 0
    listed = client.get("endpoints")
    if args.json:
        print(json.dumps(listed, indent=2))
        return 0
    show(ENDPOINTS, [endpoint_row(one) for one in listed["endpoints"]])
    problems = listed["configuration"]["problems"]
    if problems:
        say("refused of what is declared (what was in force before stays, where there was any):")
        for problem in problems:
            say(f"  {printable(problem)}")
    return 0
