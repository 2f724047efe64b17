"""What is booked, by whom and when: activators that see the same endpoint, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

import pytest

from activator.control import bookkeeper
from activator.control.bookkeeper import Bookkeeper
from activator.control.controller import Controller
from activator.coordination.memory_costs import MemoryCostBook
from activator.core.endpoint import ProcessBackend
from activator.core.key_usage import divide
from activator.errors import StoreUnavailable
from tests.slicing import counted
from tests.unit.control.house import endpoint, house

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping, Sequence

    from activator.core.endpoint import Endpoint
    from activator.core.key_usage import KeyShare, KeyUse
    from activator.core.usage import DayUsage, Entry, Usage
    from tests.unit.control.house import House

pytestmark = pytest.mark.looptime

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


async def test_it_books_every_ten_seconds_of_the_clock_and_what_is_left_at_the_end() -> None:
    async with firm() as f:
        await asyncio.sleep(13.0)
        assert await f.saved() == pytest.approx(10.0)
        await asyncio.sleep(10.0)
        assert await f.saved() == pytest.approx(20.0)

        await f.keepers[0].aclose()
        assert await f.saved() == pytest.approx(23.0)


async def test_of_many_at_rest_some_are_read_in_turn_and_all_when_the_day_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bookkeeper, "AT_REST", 2)
    async with firm(wall=MIDNIGHT - 45.0, endpoints=5) as f:
        keeper = f.keepers[0]
        await asyncio.sleep(1.0)
        for booked in (2 * 5.0, 2 * 5.0 + 2 * 15.0, 25.0 + 5.0 + 2 * 15.0 + 25.0):
            await asyncio.sleep(5.0 if booked == 10.0 else 10.0)
            assert await f.saved() == pytest.approx(booked)
        today = sum(keeper.today(f"m{number}").saved for number in range(5))
        assert today == pytest.approx(5 * 26.0)

        await asyncio.sleep(20.0)
        assert await f.saved() == pytest.approx(5 * 45.0)

        await keeper.aclose()
        assert await f.saved(1) == pytest.approx(5 * 1.0)


async def test_one_of_many_is_read_every_time_while_it_has_a_replica(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bookkeeper, "AT_REST", 2)
    async with firm(endpoints=5) as f:
        f.houses[0].control("m4").verbs.activate()
        for ticks in range(1, 6):
            await asyncio.sleep(10.0 + (ticks == 1))
            assert await f.used("m4") == pytest.approx(10.0 * ticks, abs=0.1)


async def test_so_is_one_whose_replicas_of_before_finish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bookkeeper, "AT_REST", 1)
    async with firm(endpoints=3) as f:
        h = f.houses[0]
        h.control("m2").verbs.activate()
        await h.world.until(lambda: h.control("m2").live.replicas)
        running = h.call("m2")
        await h.supervisor.apply(
            [
                *(h.control(name).live.endpoint for name in ("m0", "m1")),
                with_backend(f, "another", name="m2"),
            ]
        )
        await asyncio.sleep(21.0)
        used = await f.used("m2")
        for ticks in range(1, 5):
            await asyncio.sleep(10.0)
            assert await f.used("m2") - used == pytest.approx(10.0 * ticks, abs=0.1)
        running.done()


async def test_a_day_ends_at_midnight() -> None:
    async with firm(wall=MIDNIGHT - 35.0) as f:
        await asyncio.sleep(60.0)

        assert await f.saved(0) == pytest.approx(35.0)
        assert await f.saved(1) == pytest.approx(20.0)
        assert f.keepers[0].today("m").saved == pytest.approx(25.0)


async def test_of_several_activators_one_books_and_all_tell_the_same() -> None:
    async with firm(3) as f:
        await asyncio.sleep(95.0)

        assert await f.saved() == pytest.approx(90.0)
        for keeper in f.keepers:
            assert keeper.today("m").saved == pytest.approx(95.0)


async def test_one_that_comes_later_tells_what_was_before_it() -> None:
    async with firm(2) as f:
        f.book.takes = 0.3
        await f.keepers[1].aclose()
        await asyncio.sleep(25.0)
        later = f.hire(1)
        later.start()
        await asyncio.sleep(8.0)

        assert later.today("m").saved == pytest.approx(f.keepers[0].today("m").saved, abs=0.1)
        await later.aclose()


async def test_when_the_leader_is_killed_the_next_one_loses_and_doubles_nothing() -> None:
    async with firm(2) as f:
        await asyncio.sleep(95.0)
        f.leader = None
        await f.keepers[0]._tasks.aclose()
        await asyncio.sleep(30.0)
        f.leader = 1
        await asyncio.sleep(20.0)

        assert await f.saved() == pytest.approx(140.0)


async def test_while_the_store_is_away_it_waits_and_is_still_told() -> None:
    async with firm() as f:
        await asyncio.sleep(15.0)
        f.book.away = True
        await asyncio.sleep(3600.0)
        assert await f.saved() == pytest.approx(10.0)
        assert f.keepers[0].today("m").saved == pytest.approx(3615.0)

        f.book.away = False
        await asyncio.sleep(10.0)
        assert await f.saved() == pytest.approx(3620.0)


async def test_what_the_store_took_without_an_answer_is_booked_once() -> None:
    async with firm() as f:
        f.book.deaf = True
        await asyncio.sleep(45.0)
        assert f.keepers[0].today("m").saved == pytest.approx(45.0)
        f.book.deaf = False
        await asyncio.sleep(10.0)

        assert await f.saved() == pytest.approx(50.0)


async def test_a_start_from_zero_is_booked_with_its_time_and_its_price() -> None:
    async with firm() as f:
        h = f.houses[0]
        await asyncio.sleep(10.0)
        h.control().verbs.activate()
        await h.world.until(lambda: h.control().live.replicas)
        took = h.control().cold_starts.typical
        await asyncio.sleep(20.0)

        today = f.keepers[0].today("m")
        assert took is not None
        assert today.cold_starts == 1
        assert today.cold_start_cost == pytest.approx(took)
        assert today.other_seconds == pytest.approx(took, abs=0.6)
        assert today.ready_seconds == pytest.approx(20.0, abs=0.1)
        assert today.cost == pytest.approx(today.ready_seconds + today.other_seconds)


async def test_another_backend_goes_on_with_the_same_account() -> None:
    async with firm() as f:
        h = f.houses[0]
        await asyncio.sleep(20.0)
        other = ProcessBackend(("another", "{port}"))
        await h.supervisor.apply([replace(h.control().live.endpoint, backend=other)])
        await asyncio.sleep(20.0)

        assert f.keepers[0].today("m").saved == pytest.approx(40.0, abs=0.1)


def used_and_saved(usage: Usage) -> tuple[float, float]:
    """Seconds that a replica ran, and that it would have."""
    return usage.ready_seconds + usage.other_seconds, usage.saved_seconds


async def booked(f: Firm) -> tuple[float, float]:
    """The same, once all until now is in the book: what has just begun is in the next entry."""
    await asyncio.sleep(20.1 - f.wall() % 10.0)
    (told,) = await f.book.days(EPOCH, EPOCH)
    return used_and_saved(told.usage)


def with_backend(f: Firm, command: str, *, name: str = "m") -> Endpoint:
    before = f.houses[0].control(name).live.endpoint
    return replace(before, backend=ProcessBackend((command, "{port}")))


@pytest.mark.parametrize("pause", [None, 0.0, 2.0])
async def test_of_another_backend_and_of_one_that_is_added_again_no_moment_counts_twice(
    pause: float | None,
) -> None:
    """Between two entries, after seconds without it. None: it is changed and stays."""
    async with firm() as f:
        changed = with_backend(f, "another")
        await asyncio.sleep(13.0)
        if pause is not None:
            await f.houses[0].supervisor.apply([])
            await asyncio.sleep(pause)
        await f.houses[0].supervisor.apply([changed])

        at_last = await booked(f)
        assert at_last == pytest.approx((0.0, 30.0 - (pause or 0.0)), abs=0.01)
        assert used_and_saved(f.keepers[0].today("m")) == pytest.approx(at_last, abs=0.2)


@pytest.mark.parametrize("is_added_again", [False, True])
async def test_while_the_replicas_of_the_backend_before_finish_they_are_used(
    *, is_added_again: bool
) -> None:
    """And nothing is saved, whatever is to follow, however often that changes."""
    async with firm() as f:
        h, keeper = f.houses[0], f.keepers[0]
        h.control().verbs.activate()
        await h.world.until(lambda: h.control().live.replicas)
        running = h.call()
        await h.world.until(lambda: running.replica)
        used, saved = used_and_saved(keeper.today("m"))
        for command in ("another", "yet-another", "a-third"):
            await asyncio.sleep(13.0)
            changed = with_backend(f, command)
            if is_added_again:
                await h.supervisor.apply([])
            await h.supervisor.apply([changed])
        await asyncio.sleep(13.0)
        now_used, now_saved = used_and_saved(keeper.today("m"))
        assert now_used - used == pytest.approx(4 * 13.0, abs=0.01)
        assert now_saved == saved

        running.done()
        await h.world.until(lambda: not h.supervisor._finishing)
        began = f.wall()
        assert await booked(f) == pytest.approx((now_used, now_saved + f.wall() - began), abs=0.5)


async def test_what_an_endpoint_had_used_stays_booked_when_it_is_gone() -> None:
    async with firm() as f:
        await asyncio.sleep(15.0)
        await f.houses[0].supervisor.apply([])
        await asyncio.sleep(20.0)

        assert await f.saved() == pytest.approx(15.0, abs=0.1)
        told = await f.keepers[0].days(date(1970, 1, 1), date(1970, 1, 1))
        assert [each.endpoint for each in told] == ["m"]
        assert f.keepers[0].today("m").saved == 0.0


async def test_the_replicas_of_one_that_is_gone_are_used_until_they_have_finished() -> None:
    async with firm() as f:
        h, keeper = f.houses[0], f.keepers[0]
        h.control().verbs.activate()
        await h.world.until(lambda: h.control().live.replicas)
        running, began = h.call(), f.wall()
        used, _ = used_and_saved(keeper.today("m"))
        await h.supervisor.apply([])
        await asyncio.sleep(35.0)
        running.done()
        await h.world.until(lambda: not h.supervisor._finishing)
        at_last = used + f.wall() - began
        await asyncio.sleep(20.0)

        (told,) = await keeper.days(EPOCH, EPOCH)
        assert used_and_saved(told.usage)[0] == pytest.approx(at_last, abs=0.2)
        assert not keeper._unbooked


async def test_nothing_is_kept_of_an_endpoint_that_is_gone_and_booked() -> None:
    async with firm(endpoints=2) as f:
        keeper = f.keepers[0]
        await asyncio.sleep(15.0)
        f.book.away = True
        await f.houses[0].supervisor.apply([f.houses[0].control("m1").live.endpoint])
        await asyncio.sleep(10.0)
        assert set(keeper._waiting) == {"m0", "m1"}  # it is to be booked still

        f.book.away = False
        await asyncio.sleep(20.0)

        assert set(keeper._unbooked) == set(keeper._booked) == {"m1"}
        assert set(keeper._waiting) <= {"m1"}
        assert await f.saved() == pytest.approx(15.0 + 40.0, abs=0.1)


async def test_what_waits_for_the_book_is_all_that_is_gone_through() -> None:
    async with firm(endpoints=5) as f:
        keeper = f.keepers[0]
        await asyncio.sleep(15.0)

        assert not keeper._waiting
        assert len(keeper._booked) == 5


async def test_days_are_told_by_day_and_name_of_all_endpoints_or_one() -> None:
    async with firm(wall=MIDNIGHT - 15.0, endpoints=3) as f:
        keeper = f.keepers[0]
        await asyncio.sleep(30.0)
        await f.houses[0].supervisor.apply(
            [f.houses[0].control(name).live.endpoint for name in ("m2", "m0")]
        )
        await asyncio.sleep(30.0)
        tomorrow = date(1970, 1, 2)

        told = await keeper.days(EPOCH, tomorrow)
        assert [(each.day, each.endpoint) for each in told] == [
            (day, name) for day in (EPOCH, tomorrow) for name in ("m0", "m1", "m2")
        ]
        (one,) = await keeper.days(tomorrow, tomorrow, endpoint="m1")
        assert one == told[4]
        assert [each.day for each in await keeper.days(EPOCH, tomorrow, endpoint="m2")] == [
            EPOCH,
            tomorrow,
        ]
        assert list(await keeper.days(EPOCH, tomorrow, endpoint="nobody")) == []


async def test_of_a_day_that_ends_while_it_is_told_it_is_still_that_day() -> None:
    async with firm(wall=MIDNIGHT - 15.0, endpoints=2) as f:
        keeper = f.keepers[0]
        await asyncio.sleep(14.9)
        f.book.takes = 1.0

        told = await keeper.days(EPOCH, EPOCH)

        assert [each.day for each in told] == [EPOCH, EPOCH]
        assert [each.usage.saved for each in told] == pytest.approx([15.0, 15.0], abs=1.0)


async def test_of_a_day_that_has_ended_and_is_booked_when_it_is_told_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of thousands of endpoints the book takes seconds to read."""
    async with firm(wall=MIDNIGHT - 15.0, endpoints=2) as f:
        await asyncio.sleep(14.9)
        read = f.book.days

        async def slow(first: date, last: date, *, endpoint: str | None = None) -> list[DayUsage]:
            await asyncio.sleep(3.0)
            return await read(first, last, endpoint=endpoint)

        monkeypatch.setattr(f.book, "days", slow)
        told = await f.keepers[0].days(EPOCH, EPOCH)

        assert [each.usage.saved for each in told] == pytest.approx([15.0, 15.0], abs=1.0)


