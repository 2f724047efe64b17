"""`activator serve`: run an App under uvloop until a signal ends it."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from typing import TYPE_CHECKING, Any, Final

import uvloop

from activator.aiokit.tasks import Tasks
from activator.app.app import App, raise_open_files
from activator.config.settings import load

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_log = logging.getLogger("activator.app")

SETTLED: Final = 2.0
"""Seconds between two looks at whether what the endpoints make at the start has all been made."""
LOOKS: Final = 15
"""At most: by then everything is in order, or so much goes on that garbage matters."""
FEW: Final = 1_000
"""More objects than at the last look, where nothing else is made than what requests need."""


def serve(path: Path, *, overrides: Mapping[str, Any]) -> int:
    """Blocks; returns the exit status. Raises ConfigError (the file) or StartError (the world)."""
    # what start-up makes stays; with thousands of endpoints looking for what does not takes longer
    # than making it
    gc.disable()
    settings = load(path, overrides=overrides)
    for warning in settings.warnings:
        _log.warning(warning, extra={"action": "configuration_warning"})
    raise_open_files()
    return uvloop.run(_serve(App(settings, overrides=overrides)))


async def _serve(app: App) -> int:
    received: asyncio.Queue[signal.Signals] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, received.put_nowait, number)
    await app.start()
    tasks = Tasks("serve")
    tasks.spawn(_collect_garbage(), name="garbage")
    while (number := await received.get()) is signal.SIGHUP:
        app.reloading.poke()
    # a person at a terminal has no load balancer that must notice first
    delay = app.reloading.settings.server.drain_delay if number is signal.SIGTERM else 0.0
    stopping = tasks.spawn(app.stop(drain_delay=delay), name="stop")
    again = tasks.spawn(_told_again(received), name="again")
    await asyncio.wait({stopping, again}, return_when=asyncio.FIRST_COMPLETED)
    if not stopping.done():
        _log.warning("stopping at once", extra={"action": "stopping_at_once"})
        app.hurry()
        await stopping
    await tasks.aclose()
    return 0


async def _collect_garbage() -> None:
    """As soon as all is made that lives as long as the process; that is never looked at again: each
    look at the objects of thousands of endpoints would be felt by requests."""
    before = gc.get_count()[0]
    for _ in range(LOOKS):
        await asyncio.sleep(SETTLED)
        now = gc.get_count()[0]
        if now - before < FEW:
            break
        before = now
    gc.freeze()
    gc.enable()


async def _told_again(received: asyncio.Queue[signal.Signals]) -> None:
    while await received.get() is signal.SIGHUP:
        continue
