"""`activator events`: what has happened, and with `-f` what happens until Ctrl-C."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from activator.cli.client import client_of
from activator.cli.outcome import WrongUsage, say
from activator.config.units import parse_duration
from activator.telemetry.logs import printable, word

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable


def run(args: argparse.Namespace) -> int:
    after, not_before = _since(args.since)
    client = client_of(args)
    events: Iterable[dict[str, Any]]
    events = client.follow(since=after) if args.follow else client.events(since=after)
    try:
        for event in events:
            if "lost" in event:
                say(f"{event['lost']} events are missing here: they came too fast, or long ago")
            elif event["at"] >= not_before:
                line = json.dumps(event) if args.json else _line(event)
                print(line, flush=args.follow)
    except KeyboardInterrupt:
        if not args.follow:
            raise
    return 0


def _since(given: str | None) -> tuple[int, float]:
    """(after this id, not before this Unix time)."""
    if given is None:
        return 0, 0.0
    if given.isascii() and given.isdigit():
        return int(given), 0.0
    try:
        return 0, time.time() - parse_duration(given)
    except ValueError:
        raise WrongUsage(
            f"--since takes the id of an event or a duration like 10m, not {given!r}"
        ) from None


def _line(event: dict[str, Any]) -> str:
    at = datetime.fromtimestamp(event["at"]).astimezone().isoformat(sep=" ", timespec="seconds")
    fields = " ".join(f"{name}={word(value)}" for name, value in event["fields"].items())
    if event.get("activator"):
        fields += f" activator={word(event['activator'])}"
    words = (event["endpoint"], event["action"], event["reason"], fields.strip())
    return "  ".join([at, *(printable(word) for word in words if word)])
