"""Jobs in Redis over a connection that is cut at any byte: a step is done once, or not at all."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import pytest

from activator.core.jobs import JobState
from activator.errors import StoreUnavailable
from activator.queueing.jobs import Claim, Created, Lost, Output, Work
from tests.contract.jobs.audit import audit
from tests.contract.jobs.stage import (
    AGE,
    HEAD,
    RedisStage,
    admitted,
    begun,
    claimed,
    job_id,
    result_of,
)
from tests.faulty_proxy import FaultyProxy
from tests.redis_server import fresh_prefix, opened_link, shared_server
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from activator.queueing.jobs import JobStore, Told
    from activator.redisio.link import Link

T = TypeVar("T")

DIRECTIONS = ["sent", "received"]
TRAILERS = (b"T: 1",)


class Town:
    """`a` reaches its Redis over a proxy, `b` does not need one."""

    def __init__(self, link: Link, proxy: FaultyProxy, a: JobStore, b: JobStore) -> None:
        self.link = link
        """Of b."""
        self.proxy = proxy
        self.a = a
        self.b = b

    async def cut_once(
        self, direction: str, size: int, work: Callable[[], Awaitable[T]]
    ) -> tuple[T, bool]:
        """Cut after so many bytes, and repeat until the store answers; whether it was cut."""
        proxy = self.proxy
        before = getattr(proxy, direction)
        proxy.cut_after(**{direction: size})
        try:
            result = await work()
        except StoreUnavailable:
            proxy.cut_after()
            result = await self.until_done(work)
        proxy.cut_after()
        return result, getattr(proxy, direction) - before >= size

    async def until_done(self, work: Callable[[], Awaitable[T]]) -> T:
        for _ in range(100):
            try:
                return await work()
            except StoreUnavailable:
                await until_up(self.proxy_link)
        raise AssertionError("the store has not come back")

    proxy_link: Link


async def until_up(link: Link) -> None:
    await eventually(lambda: link.up)


@asynccontextmanager
async def town() -> AsyncIterator[Town]:
    prefix = fresh_prefix()
    async with (
        FaultyProxy(shared_server().port) as proxy,
        opened_link(f"redis://127.0.0.1:{proxy.port}", prefix=prefix) as far,
        opened_link(prefix=prefix) as near,
    ):
        there, here = RedisStage(far), RedisStage(near)
        made = Town(near, proxy, there.open("a"), here.open("b"))
        made.proxy_link = far
        try:
            yield made
        finally:
            await there.aclose()
            await here.aclose()


def sizes() -> list[int]:
    return [*range(8), *range(8, 1500, 97)]


# --- the way of a job -----------------------------------------------------------------------------

STEPS = ["claim", "begin", "append", "append more", "finish"]


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("cut", STEPS)
async def test_a_step_that_is_cut_and_repeated_is_done_once(cut: str, direction: str) -> None:
    async with town() as the:
        cuts = 0
        for size in sizes():
            id_ = await job_id(the.b, b"body")
            claim, was_cut = await live(the, cut, direction, size)
            cuts += was_cut

            assert claim.id == id_
            assert await result_of(the.b, id_) == b"an answer"
            events = await the.b.events(id_)
            assert events is not None
            told = [event.kind for event in events if event.kind != "queued"]
            assert told == ["running", "answering", "succeeded"]
            if not was_cut:
                break
        assert cuts > 5
        assert await audit(the.link) == []


async def live(the: Town, cut: str, direction: str, size: int) -> tuple[Claim, bool]:
    """The next job from its claim to its end, one step of which is cut."""
    claim: Claim | None = None
    was_cut = False

    async def take(step: str) -> None:
        nonlocal claim
        a = the.a
        if step == "claim":
            claim = await claimed(a)
            return
        assert claim is not None
        match step:
            case "begin":
                await a.begin(claim)
            case "append":
                await a.append(claim, Output(0, HEAD, (b"a", b"n ")))
            case "append more":
                await a.append(claim, Output(3, None, (b"ans",)))
            case "finish":
                await a.finish(claim, output=Output(4, None, (b"wer",)), trailers=TRAILERS)

    for step in STEPS:
        if step == cut:
            _, was_cut = await the.cut_once(direction, size, lambda: take(step))  # noqa: B023 -- awaited here
        else:
            await the.until_done(lambda: take(step))  # noqa: B023 -- awaited here
    assert claim is not None
    return claim, was_cut


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("step", ["requeue", "give_back", "cancel"])
async def test_a_step_back_that_is_cut_is_done_once(step: str, direction: str) -> None:
    async with town() as the:
        for size in sizes():
            id_ = await job_id(the.b, b"body")
            claim = await the.until_done(lambda: claimed(the.a, cold=True))

            async def back(claim: Claim = claim) -> object:
                match step:
                    case "requeue":
                        return await the.a.requeue(claim, reason="r", detail="d", delay=0.0)
                    case "give_back":
                        await the.a.give_back(claim)
                        return None
                return await the.a.cancel(claim.id, reason="r", detail="d")

            _, was_cut = await the.cut_once(direction, size, back)

            record = await the.b.get(id_)
            assert record is not None
            expected = {"requeue": (JobState.QUEUED, 2), "give_back": (JobState.QUEUED, 1)}
            assert (record.job.state, record.job.attempt) == expected.get(
                step, (JobState.CANCELLED, 1)
            )
            await the.b.cancel(id_, reason="", detail="")
            if not was_cut:
                break
        assert await audit(the.link) == []


# --- into the store -------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("length", [4, 600_000])
async def test_a_job_whose_creator_was_refused_is_not_run(direction: str, length: int) -> None:
    async with town() as the:
        created: set[str] = set()
        body = b"x" * length
        for size in [*sizes(), *range(1500, length, 61_000)]:
            the.proxy.cut_after(**{direction: size})
            try:
                admission = await admitted(the.a, body, claim=size % 2 == 1)
            except StoreUnavailable:
                pass
            else:
                assert isinstance(admission, Created)
                created.add(admission.record.job.id)
            the.proxy.cut_after()
            await until_up(the.proxy_link)

        async def others_are_cancelled() -> bool:
            records = await the.b.recent("m", limit=1000)
            alive = {each.job.id for each in records if each.job.state is not JobState.CANCELLED}
            assert created <= alive
            return alive == created

        await until_true(others_are_cancelled)
        assert await audit(the.link) == []


async def test_a_creator_is_refused_while_its_job_is_taken_and_the_store_goes() -> None:
    async with town() as the:
        await job_id(the.a)
        the.proxy.cut_after(received=0)
        the.proxy.refusing = True
        with pytest.raises(StoreUnavailable):
            await admitted(the.a, b"body")
        (taken, _) = await the.b.recent("m")
        assert taken.job.state is JobState.QUEUED
        the.proxy.cut_after()
        the.proxy.refusing = False

        async def it_is_cancelled() -> bool:
            record = await the.b.get(taken.job.id)
            return record is not None and record.job.state is JobState.CANCELLED

        await until_true(it_is_cancelled)


async def until_true(check: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(500):
        if await check():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it has not come true")


@pytest.mark.parametrize("direction", DIRECTIONS)
async def test_a_key_that_was_cut_off_stands_for_one_job_in_the_end(direction: str) -> None:
    async with town() as the:
        for size in sizes():
            key = f"key {size}"

            async def ask(key: str = key) -> object:
                return await admitted(the.a, b"body", key=key)

            _, was_cut = await the.cut_once(direction, size, ask)
            await until_up(the.proxy_link)
            records = [each for each in await the.b.recent("m", limit=1000) if not each.job.ended]
            assert len(records) <= size + 1
            if not was_cut:
                break
        assert await audit(the.link) == []


# --- hearing --------------------------------------------------------------------------------------


async def test_what_was_said_while_nobody_could_hear_is_looked_up() -> None:
    async with town() as the:
        told: list[Told] = []
        watching = the.a.watch("m", told.append)
        id_ = await job_id(the.b)
        claim = await the.until_done(lambda: begun(the.a))
        assert claim.id == id_
        await eventually(lambda: Work() in told and the.a.queued("m") == 0)
        told.clear()

        the.proxy.refusing = True
        the.proxy.cut()
        await the.b.cancel(id_, reason="cancelled", detail="")
        await job_id(the.b)
        await job_id(the.b)
        the.proxy.refusing = False

        await eventually(lambda: Lost(id_) in told and the.a.queued("m") == 2)
        assert (await the.until_done(lambda: the.a.claim("m", 5, age=AGE))).claims
        watching.close()


async def test_readers_of_an_activator_that_was_taken_for_gone_are_counted_again() -> None:
    async with town() as the:
        id_ = await job_id(the.a, detached=False, reading=True)
        await the.b.requeue_claims_of("a", "m")
        assert (record := await the.b.get(id_)) is not None
        assert record.job.readers == 0

        await the.a.sweep("m")

        assert (record := await the.b.get(id_)) is not None
        assert (record.job.readers, record.job.unread_since) == (1, 0.0)


async def test_a_reader_that_left_while_the_store_was_away_is_not_counted_for_ever() -> None:
    async with town() as the:
        id_ = await job_id(the.a, detached=False, reading=True)
        the.proxy.refusing = True
        the.proxy.cut()
        await the.a.leave(id_)
        the.proxy.refusing = False
        await until_up(the.proxy_link)

        await the.until_done(lambda: the.a.sweep("m"))

        assert (record := await the.b.get(id_)) is not None
        assert record.job.readers == 0
        assert record.job.unread_since
