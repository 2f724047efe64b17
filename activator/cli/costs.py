"""`activator status --cost`: what endpoints cost and saved, as a table, JSON or CSV."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from activator.cli.outcome import Failed
from activator.cli.tables import span
from activator.core.key_usage import NOBODY, OTHERS

if TYPE_CHECKING:
    import argparse

    from activator.cli.client import Client
    from activator.cli.tables import Row, Table

Days = list[dict[str, Any]]

THIS_MONTH: Row = (
    "ENDPOINT",
    "TODAY",
    "SAVED TODAY",
    "THIS MONTH",
    "SAVED",
    "STARTS",
    "UP",
    "SAVED TIME",
)
A_SPAN: Row = ("ENDPOINT", "COST", "SAVED", "STARTS", "COST OF STARTS", "UP", "SAVED TIME")
BY_KEY: Row = (
    "ENDPOINT",
    "KEY",
    "REQUESTS",
    "AT WORK",
    "STARTS",
    "KEPT IDLE",
    "UP",
    "COST",
)
TIMES = ("slot_seconds", "wait_seconds", "kept_seconds", "replica_seconds")
NAMES = {NOBODY: "(nobody)", OTHERS: "(others)"}


def ask_costs(client: Client, args: argparse.Namespace) -> dict[str, Any]:
    told: dict[str, Any] = client.get("costs", query=_query(args))
    return told


def print_csv(client: Client, args: argparse.Namespace) -> None:
    """Each endpoint's days, as they are told."""
    lines = client.text("costs", query=_query(args), accept="text/csv")
    sys.stdout.write(lines.replace("\r\n", "\n"))


def cost_table(told: dict[str, Any], args: argparse.Namespace) -> Table:
    """An endpoint a row, and what all of them make. Raises Failed if there is none."""
    if not told["days"]:
        raise Failed(f"nothing is booked from {told['from']} to {told['to']}")
    if args.by_key:
        return BY_KEY, _key_rows(told["days"])
    by_name: dict[str, Days] = {}
    for each in told["days"]:
        by_name.setdefault(each["endpoint"], []).append(each)
    if len(by_name) > 1:
        by_name["total"] = told["days"]
    today = None if args.first or args.last else told["today"]
    head = A_SPAN if today is None else THIS_MONTH
    return head, [_row(name, days, today=today) for name, days in by_name.items()]


def _query(args: argparse.Namespace) -> dict[str, list[str]]:
    asked = {"endpoint": args.endpoint, "from": args.first, "to": args.last}
    if args.by_key:
        asked["by"] = "key"
    return {name: [value] for name, value in asked.items() if value}


def _key_rows(days: Days) -> list[Row]:
    """Of each endpoint, who costs most first."""
    found: dict[tuple[str, str], Days] = {}
    for each in days:
        found.setdefault((each["endpoint"], each["key"]), []).append(each)
    ordered = sorted(found.items(), key=lambda it: (it[0][0], -_sum(it[1], "cost"), it[0][1]))
    rows = [_key_row(endpoint, key, of_it) for (endpoint, key), of_it in ordered]
    return rows if len(rows) < 2 else [*rows, _key_row("total", "", days)]


def _key_row(endpoint: str, key: str, days: Days) -> Row:
    who = "" if endpoint == "total" else NAMES.get(key, key)
    times = (span(_sum(days, name)) for name in TIMES)
    return (endpoint, who, str(_sum(days, "requests")), *times, _money(days, "cost"))


def _row(name: str, days: Days, *, today: str | None) -> Row:
    """`today`: its figures come first; None: a span of days."""
    now = [each for each in days if each["day"] == today]
    first = (_money(now, "cost"), _money(now, "saved")) if today else ()
    of_them = () if today else (_money(days, "cold_start_cost"),)
    return (
        name,
        *first,
        _money(days, "cost"),
        _money(days, "saved"),
        str(_sum(days, "cold_starts")),
        *of_them,
        span(_sum(days, "ready_seconds") + _sum(days, "other_seconds")),
        span(_sum(days, "saved_seconds")),
    )


def _money(days: Days, figure: str) -> str:
    return f"{_sum(days, figure):.2f}"


def _sum(days: Days, figure: str) -> Any:
    return sum(each[figure] for each in days)
