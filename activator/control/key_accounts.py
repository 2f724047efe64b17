"""Books what each API key has used, every activator for itself.

Use at different activators only adds up, so that nobody has to lead here. What was given to the
store without an answer is given again as it was, and counts once; what has come since waits for the
next entries. What is to be made of it all is `core.key_usage`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from activator.aiokit.slices import Slices
from activator.aiokit.tasks import Tasks
from activator.core.key_usage import UNUSED, KeyEntry, KeyUse
from activator.core.usage import day_of
from activator.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import date

    from activator.coordination.base import CostBook
    from activator.upstream.registry import LiveEndpoint

EVERY: Final = 10.0
"""Seconds between two entries, at the same moments of the clock as the book of costs itself."""


class KeyAccounts:
    """See the module. `wall` is Unix time."""

    def __init__(
        self,
        book: CostBook,
        *,
        me: str,
        lives: Callable[[], Iterable[LiveEndpoint]],
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        """`me`: this activator, by a name that is new at each start."""
        self._book = book
        self._me = me
        self._lives = lives
        self._clock = clock
        self._wall = wall
        self._before: dict[LiveEndpoint, Mapping[str, KeyUse]] = {}
        self._day = day_of(wall())
        """On which what has come since the last reading began."""
        self._waiting: dict[tuple[str, date], dict[str, KeyUse]] = {}
        self._given: list[KeyEntry] = []
        """What the store was given and has not said it has."""
        self._number = 0
        self._tasks = Tasks("keys")

    def start(self) -> None:
        self._tasks.spawn_lasting(self._go_on, name="book")

    async def aclose(self) -> None:
        """Book what is left; after the endpoints were closed."""
        await self._tasks.aclose()
        await self.tick()

    async def _go_on(self) -> None:
        while True:
            await self.tick()
            await asyncio.sleep(EVERY - self._wall() % EVERY)

    async def tick(self) -> None:
        await self._read()
        # while the store is away everything waits
        with contextlib.suppress(StoreUnavailable):
            await self._write()

    async def _read(self) -> None:
        slices = Slices()
        lives: list[LiveEndpoint] = []
        for live in self._lives():
            if live.keys.is_used:
                lives.append(live)
            await slices.turn()
        now = self._clock()
        for live in {*lives, *self._before}:  # one that is gone is read for the last time
            total = live.keys.read(now=now)
            before = self._before.get(live, {})
            self._before[live] = total
            waiting = self._waiting.setdefault((live.endpoint.name, self._day), {})
            for key, use in total.items():
                news = use - before.get(key, UNUSED)
                if news != UNUSED:
                    waiting[key] = waiting.get(key, UNUSED) + news
        self._before = {live: self._before[live] for live in lives}
        self._day = day_of(self._wall())

    async def _write(self) -> None:
        if self._given:
            await self._book.book_keys(self._given)
        self._given = [
            KeyEntry(endpoint, day, self._me, self._next_number(), uses)
            for (endpoint, day), uses in self._waiting.items()
            if uses
        ]
        self._waiting.clear()
        if self._given:
            await self._book.book_keys(self._given)
            self._given = []

    def _next_number(self) -> int:
        self._number += 1
        return self._number
