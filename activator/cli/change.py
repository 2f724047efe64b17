"""`activator activate`, `deactivate`, `pause`, `resume`: one order to a running activator."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from activator.cli.client import client_of
from activator.cli.progress import Progress
from activator.cli.tables import in_a_line
from activator.cli.waiting import wait

if TYPE_CHECKING:
    import argparse

_DOING: Final = {
    "activate": "activating",
    "deactivate": "deactivating",
    "pause": "pausing",
    "resume": "resuming",
}


def run(args: argparse.Namespace) -> int:
    client, name = client_of(args), args.endpoint
    body = {"force": True} if getattr(args, "force", False) else {}
    with Progress(f"{_DOING[args.command]} {name}") as progress:
        status = client.post("endpoints", name, args.command, body=body)
        if getattr(args, "wait", False):
            status = wait(
                args.command,
                status,
                look=lambda: client.get("endpoints", name),
                say=progress.say,
            )
    print(json.dumps(status, indent=2) if args.json else in_a_line(status))
    return 0