async def test_all_endpoints_are_told_while_others_have_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with firm(endpoints=8) as f:
        keeper = f.keepers[0]
        await asyncio.sleep(15.0)
        with counted(monkeypatch) as turns:
            read = keeper._on

            def reading(day: date, name: str) -> Usage:
                turns.step()
                return read(day, name)

            def dividing(used: Usage, uses: Mapping[str, KeyUse]) -> dict[str, KeyShare]:
                turns.step()
                return divide(used, uses)

            monkeypatch.setattr(keeper, "_on", reading)
            monkeypatch.setattr("activator.control.bookkeeper.divide", dividing)
            await keeper.days(EPOCH, EPOCH)
            await keeper.keys(EPOCH, EPOCH)
            await keeper.keys_today()

        assert turns.steps == 5 * 8
        assert turns.longest <= 4


async def test_however_many_are_read_others_have_their_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with firm(endpoints=50) as f:
        await asyncio.sleep(1.0)
        with counted(monkeypatch) as turns:
            turns.step_with(monkeypatch, Controller, "usage")
            await f.keepers[0].tick()
            await f.keepers[0].aclose()

        assert turns.steps == 2 * 50
        assert turns.longest == 1


async def test_however_many_are_not_read_others_have_their_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bookkeeper, "AT_REST", 2)
    async with firm(endpoints=50) as f:
        await asyncio.sleep(1.0)
        with counted(monkeypatch) as turns:

            def is_at_rest(_control: Controller) -> bool:
                turns.step()
                return True

            monkeypatch.setattr(Controller, "is_at_rest", property(is_at_rest))
            await f.keepers[0].tick()

        assert turns.steps == 50
        assert turns.longest == 1


