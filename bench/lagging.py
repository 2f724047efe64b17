"""An activator that notes how late its loop is.

    python -m bench.lagging --config FILE --notes FILE

A line each INTERVAL: when (monotonic seconds, the same in every process) and how much later the
loop came round than it was asked to. Until SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Final

from activator.aiokit.tasks import Tasks
from activator.app import App
from activator.cli import main as activator
from bench.failure import BenchError

INTERVAL: Final = 0.005


async def note_lags(notes: Path) -> None:
    with notes.open("w", buffering=1) as lines:
        while True:
            asked = time.monotonic()
            await asyncio.sleep(INTERVAL)
            now = time.monotonic()
            lines.write(f"{now:.6f} {now - asked - INTERVAL:.6f}\n")


def lags_between(notes: Path, since: float, until: float) -> list[float]:
    """In order."""
    pairs = (line.split() for line in notes.read_text("utf-8").splitlines())
    return sorted(float(lag) for at, lag in pairs if since <= float(at) <= until)


def worst(notes: Path, since: float, until: float) -> float:
    """Seconds. Raises BenchError if the loop never came round."""
    lags = lags_between(notes, since, until)
    if not lags:
        raise BenchError(f"the loop did not come round within {until - since:.1f} s")
    return lags[-1]


class Noting(App):
    """Until it has stopped."""

    notes: Path

    async def start(self) -> None:
        await super().start()
        self._noting = Tasks("lags")
        self._noting.spawn(note_lags(self.notes), name="note")

    async def stop(self, *, drain_delay: float = 0.0, grace: float | None = None) -> None:
        await super().stop(drain_delay=drain_delay, grace=grace)
        await self._noting.aclose()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.lagging", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--notes", type=Path, required=True)
    options = parser.parse_args()
    Noting.notes = options.notes
    # all else is as in `activator serve`, what it does about garbage included
    vars(import_module("activator.app.serve"))["App"] = Noting
    return activator(["serve", "-c", str(options.config)])


if __name__ == "__main__":
    sys.exit(main())
