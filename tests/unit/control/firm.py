"""Activators that see the same endpoints and keep one book of costs, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

from activator.control.bookkeeper import Bookkeeper
from activator.coordination.memory_costs import MemoryCostBook
from activator.errors import StoreUnavailable
from tests.unit.control.house import endpoint, house

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from activator.core.usage import DayUsage, Entry
    from tests.unit.control.house import House

MIDNIGHT = 86400.0
MORNING = 1000.0
PRICE = 3600.0
"""An hour: a second costs 1."""
EPOCH = date(1970, 1, 1)


class Book(MemoryCostBook):
    """That of several, which may be away, and may take what it is given without saying so."""

    def __init__(self) -> None:
        super().__init__()
        self.away = self.deaf = False
        self.takes = 0.0

    async def book(self, entries: Sequence[Entry]) -> None:
        if self.away:
            raise StoreUnavailable("connection refused")
        await asyncio.sleep(self.takes)
        await super().book(entries)
        if self.deaf:
            raise StoreUnavailable("no answer within 0.5 s")

    async def days(self, first: date, last: date, *, endpoint: str | None = None) -> list[DayUsage]:
        await asyncio.sleep(self.takes)
        return await super().days(first, last, endpoint=endpoint)


class Firm:
    """Activators with a house each and one book; `leader` is the number of the one that leads."""

    def __init__(self, houses: list[House], *, wall: float) -> None:
        self.houses = houses
        self.book = Book()
        self.leader: int | None = 0
        self.loop = asyncio.get_running_loop()
        self.ahead = wall - self.loop.time()
        self.keepers = [self.hire(number) for number in range(len(houses))]

    def wall(self) -> float:
        return self.loop.time() + self.ahead

    def hire(self, number: int) -> Bookkeeper:
        return Bookkeeper(
            self.book,
            controls=lambda: self.houses[number].supervisor.that_cost,
            leading=lambda: self.leader == number,
            wall=self.wall,
        )

    async def used(self, name: str) -> float:
        """Seconds of replicas that are booked."""
        first = date(1970, 1, 1)
        found = [each.usage for each in await self.book.days(first, first) if each.endpoint == name]
        return sum(each.ready_seconds + each.other_seconds for each in found)

    async def saved(self, day: int = 0) -> float:
        when = date.fromordinal(date(1970, 1, 1).toordinal() + day)
        return sum(each.usage.saved for each in await self.book.days(when, when))


@contextlib.asynccontextmanager
async def firm(count: int = 1, *, wall: float = MORNING, endpoints: int = 1) -> AsyncIterator[Firm]:
    """Endpoint `m`, or several: `m0` and so on."""
    names = ["m"] if endpoints == 1 else [f"m{number}" for number in range(endpoints)]
    priced = [replace(endpoint(name), cost_per_replica_hour=PRICE) for name in names]
    async with contextlib.AsyncExitStack() as endings:
        houses = [await endings.enter_async_context(house(*priced)) for _ in range(count)]
        made = Firm(houses, wall=wall)
        for keeper in made.keepers:
            keeper.start()
            endings.push_async_callback(keeper.aclose)
        yield made
