"""Jobs in a Redis that is full, forgets its scripts, restarts or loses everything."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from activator.core.jobs import JobState, Outcome, Superseded
from activator.errors import StoreUnavailable
from activator.queueing.jobs import Created, Lost, Output, Work
from tests.contract.jobs.audit import audit, leftovers
from tests.contract.jobs.stage import (
    AGE,
    HEAD,
    POLICY,
    RedisStage,
    admitted,
    answered,
    begun,
    body_of,
    claimed,
    job_id,
    result_of,
)
from tests.redis_server import APPEND_ONLY, RedisServer, opened_link, redis_server
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from activator.queueing.jobs import JobStore, Told

FAILURE = Outcome(JobState.FAILED, "upstream_timeout", "not one byte")


@asynccontextmanager
async def own(*options: str) -> AsyncIterator[tuple[RedisServer, RedisStage]]:
    with redis_server(*options) as redis:
        async with opened_link(redis.url) as link:
            stage = RedisStage(link)
            try:
                yield redis, stage
            finally:
                await stage.aclose()


def fill(redis: RedisServer) -> None:
    redis.ask("CONFIG", "SET", "maxmemory", 1)


def make_room(redis: RedisServer) -> None:
    redis.ask("CONFIG", "SET", "maxmemory", 0)


# --- full ---------------------------------------------------------------------------------------


async def test_a_full_redis_takes_nothing_new_and_keeps_nothing_half() -> None:
    async with own() as (redis, stage):
        a = stage.open("a")
        await job_id(a, b"body")
        running = await begun(a)
        await a.append(running, Output(0, HEAD, (b"half",)))
        fill(redis)

        for body in (b"", b"small", b"x" * 700_000):
            with pytest.raises(StoreUnavailable):
                await admitted(a, body, claim=True, reading=True, detached=False, key="k")
            assert await audit(stage.link) == []
        with pytest.raises(StoreUnavailable):
            await a.append(running, Output(2, None, (b"more",)))
        with pytest.raises(StoreUnavailable):
            await a.finish(running, output=Output(2, None, (b"more",)))
        assert await audit(stage.link) == []
        assert len(await a.recent("m")) == 1

        make_room(redis)
        await a.finish(running, output=Output(2, None, (b"more",)))
        assert await result_of(a, running.id) == b"halfmore"
        assert isinstance(await admitted(a, b"small", key="k"), Created)


async def test_in_a_full_redis_jobs_go_on_and_make_room() -> None:
    async with own() as (redis, stage):
        a, b = stage.open("a"), stage.open("b")
        ids = [await job_id(a, b"body", webhook="https://hooks.example.com") for _ in range(8)]
        first = await begun(a)
        await a.append(first, Output(0, HEAD, (b"whole",)))
        fill(redis)

        await a.finish(first)
        second, third, fourth = await begun(a), await claimed(a, cold=True), await claimed(b)
        await a.requeue(second, reason="r", detail="d", delay=0.0)
        await a.give_back(third)
        await b.finish(fourth, FAILURE)
        await b.retry(fourth.id)
        fifth = await begun(b)
        await b.join(ids[7])
        await b.leave(ids[7])
        await b.detach(ids[7])
        await a.requeue_claims_of("b", "m")
        await a.cancel(fifth.id, reason="cancelled", detail="")
        assert await a.hooks_due("m", 10, lease=30.0)
        await a.hook_later(first.id, delay=1.0)
        await a.hook_done(first.id)
        await a.sweep("m")
        assert await audit(stage.link) == []
        assert await result_of(b, first.id) == b"whole"

        stage.offset += POLICY.ttl + 1
        await a.sweep("m")
        stage.offset += POLICY.ttl + 1
        await a.sweep("m")
        assert await leftovers(stage.link) == []


async def test_detached_work_is_refused_before_redis_is_full() -> None:
    async with own() as (redis, stage):
        a = stage.open("a")
        await job_id(a)
        used = int(next(
            line for line in redis.ask("INFO", "memory").split(b"\r\n")
            if line.startswith(b"used_memory:")
        ).partition(b":")[2])  # fmt: skip
        redis.ask("CONFIG", "SET", "maxmemory", int(used / 0.85))
        await eventually(lambda: stage.link.fullness >= 0.8)

        with pytest.raises(StoreUnavailable):
            await admitted(a, b"body", detached=True)
        assert isinstance(await admitted(a, b"body", detached=False), Created)

        make_room(redis)
        await eventually(lambda: stage.link.fullness < 0.8)
        assert isinstance(await admitted(a, b"body", detached=True), Created)


# --- forgetful ----------------------------------------------------------------------------------


async def test_scripts_that_redis_has_forgotten_are_told_again() -> None:
    async with own() as (redis, stage):
        a = stage.open("a")

        def forget() -> None:
            redis.ask("SCRIPT", "FLUSH")

        forget()
        id_ = await job_id(a, b"x" * 600_000, key="k", reading=True)
        forget()
        claim = await claimed(a)
        forget()
        assert await body_of(a, claim) == b"x" * 600_000
        forget()
        await a.begin(claim)
        forget()
        await a.append(claim, Output(0, HEAD, (b"an ",)))
        forget()
        await a.finish(claim, output=Output(2, None, (b"answer",)))
        forget()
        assert await result_of(a, id_) == b"an answer"
        forget()
        assert await a.place(id_) is None
        forget()
        await a.sweep("m")
        forget()
        assert [record.job.id for record in await a.recent("m")] == [id_]


async def test_jobs_outlive_a_redis_that_writes_down_what_it_is_told() -> None:
    async with own(*APPEND_ONLY) as (redis, stage):
        a = stage.open("a")
        waiting = await job_id(a, b"later", urgency=5)
        id_ = await job_id(a, b"body")
        claim = await begun(a)
        await a.append(claim, Output(0, HEAD, (b"an ",)))

        told: list[bool] = []
        stage.link.on_change(told.append)
        redis.kill()
        redis.start()
        await eventually(lambda: told[-1:] == [True])

        await once_back(lambda: a.finish(claim, output=Output(2, None, (b"answer",))))
        assert await result_of(a, id_) == b"an answer"
        assert (await claimed(a)).id == waiting
        assert await audit(stage.link) == []


async def test_a_redis_that_lost_everything_is_an_empty_one() -> None:
    async with own() as (redis, stage):
        a = stage.open("a")
        told: list[Told] = []
        watching = a.watch("m", told.append)
        id_ = await job_id(a, b"body", reading=True, detached=False)
        claim = await begun(a)
        await job_id(a)
        await eventually(lambda: a.queued("m") == 1)
        told.clear()

        redis.kill()
        redis.start()
        await eventually(lambda: Lost(id_) in told and Work() in told)

        assert a.queued("m") == 0
        await once_back(lambda: a.get(id_))
        with pytest.raises(Superseded):
            await a.append(claim, Output(0, HEAD, (b"x",)))
        assert await a.get(id_) is None
        assert await a.page(id_) is None
        await a.leave(id_)
        await once_back(lambda: a.sweep("m"))
        assert await leftovers(stage.link) == []
        await works(a)
        assert await audit(stage.link) == []
        watching.close()


async def once_back(work: Callable[[], Awaitable[object]]) -> None:
    for _ in range(100):
        with suppress(StoreUnavailable):
            await work()
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the store has not come back")


async def works(store: JobStore) -> None:
    id_ = await job_id(store, b"body")
    claim = (await store.claim("m", 1, age=AGE)).claims[0]
    await store.begin(claim)
    await answered(store, claim, b"answer")
    assert await result_of(store, id_) == b"answer"
