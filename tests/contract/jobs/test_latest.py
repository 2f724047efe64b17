"""The latest jobs of many endpoints together: the same as of each, and few questions."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from activator.core.jobs import JobState
from activator.queueing import redis_job_calls as scripts
from activator.queueing import redis_job_listing
from activator.queueing.redis_job_listing import TOGETHER
from activator.queueing.redis_jobs import RedisJobs
from tests.contract.jobs.stage import RedisStage, created
from tests.redis_server import opened_link

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activator.queueing.jobs import JobStore


async def expected(
    store: JobStore, endpoints: Sequence[str], states: Sequence[JobState], limit: int
) -> list[str]:
    jobs = [
        record.job
        for endpoint in endpoints
        for record in await store.recent(endpoint, states=states, limit=1000)
    ]
    jobs.sort(key=lambda job: (job.created, job.id), reverse=True)
    return [job.id for job in jobs[:limit]]


@pytest.mark.parametrize("at_a_time", [1, 3, 200])
async def test_they_are_those_of_each_in_any_state_and_number(
    a: JobStore, b: JobStore, monkeypatch: pytest.MonkeyPatch, at_a_time: int
) -> None:
    monkeypatch.setattr(redis_job_listing, "AT_A_TIME", at_a_time)
    endpoints = [f"m{number}" for number in range(9)]
    for number in (4, 1, 1, 7, 4, 1, 7, 1):
        record = await created(a, endpoint=f"m{number}")
        if number == 4:
            await a.cancel(record.job.id, reason="cancelled", detail="")

    for states in ((), (JobState.CANCELLED,), (JobState.QUEUED,), (JobState.FAILED,)):
        for limit in (1, 2, 5, 100):
            told = await b.latest(endpoints, states=states, limit=limit)
            assert [each.job.id for each in told] == await expected(b, endpoints, states, limit)
    assert await b.latest([]) == []


async def test_over_a_redis_a_thousand_endpoints_are_not_asked_for_one_by_one() -> None:
    endpoints = [f"m{number}" for number in range(1000)]
    busy = endpoints[5::100]
    async with opened_link() as link, aclosing(RedisStage(link)) as stage:
        a = stage.open("a")
        for endpoint in busy:
            await created(a, endpoint=endpoint)
        asked: list[int] = []
        exchange = link._exchange

        async def noting(keys: Any, commands: Sequence[Any], until: float) -> Any:
            asked.append(len(commands))
            return await exchange(keys, commands, until)

        vars(link)["_exchange"] = noting
        assert {each.job.endpoint for each in await a.latest(endpoints)} == set(busy)
        assert len(asked) <= len(endpoints) / TOGETHER + 3
        assert max(asked) == TOGETHER


@pytest.mark.parametrize("change", ["one comes", "one goes", "the last that was read goes"])
async def test_over_a_redis_none_is_left_out_or_told_twice_because_others_come_and_go(
    monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr(redis_job_listing, "AT_A_TIME", 3)
    async with opened_link() as link, aclosing(RedisStage(link)) as stage:
        a = stage.open("a")
        assert isinstance(a, RedisJobs)
        ids = [(await created(a)).job.id for _ in range(8)]
        run, pages = a._calls.run, 0

        async def between(script: Any, endpoint: str, *args: Any) -> Any:
            nonlocal pages
            answer = await run(script, endpoint, *args)
            if script is scripts.LIST and not pages:
                pages += 1
                if change == "one comes":
                    await created(a)
                else:
                    gone = ids[-1] if change == "one goes" else ids[-3]
                    await link.command("ZREM", f"{a._calls.base('m')}:all", gone)
            return answer

        monkeypatch.setattr(a._calls, "run", between)
        told = [each.job.id for each in await a.recent("m", states=tuple(JobState))]

        assert pages
        assert told == ids[::-1]


async def test_over_a_redis_no_more_are_read_together_than_are_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redis_job_listing, "AT_A_TIME", 4)
    async with opened_link() as link, aclosing(RedisStage(link)) as stage:
        a = stage.open("a")
        assert isinstance(a, RedisJobs)
        endpoints = [f"m{number}" for number in range(6)]
        latest = [(await created(a, endpoint=each)).job.id for _ in range(5) for each in endpoints]
        of_each, read = a._calls.of_each, [0]

        async def noting(*asked: Any) -> list[Any]:
            answers = await of_each(*asked)
            read.append(sum(looked_at for looked_at, *_ in answers))
            return answers

        monkeypatch.setattr(a._calls, "of_each", noting)

        for limit in (1, 2, 3):
            told = await a.latest(endpoints, limit=limit)
            assert [each.job.id for each in told] == latest[: -limit - 1 : -1]
        assert 0 < max(read) <= 4


async def test_over_a_redis_one_is_not_left_out_because_others_come_while_they_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redis_job_listing, "AT_A_TIME", 3)
    async with opened_link() as link, aclosing(RedisStage(link)) as stage:
        a = stage.open("a")
        assert isinstance(a, RedisJobs)
        first = (await created(a)).job.id
        await a.cancel(first, reason="cancelled", detail="")
        of_each = a._calls.of_each

        async def late(*asked: Any) -> list[Any]:
            for _ in range(3):
                await created(a)
            return await of_each(*asked)

        monkeypatch.setattr(a._calls, "of_each", late)

        told = await a.latest(["m"], states=(JobState.CANCELLED,))
        assert [each.job.id for each in told] == [first]
