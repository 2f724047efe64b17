"""An activator that notes how late its loop is.

    python -m bench.lagging --config FILE --notes FILE

A line each INTERVAL: when (monotonic seconds, the same in every process) and how much later the
loop came round than it was asked to. Until SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import time
from pathlib import Path
from typing import Final

import uvloop

from activator.app import App
from activator.config.settings import load

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


async def run(config: Path, notes: Path) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    app = App(load(config))
    await app.start()
    noting = asyncio.ensure_future(note_lags(notes))  # noqa: TID251 -- outlives nothing
    await stopping.wait()
    noting.cancel()
    await app.stop(grace=0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.lagging", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--notes", type=Path, required=True)
    options = parser.parse_args()
    uvloop.run(run(options.config, options.notes))


if __name__ == "__main__":
    main()
