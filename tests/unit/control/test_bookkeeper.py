"""What is booked, by whom and when: activators that see the same endpoint, in virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

import pytest

from activator.control import bookkeeper
from activator.control.controller import Controller
from activator.core.endpoint import ProcessBackend
from activator.core.key_usage import divide
from tests.slicing import counted
from tests.unit.control.firm import EPOCH, MIDNIGHT, firm
from tests.unit.control.house import endpoint

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from activator.core.key_usage import KeyShare, KeyUse
    from activator.core.usage import DayUsage, Usage

pytestmark = pytest.mark.looptime


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


async def test_what_an_endpoint_had_used_stays_booked_when_it_is_gone() -> None:
    async with firm() as f:
        await asyncio.sleep(15.0)
        await f.houses[0].supervisor.apply([])
        await asyncio.sleep(20.0)

        assert await f.saved() == pytest.approx(15.0, abs=0.1)
        told = await f.keepers[0].days(date(1970, 1, 1), date(1970, 1, 1))
        assert [each.endpoint for each in told] == ["m"]
        assert f.keepers[0].today("m").saved == 0.0


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
