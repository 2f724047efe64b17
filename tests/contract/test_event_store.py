"""Events that several activators tell each other by a store, whichever it is."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from activator.coordination import shared_events
from activator.coordination.redis_events import LASTING, RedisEventStore
from activator.coordination.shared_events import KEPT, LONGEST, SharedEvents
from activator.coordination.shared_memory import SharedMemory
from activator.errors import StoreUnavailable
from activator.telemetry.events import EventLog
from tests.faults import Faulty, failures
from tests.redis_server import opened_link, redis_server
from tests.sharing import KINDS
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from activator.coordination.shared_events import EventStore
    from activator.redisio.link import Link
    from activator.telemetry.events import Event
    from tests.redis_server import RedisServer


class Shop:
    """A store that may be away, and activators that share it."""

    def __init__(self, kind: str, endings: AsyncExitStack) -> None:
        self._memory = SharedMemory() if kind == "memory" else None
        self._endings = endings
        self._server: RedisServer | None = None
        self._links: list[Link] = []

    async def store(self) -> EventStore:
        if self._memory is not None:
            return self._memory.events
        if self._server is None:
            self._server = self._endings.enter_context(redis_server())
        link = await self._endings.enter_async_context(opened_link(self._server.url, prefix="shop"))
        self._links.append(link)
        return RedisEventStore(link)

    async def activator(self, name: str) -> EventLog:
        log = EventLog()
        shared = SharedEvents(await self.store(), log, me=name)
        shared.open()
        self._endings.push_async_callback(shared.aclose)
        if self._links:
            link = self._links[-1]
            await eventually(lambda: link._hub.hears(link.keys.shared("events")))
        return log

    async def go(self) -> None:
        if self._memory is not None:
            self._memory.away = True
        elif self._server is not None:
            self._server.stop()
            await eventually(lambda: not any(link.up for link in self._links))

    async def come_back(self) -> None:
        if self._memory is not None:
            self._memory.away = False
        elif self._server is not None:
            self._server.start()


@pytest.fixture(params=KINDS)
async def shop(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Shop]:
    monkeypatch.setattr(shared_events, "AGAIN", 0.05)
    async with AsyncExitStack() as endings:
        yield Shop(request.param, endings)


def words(log: EventLog) -> list[tuple[str, str]]:
    return [(event.activator, event.action) for event in log.since(0)]


async def until_told(log: EventLog, count: int) -> list[Event]:
    await eventually(lambda: len(log.since(0)) >= count)
    return log.since(0)


# the store


async def test_what_is_said_comes_back_in_order_with_rising_ids(shop: Shop) -> None:
    store = await shop.store()
    assert await store.since(0) == []
    await store.append([(1, "a"), (2, "b")], author="x", again=False)
    await store.append([(1, "c")], author="y", again=False)

    told = await store.since(0)
    assert [(each.author, each.number, each.said) for each in told] == [
        ("x", 1, "a"),
        ("x", 2, "b"),
        ("y", 1, "c"),
    ]
    ids = [each.id for each in told]
    assert ids == sorted(set(ids))
    assert await store.since(ids[0]) == told[1:]
    assert await store.since(ids[2]) == []


async def test_what_may_have_been_said_is_said_once(shop: Shop) -> None:
    store = await shop.store()
    await store.append([(1, "a"), (2, "b")], author="x", again=False)
    await store.append([(1, "a"), (2, "b"), (3, "c")], author="x", again=True)
    await store.append([(1, "mine")], author="y", again=True)
    assert [each.said for each in await store.since(0)] == ["a", "b", "c", "mine"]


async def test_the_last_thousand_are_kept(shop: Shop) -> None:
    store = await shop.store()
    for first in range(0, KEPT + 100, 100):
        many = [(first + number, "x") for number in range(100)]
        await store.append(many, author="x", again=False)
    kept, last = [], 0
    while page := await store.since(last):
        kept += page
        last = page[-1].id
    assert [each.number for each in kept] == list(range(100, KEPT + 100))


async def test_who_listens_is_told_until_it_stops(shop: Shop) -> None:
    store = await shop.store()
    news = asyncio.Event()
    stop = store.listen(news.set)
    if isinstance(store, RedisEventStore):
        await asyncio.wait_for(news.wait(), 5.0)
        news.clear()
    await store.append([(1, "a")], author="x", again=False)
    await asyncio.wait_for(news.wait(), 5.0)
    news.clear()
    stop()
    await store.append([(2, "a")], author="x", again=False)
    assert len(await store.since(0)) == 2
    assert not news.is_set()


# who share it


async def test_all_activators_tell_the_same_under_the_same_ids(shop: Shop) -> None:
    one, other = await shop.activator("one"), await shop.activator("other")
    one.record("m", "activated", "demand", replicas=2)
    await until_told(other, 1)
    other.record("m", "deactivated", "idle")
    assert await until_told(one, 2) == await until_told(other, 2)

    first, second = one.since(0)
    assert (first.activator, first.action, first.fields) == ("one", "activated", {"replicas": 2})
    assert (second.activator, second.reason) == ("other", "idle")
    assert one.since(first.id) == [second]


async def test_who_follows_is_told_what_others_say_once(shop: Shop) -> None:
    one, other = await shop.activator("one"), await shop.activator("other")
    with one.subscribe() as subscription:
        one.record("m", "a", "")
        await until_told(other, 1)
        other.record("m", "b", "")
        await until_told(one, 2)
        _, told = subscription.take()
        assert [(event.activator, event.action) for event in told] == [("one", "a"), ("other", "b")]


async def test_whoever_comes_later_knows_the_past_which_is_no_news(shop: Shop) -> None:
    one = await shop.activator("one")
    one.record("m", "a", "")
    before = await until_told(one, 1)
    late = EventLog()
    with late.subscribe() as subscription:
        shared = SharedEvents(await shop.store(), late, me="late")
        shared.open()
        assert await until_told(late, 1) == before
        late.record("m", "b", "")
        await until_told(late, 2)
        assert [event.action for event in subscription.take()[1]] == ["b"]
        await shared.aclose()


async def test_while_the_store_is_away_ones_own_are_told_and_later_everybodys(shop: Shop) -> None:
    one, other = await shop.activator("one"), await shop.activator("other")
    one.record("m", "before", "")
    await until_told(other, 1)
    await shop.go()
    with one.subscribe() as subscription:
        mine = one.record("m", "meanwhile", "")
        await until_told(one, 2)
        other.record("m", "elsewhere", "")
        await until_told(other, 2)
        await shop.come_back()

        seen = {("one", "before"), ("one", "meanwhile"), ("other", "elsewhere")}
        await eventually(lambda: seen - {("one", "before")} <= set(words(one)))
        await eventually(lambda: seen - {("one", "before")} <= set(words(other)))
        await eventually(lambda: one.since(0)[-2:] == other.since(0)[-2:])
        assert len(words(one)) == len(set(words(one)))
        told = [event.action for event in subscription.take()[1]]
        assert sorted(told) == ["elsewhere", "meanwhile"]
        assert mine.at == next(event.at for event in other.since(0) if event.action == "meanwhile")


async def test_what_is_still_to_be_said_at_the_end_is_said(shop: Shop) -> None:
    one = EventLog()
    shared = SharedEvents(await shop.store(), one, me="one")
    shared.open()
    for number in range(120):
        one.record("m", f"a{number}", "")
    await shared.aclose()
    late = await shop.activator("late")
    assert [event.action for event in await until_told(late, 120)] == [
        f"a{number}" for number in range(120)
    ]
    assert len(one.since(0)) == 120


async def test_what_is_too_long_loses_its_facts_and_what_is_not_understood_is_passed_over(
    shop: Shop,
) -> None:
    one = await shop.activator("one")
    store = await shop.store()
    for number, odd in enumerate(["no json", "[1]", '{"at": 1}', '{"at": "x", "fields": {}}']):
        await store.append([(number, odd)], author="newer", again=False)
    one.record("m", "long", "r" * LONGEST, lines=["x" * LONGEST] * 9)
    (event,) = await until_told(one, 1)
    assert event.fields == {}
    assert 0 < len(event.reason) < LONGEST
    assert len((await store.since(0))[-1].said) < LONGEST


async def test_an_activator_that_is_cut_off_keeps_a_bounded_number(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_events, "PENDING", 5)
    one = await shop.activator("one")
    await shop.go()
    for number in range(9):
        one.record("m", f"a{number}", "")
    await until_told(one, 9)
    await shop.come_back()
    store: Any = await shop.store()
    wanted = [f"a{number}" for number in range(4, 9)]

    async def written() -> list[str]:
        try:
            return [each.said.split('"action": "')[1][:2] for each in await store.since(0)]
        except StoreUnavailable:
            return []

    deadline = asyncio.get_running_loop().time() + 5.0
    while await written() != wanted:
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.02)
    assert [event.action for event in one.since(0)] == [f"a{number}" for number in range(9)]


# Redis


async def test_in_redis_events_end_a_month_after_the_last_one() -> None:
    async with opened_link() as link:
        await RedisEventStore(link).append([(1, "a")], author="x", again=False)
        ttl = await link.command("TTL", link.keys.shared("events"))
        assert LASTING - 60 < ttl <= LASTING


# an answer that is lost


class Unsure:
    """A store that has done what it says it has not, once."""

    def __init__(self, inner: EventStore) -> None:
        self._inner = inner
        self.listen, self.since = inner.listen, inner.since
        self.is_unsure = True

    async def append(self, said: Sequence[tuple[int, str]], *, author: str, again: bool) -> None:
        await self._inner.append(said, author=author, again=again)
        if self.is_unsure:
            self.is_unsure = False
            raise StoreUnavailable("no answer")


async def test_what_may_have_been_written_is_told_once(shop: Shop) -> None:
    other = await shop.activator("other")
    one = EventLog()
    shared = SharedEvents(Unsure(await shop.store()), one, me="one")
    shared.open()
    with one.subscribe() as subscription:
        one.record("m", "a", "")
        one.record("m", "b", "")
        await until_told(other, 2)
        other.record("m", "c", "")
        await until_told(one, 3)
        await until_told(other, 3)
        assert [event.action for event in other.since(0)] == ["a", "b", "c"]
        await eventually(lambda: one.since(0) == other.since(0))
        assert [event.action for event in subscription.take()[1]] == ["a", "b", "c"]
    await shared.aclose()


async def test_what_a_fault_of_ours_kept_from_the_store_is_told_here_and_written_later_once(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = await shop.activator("one"), await shop.activator("other")
    outlet: Any = one.outlet
    faulty = Faulty(monkeypatch, outlet._store, "append", after=True)
    one.record("m", "activated", "x")
    await eventually(lambda: faulty.failed)
    assert words(one) == [("one", "activated")]
    one.record("m", "deactivated", "y")

    for log in (one, other):
        await until_told(log, 2)
        assert words(log) == [("one", "activated"), ("one", "deactivated")]
    assert failures(caplog) == ["events/write"]


async def test_a_fault_of_ours_in_reading_costs_no_more_than_what_was_being_read(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = await shop.activator("one"), await shop.activator("other")
    outlet: Any = other.outlet
    faulty = Faulty(monkeypatch, outlet, "_take")
    one.record("m", "activated", "x")
    await eventually(lambda: faulty.failed)
    one.record("m", "deactivated", "y")

    await eventually(lambda: ("one", "deactivated") in words(other))
    assert failures(caplog) == ["events/read"]