async def test_what_is_used_is_told_while_endpoints_come_and_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with firm(endpoints=20) as f:
        keeper, control = f.keepers[0], f.houses[0].control("m3")
        told: set[float] = set()
        await asyncio.sleep(5.0)
        await f.houses[0].supervisor.apply([control.live.endpoint, endpoint("new")])
        with counted(monkeypatch) as turns:
            turns.told = lambda: told.update(
                keeper.today(name).saved for name in ("m0", "m3", "m19") if keeper.today(name)
            )
            await keeper.tick()
        told.discard(0.0)

        assert told
        assert all(saved == pytest.approx(5.0) for saved in told)


async def test_what_ends_or_is_replaced_while_all_are_read_is_booked_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those at rest, of which many have not been read for long, as well."""
    monkeypatch.setattr(bookkeeper, "AT_REST", 1)
    async with firm(endpoints=3) as f:
        keeper, supervisor = f.keepers[0], f.houses[0].supervisor
        stays, other = (f.houses[0].control(name).live.endpoint for name in ("m0", "m1"))
        await asyncio.sleep(29.9)
        another = replace(other, backend=ProcessBackend(("another", "{port}")))
        read = keeper._read

        async def changing(controls: Collection[Controller]) -> None:
            await read(controls)
            await supervisor.apply([stays, another])

        with monkeypatch.context() as patch:
            patch.setattr(keeper, "_read", changing)
            await keeper.tick()
        await asyncio.sleep(10.0)
        await keeper.aclose()

        used = {each.endpoint: each.usage.saved for each in await f.book.days(EPOCH, EPOCH)}
        assert used == pytest.approx({"m0": 40.0, "m1": 40.0, "m2": 30.0}, abs=0.5)
