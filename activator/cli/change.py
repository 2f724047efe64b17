"""`activator activate`, `deactivate`, `pause`, `resume`: one order to a running activator."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from activator.cli.client import client_of
from activator.cli.tables import in_a_line

if TYPE_CHECKING:
    import argparse


def run(args: argparse.Namespace) -> int:
    body = {"force": True} if getattr(args, "force", False) else {}
    status = client_of(args).post("endpoints", args.endpoint, args.command, body=body)
    print(json.dumps(status, indent=2) if args.json else in_a_line(status))
    return 0
