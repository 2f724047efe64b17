"""What every CostBook promises, whichever it is."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import astuple
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from activator.aiokit.slices import Slices
from activator.coordination import redis_costs
from activator.coordination.memory_costs import MemoryCostBook
from activator.coordination.redis_costs import RedisCostBook
from activator.core.key_usage import DayKeyUse, KeyEntry, KeyUse
from activator.core.usage import FIGURES, Booked, DayUsage, Entry, Usage, midnight
from activator.errors import StoreUnavailable
from tests.redis_server import opened_link, redis_server
from tests.sharing import KINDS
from tests.slicing import counted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from activator.coordination.base import CostBook

DAY = date(2026, 3, 31)
NEXT = date(2026, 4, 1)
AT = midnight(DAY)
USED = Usage(
    ready_seconds=8.0,
    other_seconds=2.5,
    saved_seconds=0.125,
    cost=0.1,
    saved=1e-7,
    cold_starts=1,
    cold_start_cost=0.02,
)


@pytest.fixture(params=KINDS)
async def book(request: pytest.FixtureRequest) -> AsyncIterator[CostBook]:
    async with AsyncExitStack() as endings:
        if request.param == "memory":
            yield MemoryCostBook()
        else:
            yield RedisCostBook(await endings.enter_async_context(opened_link()))


def entry(began: float, ended: float, used: Usage = USED, *, endpoint: str = "m") -> Entry:
    return Entry(endpoint, AT + began, AT + ended, used)


def same(one: Usage, other: Usage) -> bool:
    return astuple(one) == pytest.approx(astuple(other))


async def test_an_empty_book_knows_nothing(book: CostBook) -> None:
    await book.book([])

    assert await book.booked(["m"], DAY) == {"m": Booked()}
    assert list(await book.days(DAY, NEXT)) == []


async def test_entries_add_up_figure_by_figure_and_the_book_says_how_far_it_goes(
    book: CostBook,
) -> None:
    await book.book([entry(0, 10), entry(10, 20)])
    await book.book([entry(20, 30.5)])

    found = (await book.booked(["m", "other"], DAY))["m"]
    assert same(found.usage, USED + USED + USED)
    assert found.usage.cold_starts == 3
    assert found.until == AT + 30.5


async def test_what_is_booked_again_counts_once(book: CostBook) -> None:
    entries = [entry(0, 10), entry(10, 20)]
    await book.book(entries[:1])
    await book.book(entries)
    await book.book(entries)

    assert same((await book.booked(["m"], DAY))["m"].usage, USED + USED)


async def test_of_what_is_booked_in_part_the_rest_counts(book: CostBook) -> None:
    await book.book([entry(0, 10)])
    await book.book([entry(7.5, 17.5)])

    found = (await book.booked(["m"], DAY))["m"]
    assert same(found.usage, USED + USED.share(0.75))
    assert found.usage.cold_starts == 2


async def test_endpoints_and_days_are_kept_apart_and_told_in_order(book: CostBook) -> None:
    small = Usage(cost=1.0)
    await book.book([entry(86390, 86400), entry(86400, 86410, small)])
    await book.book([entry(86400, 86410, small, endpoint="a"), entry(0, 10, endpoint="z")])

    told = await book.days(DAY, NEXT)
    assert [(each.day, each.endpoint) for each in told] == [
        (DAY, "m"),
        (DAY, "z"),
        (NEXT, "a"),
        (NEXT, "m"),
    ]
    assert [each.usage for each in told if each.day == NEXT] == [small, small]
    assert [each.endpoint for each in await book.days(NEXT, NEXT)] == ["a", "m"]
    assert (await book.booked(["m"], NEXT))["m"].usage == small


@pytest.mark.parametrize("length", [1, 2, 7, 8, 40])
async def test_days_of_any_number_are_told_and_no_others(book: CostBook, length: int) -> None:
    first = DAY - timedelta(days=45)
    began = -45 * 86400
    await book.book([entry(began + at * 86400, began + at * 86400 + 10) for at in range(90)])

    for begin in range(0, 90 - length, 13):
        days = [first + timedelta(days=begin + at) for at in range(length)]
        told = await book.days(days[0], days[-1])
        assert [each.day for each in told] == days
        assert all(same(each.usage, USED) for each in told)


async def test_of_a_month_one_day_is_read_where_one_day_is_asked_for() -> None:
    async with opened_link() as link:
        book = RedisCostBook(link)
        month = DAY.replace(day=1)
        start = (month - DAY).days * 86400
        await book.book([entry(start + at * 86400, start + at * 86400 + 10) for at in range(28)])
        asked: list[int] = []
        pipeline = link.pipeline

        async def noting(commands: Sequence[Any]) -> list[Any]:
            replies = await pipeline(commands)
            asked.extend(len(reply) for reply in replies)
            return replies

        vars(link)["pipeline"] = noting
        assert [each.day for each in await book.days(month, month)] == [month]
        assert asked == [len(FIGURES)]


async def test_it_remembers_so_many_endpoints_as_there_are(book: CostBook) -> None:
    names = [f"m{number}" for number in range(250)]
    await book.book([entry(0, 10, endpoint=name) for name in names])

    assert len(await book.days(DAY, DAY)) == 250
    assert set(await book.booked(names, DAY)) == set(names)


async def test_one_endpoint_may_be_asked_for(book: CostBook) -> None:
    await book.book([entry(0, 10), entry(0, 10, endpoint="z"), entry(86400, 86410)])
    other = KeyEntry("z", DAY, "one", 2, {"team": USE})
    await book.book_keys([key_entry(1, team=USE), other, key_entry(3, day=NEXT, team=USE)])

    told = await book.days(DAY, NEXT, endpoint="m")
    assert [(each.day, each.endpoint) for each in told] == [(DAY, "m"), (NEXT, "m")]
    keys = await book.keys(DAY, NEXT, endpoint="m")
    assert [(each.day, each.endpoint) for each in keys] == [(DAY, "m"), (NEXT, "m")]
    assert [each.endpoint for each in await book.keys(DAY, DAY, endpoint="z")] == ["z"]
    assert list(await book.days(DAY, NEXT, endpoint="nobody")) == []
    assert list(await book.keys(DAY, NEXT, endpoint="nobody")) == []


# keys


def key_entry(number: int, *, by: str = "one", day: date = DAY, **uses: KeyUse) -> KeyEntry:
    return KeyEntry("m", day, by, number, uses)


USE = KeyUse(requests=2, slot_seconds=0.5, wait_seconds=1.5, kept_seconds=0.25)


async def test_what_keys_use_adds_up_over_activators(book: CostBook) -> None:
    await book.book_keys([key_entry(1, team=USE, other=USE), key_entry(2, team=USE)])
    await book.book_keys([key_entry(1, by="two", team=USE)])
    await book.book_keys([])

    assert list(await book.keys(DAY, NEXT)) == [
        DayKeyUse("m", DAY, "other", USE),
        DayKeyUse("m", DAY, "team", USE + USE + USE),
    ]
    assert list(await book.keys(NEXT, NEXT)) == []
    assert list(await book.days(DAY, NEXT)) == []


async def test_an_entry_of_a_key_that_is_given_again_counts_once(book: CostBook) -> None:
    entries = [key_entry(1, team=USE), key_entry(2, team=USE)]
    await book.book_keys(entries[:1])
    await book.book_keys(entries)
    await book.book_keys(entries)

    assert list(await book.keys(DAY, DAY)) == [DayKeyUse("m", DAY, "team", USE + USE)]


async def test_days_and_endpoints_of_keys_are_kept_apart(book: CostBook) -> None:
    other = KeyEntry("a", NEXT, "one", 2, {"team": USE, "*": USE})
    await book.book_keys([key_entry(1, team=USE), other, key_entry(3, day=NEXT, team=USE)])

    told = await book.keys(DAY, NEXT)
    assert [(each.day, each.endpoint, each.key) for each in told] == [
        (DAY, "m", "team"),
        (NEXT, "a", "*"),
        (NEXT, "a", "team"),
        (NEXT, "m", "team"),
    ]


# Redis


async def test_a_day_among_others_of_its_month_is_found_whole(
    book: CostBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_costs, "SCANNED", 10)
    uses = {f"key-{number:03}": USE for number in range(150)}
    for number, day in enumerate((DAY.replace(day=3), DAY.replace(day=30), DAY), 1):
        await book.book_keys([KeyEntry("m", day, "one", number, uses)])

    found = await book.keys(DAY, DAY)
    assert found == [DayKeyUse("m", DAY, key, USE) for key in uses]
    days = (DAY.replace(day=3), DAY.replace(day=30), DAY)
    month = await book.keys(DAY.replace(day=1), DAY)
    assert month == [DayKeyUse("m", day, key, USE) for day in days for key in uses]


async def test_a_large_month_is_read_while_others_have_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redis_costs, "PARSED", 20)
    with counted(monkeypatch) as turns:

        class Field(bytes):
            def decode(self, *encoding: str) -> str:
                turns.step()
                return super().decode(*encoding)

        names = [Field(f"31:requests:key-{number}".encode()) for number in range(500)]
        flat = [word for name in names for word in (name, b"3")]
        found = await redis_costs._by_day(flat, Slices())

    assert found == {31: {f"key-{number}": {"requests": 3.0} for number in range(500)}}
    assert turns.steps == 500
    assert turns.longest <= 20


async def test_keys_of_a_month_are_bounded_and_outlive_who_wrote_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redis_costs, "MOST_FIELDS", 9)
    async with opened_link(prefix="keybook") as link:
        await RedisCostBook(link).book_keys([key_entry(1, a=USE, b=USE)])
        await RedisCostBook(link).book_keys([key_entry(2, a=USE, c=USE, d=USE)])
        key = link.keys.of("m", "costs", "keys", "2026-03")
        assert 400 * 86400 < await link.command("TTL", key) <= 432 * 86400
    async with opened_link(prefix="keybook") as link:
        told = {each.key: each.use for each in await RedisCostBook(link).keys(DAY, DAY)}
        assert told == {"a": USE + USE, "b": USE, "*": USE + USE}

        later = date(2027, 9, 1)
        await RedisCostBook(link).book_keys([KeyEntry("new", later, "one", 3, {"a": USE})])
        assert await link.command("ZRANGE", link.keys.shared("costs:keys"), 0, -1) == [b"new"]


async def test_a_book_outlives_whoever_wrote_it_and_ends_after_a_year() -> None:
    async with opened_link(prefix="book") as link:
        await RedisCostBook(link).book([entry(0, 10)])
        key = link.keys.of("m", "costs", "2026-03")
        assert 400 * 86400 < await link.command("TTL", key) <= 432 * 86400
    async with opened_link(prefix="book") as link:
        other = RedisCostBook(link)
        assert await other.days(DAY, DAY) == [DayUsage("m", DAY, USED)]

        later = 500 * 86400.0
        await other.book([entry(later, later + 10, endpoint="new")])
        assert await link.command("ZRANGE", link.keys.shared("costs"), 0, -1) == [b"new"]


async def test_what_a_newer_version_counts_besides_is_left_alone() -> None:
    async with opened_link() as link:
        book = RedisCostBook(link)
        await book.book([entry(0, 10)])
        await link.command("HSET", link.keys.of("m", "costs", "2026-03"), "31:carbon", "7")

        assert await book.days(DAY, DAY) == [DayUsage("m", DAY, USED)]


async def test_a_store_that_is_away_is_said_to_be() -> None:
    with redis_server() as server:
        async with opened_link(server.url) as link:
            book = RedisCostBook(link)
            server.kill()
            for asked in (
                book.book([entry(0, 10)]),
                book.booked(["m"], DAY),
                book.days(DAY, DAY),
                book.book_keys([key_entry(1, team=USE)]),
                book.keys(DAY, DAY),
            ):
                with pytest.raises(StoreUnavailable):
                    await asked
