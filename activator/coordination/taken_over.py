"""The demand board of an activator that serves alone, after another did.

What the one before still has in flight cannot be asked for: for as long as it may have something,
nothing is stopped. What it has prepared before it was overtaken is made void, before a request of
ours can suffer from it.
"""

from __future__ import annotations

import asyncio
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final

from activator.aiokit.tasks import Tasks
from activator.coordination.memory import MemoryBoard
from activator.core.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.coordination.base import Member

LONGEST: Final = 86400.0
"""Seconds that the one before may have a request in flight, where nothing else bounds it."""
AT_ONCE: Final = 16
"""Endpoints that are made sure of beside each other."""
_AGAIN: Final = Backoff(first=0.1, factor=2.0, cap=5.0)


class TakenBoard(MemoryBoard):
    """`DemandBoard`, until `aclose`."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._taken_at = -inf
        self._finishing = 0.0
        self._room = asyncio.Semaphore(AT_ONCE)
        self._tasks = Tasks("taken board")

    def take_over(self, *, finishing: float | None, is_up: Callable[[str], bool]) -> None:
        """From one that needs so many seconds at most to finish what it has; None: it may exist,
        and may not know yet. `is_up`: replicas of an endpoint are wanted."""
        self._taken_at = self._clock()
        self._finishing = LONGEST if finishing is None else finishing
        for endpoint, member in self._members.items():
            if is_up(endpoint):
                holds = member.quiesce()
                void = partial(self._make_void, endpoint, member, holds=holds)
                self._tasks.spawn_lasting(void, name=f"take {endpoint} over")

    def unsure_until(self, endpoint: str) -> float:
        member = self._members.get(endpoint)
        if member is None or not self._finishing:
            return -inf
        return self._taken_at + min(self._finishing, member.patience or LONGEST)

    async def aclose(self) -> None:
        await self._tasks.aclose()

    async def _make_void(self, endpoint: str, member: Member, *, holds: bool) -> None:
        attempt = 0
        async with self._room:
            while self._members.get(endpoint) is member and not await member.mark_revived():
                attempt += 1
                await asyncio.sleep(_AGAIN.delay(attempt))
        if holds:
            member.revive()
