"""What keys are charged as time goes on, by one of several activators of the same endpoint."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

import pytest

from activator.control.bookkeeper import Bookkeeper
from activator.control.key_accounts import KeyAccounts
from activator.control.key_costs import EVERY, KeyCosts
from activator.coordination.memory_costs import MemoryCostBook
from activator.errors import StoreUnavailable
from tests.unit.control.house import House, endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from activator.core.key_usage import DayKeyUse

pytestmark = pytest.mark.looptime

DAY = 86400.0
FIRST, SECOND = date(1970, 1, 1), date(1970, 1, 2)
PRICE = 3600.0
"""An hour: a second costs 1."""


class Book(MemoryCostBook):
    def __init__(self) -> None:
        super().__init__()
        self.away = False

    async def keys(
        self, first: date, last: date, *, endpoint: str | None = None
    ) -> list[DayKeyUse]:
        if self.away:
            raise StoreUnavailable("connection refused")
        return await super().keys(first, last, endpoint=endpoint)


class Office:
    """One activator: what it books and charges."""

    def __init__(self, firm: Firm, home: House, number: int) -> None:
        self.house = home
        self.keeper = Bookkeeper(
            firm.book,
            controls=lambda: home.supervisor.by_name,
            leading=lambda: firm.leader == number,
            wall=firm.wall,
        )
        self.accounts = KeyAccounts(
            firm.book,
            me=str(number),
            lives=lambda: home.registry,
            clock=firm.loop.time,
            wall=firm.wall,
        )
        self.costs = KeyCosts(
            self.keeper,
            controls=lambda: home.supervisor.by_name,
            leading=lambda: firm.leader == number,
            wall=firm.wall,
        )

    @property
    def told(self) -> dict[str, float]:
        """The counter, by key."""
        return self.house.control().live.metrics.key_costs

    async def wake(self) -> None:
        self.house.control().verbs.activate()
        await self.house.world.until(lambda: self.house.control().live.replicas)


class Firm:
    """Activators over one book; `leader` is the number of the one that leads."""

    def __init__(self, houses: Sequence[House], *, wall: float) -> None:
        self.loop = asyncio.get_running_loop()
        self.ahead = wall - self.loop.time()
        self.book = Book()
        self.leader: int | None = 0
        self.offices = [Office(self, home, number) for number, home in enumerate(houses)]

    def wall(self) -> float:
        return self.loop.time() + self.ahead

    async def use(self, number: int, key: str, *, seconds: float) -> None:
        """One request of this key's at this activator's replica."""
        meter = self.offices[number].house.control().live.keys
        meter.begin(key, now=self.loop.time())
        await asyncio.sleep(seconds)
        meter.end(key, now=self.loop.time())

    async def settled(self) -> None:
        """Until what was used has been booked and charged, a second ago."""
        await asyncio.sleep(EVERY + 3.0 - self.wall() % EVERY)

    def charged(self) -> dict[str, float]:
        """The counters of all activators, added up."""
        told: dict[str, float] = {}
        for office in self.offices:
            for key, cost in office.told.items():
                told[key] = told.get(key, 0.0) + cost
        return told

    async def booked(self, day: date) -> dict[str, float]:
        """What status tells."""
        return {each.key: each.share.cost for each in await self.offices[0].keeper.keys(day, day)}


@contextlib.asynccontextmanager
async def firm(count: int = 1, *, wall: float = 1000.0) -> AsyncIterator[Firm]:
    priced = replace(endpoint(), cost_per_replica_hour=PRICE)
    async with contextlib.AsyncExitStack() as endings:
        houses = [House() for _ in range(count)]
        for each in houses:
            await each.supervisor.apply([priced])
            endings.callback(each.world.deadlines.close)
            endings.push_async_callback(each.world.tasks.aclose)
            endings.push_async_callback(each.supervisor.aclose)
        made = Firm(houses, wall=wall)
        for office in made.offices:
            for part in (office.keeper, office.accounts, office.costs):
                part.start()
                endings.push_async_callback(part.aclose)
        yield made


async def test_a_key_is_charged_what_status_tells_as_time_goes_on() -> None:
    async with firm() as f:
        await f.offices[0].wake()
        await f.use(0, "team", seconds=25.0)
        for _ in range(3):
            await f.settled()
            booked = await f.booked(FIRST)
            assert f.charged() == {"team": pytest.approx(booked["team"], abs=1.1)}
        assert f.charged()["team"] > 40.0


async def test_the_counters_of_all_activators_add_up_to_what_status_tells() -> None:
    async with firm(3, wall=DAY - 100.0) as f:
        for office in f.offices:
            await office.wake()
        await f.use(0, "alice", seconds=12.0)
        await asyncio.gather(f.use(0, "alice", seconds=20.0), f.use(1, "bob", seconds=20.0))
        f.leader = 1
        await f.use(2, "bob", seconds=35.0)
        f.leader = 2
        await asyncio.sleep(400.0)
        await f.settled()

        assert all(office.told for office in f.offices)
        yesterday, today = await f.booked(FIRST), await f.booked(SECOND)
        assert not today.get("")
        assert sum(f.charged().values()) == pytest.approx(
            sum(yesterday.values()) + sum(today.values()), abs=1.2
        )
        for key, cost in f.charged().items():
            assert cost == pytest.approx(yesterday.get(key, 0.0) + today.get(key, 0.0), rel=0.1)


async def test_what_would_be_charged_while_nobody_leads_is_told_by_nobody() -> None:
    async with firm() as f:
        await f.offices[0].wake()
        await f.use(0, "team", seconds=60.0)
        await f.settled()
        before, f.leader = f.charged()["team"], None
        await f.settled()
        assert f.charged()["team"] == before

        f.leader = 0
        await f.settled()
        assert f.charged()["team"] == pytest.approx(before + EVERY, abs=0.1)


async def test_what_is_nobodys_is_charged_when_the_day_is_over() -> None:
    async with firm(wall=DAY - 60.0) as f:
        await f.offices[0].wake()
        await asyncio.sleep(200.0)
        assert f.charged() == {}

        await asyncio.sleep(200.0)
        assert f.charged() == {"": pytest.approx((await f.booked(FIRST))[""], abs=0.1)}


async def test_what_came_while_the_store_was_away_is_charged_later() -> None:
    async with firm() as f:
        await f.offices[0].wake()
        f.book.away = True
        await f.use(0, "team", seconds=60.0)
        assert f.charged() == {}
        f.book.away = False
        await f.settled()

        assert f.charged()["team"] > 60.0


async def test_what_was_before_an_activator_it_does_not_charge() -> None:
    async with firm() as f:
        await f.offices[0].wake()
        await f.use(0, "team", seconds=60.0)
        before = f.charged()["team"]

        office = f.offices[0]
        await office.costs.aclose()
        office.told.clear()
        again = KeyCosts(
            office.keeper,
            controls=lambda: office.house.supervisor.by_name,
            leading=lambda: True,
            wall=f.wall,
        )
        await again.tick()
        assert f.charged() == {}
        await asyncio.sleep(40.0)
        await again.tick()
        assert f.charged()["team"] == pytest.approx(40.0, abs=10.5)
        assert before > 45.0
