"""The operators' verbs over real controllers: what is allowed when, and what is said otherwise."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, cast

import pytest

from activator.admin.ports import Conflict, Unavailable, UnknownEndpoint
from activator.app.operations import AppOperations
from activator.control.bookkeeper import Bookkeeper
from activator.coordination.base import NoLeader
from activator.coordination.memory_costs import MemoryCostBook
from activator.coordination.memory_wishes import MemoryWishes
from activator.errors import StoreUnavailable
from tests.unit.control.house import endpoint, house

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from activator.config.settings import Settings
    from activator.coordination.base import Outcome
    from activator.core.status import EndpointStatus
    from activator.core.usage import DayUsage
    from tests.unit.control.house import House

pytestmark = pytest.mark.looptime


@dataclass
class Masked:
    """As much of the settings as operations show."""

    name: str

    def masked_keys(self) -> dict[str, str]:
        return {"name": self.name}


def settings(name: str) -> Settings:
    return cast("Settings", Masked(name))


class Unreachable(MemoryWishes):
    """Wishes that go nowhere."""

    def __init__(self, failure: Exception) -> None:
        super().__init__()
        self.failure = failure

    async def pause(self, endpoint: str, *, on: bool) -> None:
        raise self.failure

    async def deactivate(self, endpoint: str, *, force: bool) -> Outcome:
        raise self.failure


class Office:
    def __init__(self, h: House) -> None:
        self.house = h
        self.world = h.world
        self.why_not_ready: str | None = None
        self.wishes = h.world.wishes
        self.book: MemoryCostBook = MemoryCostBook()
        self.bookkeeper = Bookkeeper(
            self.book,
            controls=lambda: h.supervisor.by_name,
            leading=lambda: True,
            wall=h.world.clock,
        )
        self.operations = AppOperations(
            h.supervisor,
            wishes=lambda: self.wishes,
            costs=lambda: self.bookkeeper,
            why_not_ready=lambda: self.why_not_ready,
            why_not_serving=lambda: None,
            settings=settings("first"),
            events=h.world.events,
        )

    @property
    def state(self) -> str:
        return str(self.house.control().life.state)

    @property
    def told(self) -> EndpointStatus:
        status = self.operations.endpoint("m")
        assert status is not None
        return status


@contextlib.asynccontextmanager
async def office(*, scalable: bool = True) -> AsyncIterator[Office]:
    async with house() as h:
        h.world.scalable = scalable
        await h.supervisor.apply([endpoint()])
        yield Office(h)


@pytest.mark.parametrize("verb", ["activate", "pause", "resume"])
async def test_an_endpoint_that_does_not_exist_is_unknown(verb: str) -> None:
    async with office() as o:
        with pytest.raises(UnknownEndpoint):
            await getattr(o.operations, verb)("nobody")
        with pytest.raises(UnknownEndpoint):
            await o.operations.deactivate("nobody", force=True)
        assert o.operations.endpoint("nobody") is None


async def test_activate_and_deactivate() -> None:
    async with office() as o:
        await o.operations.activate("m")
        await o.world.until(lambda: o.state == "active")
        await o.operations.deactivate("m", force=False)
        await o.world.until(lambda: o.state == "inactive")

        assert [call.replicas for call in o.house.drivers[0].calls] == [1, 0]


async def test_what_is_answered_shows_what_was_ordered() -> None:
    async with office() as o:
        await o.operations.activate("m")
        assert (o.told.state, o.told.wanted) == ("activating", 1)
        await o.operations.pause("m")
        assert o.told.paused
        await o.operations.resume("m")
        assert not o.told.paused
        await o.world.until(lambda: o.state == "active")
        await o.operations.deactivate("m", force=False)
        assert (o.told.state, o.told.wanted) == ("inactive", 0)


async def test_while_the_store_is_away_orders_are_refused_and_say_so() -> None:
    async with office() as o:
        o.wishes = Unreachable(StoreUnavailable("The store did not answer in time"))
        for order in (o.operations.pause("m"), o.operations.deactivate("m", force=True)):
            with pytest.raises(Unavailable, match="The store did not answer in time"):
                await order

        await o.operations.activate("m")  # which needs no store
        assert o.told.state == "activating"
        assert not o.told.paused


async def test_without_a_leader_it_is_said_that_nothing_is_known() -> None:
    async with office() as o:
        o.wishes = Unreachable(NoLeader())

        with pytest.raises(Unavailable, match="it is not known whether endpoint m is deactivated"):
            await o.operations.deactivate("m", force=False)


async def test_a_driver_that_refuses_is_why_it_is_not_deactivated() -> None:
    async with office() as o:
        await o.operations.activate("m")
        await o.world.until(lambda: o.state == "active")
        o.house.drivers[0].refuse_next("the cluster is away")

        with pytest.raises(Conflict, match="the cluster is away"):
            await o.operations.deactivate("m", force=False)
        assert o.told.wanted == 1


async def test_deactivating_with_demand_needs_force() -> None:
    async with office() as o:
        caller = o.house.call()
        await o.world.until(lambda: caller.replica)
        with pytest.raises(Conflict, match="there is a demand of 1; wait, or force it"):
            await o.operations.deactivate("m", force=False)

        await o.operations.deactivate("m", force=True)
        await o.world.until(lambda: len(o.house.drivers[0].calls) == 3)
        # what still wants it starts it anew
        assert [call.replicas for call in o.house.drivers[0].calls] == [1, 0, 1]
        caller.done()


async def test_a_paused_endpoint_is_not_activated() -> None:
    async with office() as o:
        await o.operations.pause("m")
        with pytest.raises(Conflict, match="resume it first"):
            await o.operations.activate("m")
        await asyncio.sleep(10.0)
        assert o.house.drivers[0].calls == []

        await o.operations.resume("m")
        await o.operations.activate("m")
        await o.world.until(lambda: o.state == "active")


async def test_static_replicas_are_not_scaled_but_may_be_paused() -> None:
    async with office(scalable=False) as o:
        with pytest.raises(Conflict, match="never scaled"):
            await o.operations.activate("m")
        with pytest.raises(Conflict, match="never scaled"):
            await o.operations.deactivate("m", force=True)

        await o.operations.pause("m")
        status = o.operations.endpoint("m")
        assert status is not None
        assert status.paused


async def test_a_refused_configuration_is_told_and_the_one_in_force_shown() -> None:
    async with office() as o:
        assert o.operations.config_status().ok
        o.operations.note_config(None, problems=["a.yaml:3: no"])
        assert not o.operations.config_status().ok
        assert o.operations.config_status().problems == ("a.yaml:3: no",)
        assert o.operations.config() == {"name": "first"}

        o.operations.note_config(settings("second"))
        assert o.operations.config_status().ok
        assert o.operations.config() == {"name": "second"}


async def test_readiness_is_what_the_app_says() -> None:
    async with office() as o:
        assert o.operations.ready() is None
        o.why_not_ready = "shutting down"

        assert o.operations.ready() == "shutting down"


async def test_endpoints_are_listed_by_name() -> None:
    async with office() as o:
        await o.house.supervisor.apply([endpoint("z"), endpoint("b"), endpoint()])

        assert [each.name for each in o.operations.endpoints()] == ["b", "m", "z"]


async def test_endpoints_that_go_or_come_while_they_are_told_are_no_failure() -> None:
    async with office() as o:
        await o.house.supervisor.apply([endpoint("a"), endpoint("b"), endpoint("c")])
        statuses, days = o.operations.endpoints(), o.operations.days()
        assert next(statuses).name == next(days)[0] == "a"

        await o.house.supervisor.apply([endpoint("c"), endpoint("d")])

        assert [each.name for each in statuses] == ["c"]
        assert [name for name, _ in days] == ["c"]
        assert o.operations.names() == ["c", "d"]


async def test_a_status_is_made_when_its_turn_comes() -> None:
    async with office() as o:
        await o.house.supervisor.apply([endpoint(), endpoint("z")])
        statuses = o.operations.endpoints()
        assert not next(statuses).paused

        await o.operations.pause("z")

        assert next(statuses).paused


class Unread(MemoryCostBook):
    """Cannot be reached when it is read."""

    async def days(self, first: date, last: date, *, endpoint: str | None = None) -> list[DayUsage]:
        raise StoreUnavailable("connection refused")


async def test_status_tells_what_a_day_has_cost_as_it_goes_on() -> None:
    async with office() as o:
        o.house.control().reconfigure(replace(endpoint(), cost_per_replica_hour=36.0))
        await o.bookkeeper.tick()
        assert (o.told.cost_today, o.told.saved_today) == (0.0, 0.0)

        await asyncio.sleep(100.0)
        assert o.told.saved_today == pytest.approx(1.0)  # nothing is booked of it
        await o.bookkeeper.tick()
        await asyncio.sleep(100.0)
        assert o.told.saved_today == pytest.approx(2.0)

        await o.operations.activate("m")
        await o.world.until(lambda: o.state == "active")
        await asyncio.sleep(100.0)
        assert o.told.cost_today == pytest.approx(1.0, abs=0.05)
        (day,) = await o.operations.costs(date(1970, 1, 1), date(1970, 1, 1))
        assert day.usage.cost == pytest.approx(o.told.cost_today)
        assert day.usage.cold_starts == 1


async def test_a_book_that_cannot_be_read_is_said_to_be_away() -> None:
    async with office() as o:
        o.bookkeeper._book = Unread()

        with pytest.raises(Unavailable, match="connection refused"):
            await o.operations.costs(date(1970, 1, 1), date(1970, 1, 1))
