"""How a command ends badly, and how anything is said to people: one line on stderr."""

from __future__ import annotations

import sys

from activator.telemetry import logs


class WrongUsage(Exception):
    """Arguments or environment that cannot be used; exit status 2."""


class Failed(Exception):
    """It was asked for rightly and did not work out; exit status 1."""


def say(message: str) -> None:
    """A line for people; stdout is for data."""
    logs.flush()
    print(f"activator: {message}", file=sys.stderr)
