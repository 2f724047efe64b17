"""Runs a driver in a test and keeps the snapshots it tells."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from activator.aiokit.tasks import Tasks
from activator.drivers.base import Phase
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from activator.drivers.base import Driver, Exit, Sighting, Snapshot


class Driven:
    """A driver at work. `seen` holds every snapshot, oldest first."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.seen: list[Snapshot] = []
        self.run = Tasks("driven").spawn(driver.run(self.seen.append), name="run")

    @property
    def now(self) -> Snapshot:
        return self.seen[-1]

    def started(self) -> list[Sighting]:
        return [seen for seen in self.now.replicas if seen.phase is Phase.STARTED]

    async def until(self, check: Callable[[Snapshot], object], *, within: float = 5.0) -> Snapshot:
        """The first snapshot from now on (the present one included) that passes `check`."""

        def passes() -> bool:
            if self.run.done() and not self.run.cancelled():
                self.run.result()
            return bool(self.seen and check(self.now))

        await eventually(passes, within=within)
        return self.now

    async def until_started(self, count: int) -> list[Sighting]:
        await self.until(lambda _: len(self.started()) == count)
        return self.started()

    async def until_empty(self, *, within: float = 5.0) -> None:
        await self.until(lambda snapshot: not snapshot.replicas, within=within)

    async def until_exit(self, *, count: int = 1) -> Exit:
        """The newest of at least `count` unasked ends, once nothing is left of that replica."""
        snapshot = await self.until(
            lambda s: (
                len(s.exits) >= count and s.exits[-1].id not in {seen.id for seen in s.replicas}
            )
        )
        return snapshot.exits[-1]

    async def end(self) -> None:
        self.run.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.run


@contextlib.asynccontextmanager
async def driving(driver: Driver) -> AsyncIterator[Driven]:
    """From the first snapshot on; afterwards the driver is cancelled and has ended."""
    driven = Driven(driver)
    try:
        await driven.until(lambda _: True)
        yield driven
    finally:
        await driven.end()
