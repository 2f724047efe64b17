"""Whether the API server answers, for all of this process who wait until it does.

While it is away one of them at a time asks again soon, whatever their own pauses have grown to;
the first answer ends everybody's pause. Who asks, and what for, is not known here.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

SCOUT: Final = 0.75
"""Seconds between two questions of a server that is away: requests wait behind it, and one refused
connection costs nobody anything."""
SPREAD: Final = 0.25
"""Seconds over which those who have waited come back to it: it has just started."""


class Outage:
    """Of one API server, which is taken to be there until a call finds that it is not."""

    def __init__(self, *, clock: Callable[[], float], dice: Callable[[], float]) -> None:
        self._clock = clock
        self._dice = dice
        self._there = asyncio.Event()
        self._there.set()
        self.count = 0
        """Of those that are over."""
        self._scouted_at = float("-inf")
        """When the latest scout's pause ends: another one may be needed from then on."""

    def began(self) -> None:
        """It could not be asked."""
        self._there.clear()

    def over(self) -> None:
        """It has done what it was asked."""
        if not self._there.is_set():
            self.count += 1
            self._there.set()

    async def pause(self, seconds: float) -> None:
        """So long, but no longer than the server is away, if it is; or less, to see whether."""
        if self._there.is_set():
            await asyncio.sleep(seconds)
            return
        now = self._clock()
        if now >= self._scouted_at:
            seconds = min(seconds, SCOUT)
            self._scouted_at = now + seconds
        try:
            async with asyncio.timeout(seconds):
                await self._there.wait()
        except TimeoutError:
            return
        await asyncio.sleep(self._dice() * SPREAD)
