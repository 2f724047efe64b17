"""What has been accepted is done, whatever is killed: activators with jobs, Redis under traffic."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING

from tests.several import Activator, several
from tests.stage import request
from tests.support import eventually
from tests.town import spawn

if TYPE_CHECKING:
    from tests.rawclient import Reply
    from tests.replica import Talk

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
BACK_WITHIN = 5.0
"""Seconds after Redis is back, as promised."""


async def accept(activator: Activator, number: int) -> str:
    """The path of a job that was accepted."""
    headers = {"Prefer": "respond-async"}
    reply = await activator.ask(
        request(f"/{number}", method="POST", headers=headers, body=b"%d" % number)
    )
    assert reply.status == 202, reply
    return location(reply)


async def until_accepted(activator: Activator) -> str:
    """The path of a job, once there can be one again."""
    deadline = asyncio.get_running_loop().time() + BACK_WITHIN
    raw = request("/x", method="POST", headers={"Prefer": "respond-async"}, body=b"x")
    while (reply := await activator.ask(raw)).status != 202:
        assert asyncio.get_running_loop().time() < deadline, reply
        await asyncio.sleep(0.1)
    return location(reply)


def location(reply: Reply) -> str:
    found = reply.get("location")
    assert found is not None, reply
    return found.decode()


async def accept_all(activator: Activator, numbers: range) -> dict[int, str]:
    some = asyncio.Semaphore(20)

    async def one(number: int) -> str:
        async with some:
            return await accept(activator, number)

    paths = await asyncio.gather(*(one(number) for number in numbers))
    return dict(zip(numbers, paths, strict=True))


async def result(activator: Activator, path: str, *, within: float = 30.0) -> Reply:
    """The recorded answer, once there is one."""
    deadline = asyncio.get_running_loop().time() + within
    while (reply := await activator.get(f"{path}/result")).status in (409, 503):
        assert asyncio.get_running_loop().time() < deadline, reply
        await asyncio.sleep(0.05)
    return reply


async def test_jobs_of_a_killed_activator_run_and_only_what_was_in_flight_runs_twice() -> None:
    ran: Counter[int] = Counter()

    async def works(talk: Talk) -> None:
        number = int(talk.heard.target[1:])
        ran[number] += 1
        await asyncio.sleep(0.01)
        await talk.answer(200, b"%d" % number)

    async with several(2, behave=works, concurrency=4) as s:
        doomed, other = s.activators
        s.driver.start_delay = 1.0
        jobs = await accept_all(doomed, range(200))
        await eventually(lambda: len(ran) >= 5, within=20.0)
        doomed.process.kill()

        for number, path in jobs.items():
            reply = await result(other, path)
            assert (reply.status, reply.body) == (200, b"%d" % number)
        repeated = {number for number, times in ran.items() if times > 1}
        assert len(repeated) <= 4  # as many as can have been in flight
        for number in repeated:
            told = json.loads((await other.get(jobs[number])).body)
            assert told["attempt"] >= ran[number]
        assert set(ran) == set(jobs)
        assert s.most_in_flight <= 4


async def test_who_is_started_while_redis_is_away_takes_no_slot_that_may_be_anothers() -> None:
    async def waits(talk: Talk) -> None:
        if talk.heard.target == b"/first":
            await free.wait()
        await talk.answer(200, b"ok")

    free = asyncio.Event()
    async with several(1, behave=waits, concurrency=1) as s:
        (one,) = s.activators
        await s.until_acquainted()
        first = spawn(one.get("/first"))
        await eventually(lambda: s.most_in_flight == 1)
        s.redis.kill()
        await one.until_logged("slots_alone")
        (late,) = await s.start(1)
        told = await late.until_logged("slots_alone")
        assert (told["limit"], told["share"]) == (1, 0)

        held = spawn(late.get("/held"))
        await late.until_status(within=5.0, state="active", held=1)
        free.set()
        assert (await first).status == 200
        assert (await one.get("/warm")).status == 200
        assert not held.done()
        s.redis.start()

        assert (await held).status == 200
        assert s.most_in_flight == 1


async def test_a_redis_that_keeps_a_log_loses_no_accepted_job_when_it_is_killed() -> None:
    async def works(talk: Talk) -> None:
        await talk.answer(200, talk.heard.target[1:])

    async with several(2, behave=works, concurrency=2, redis_options=DURABLE) as s:
        s.driver.start_delay = 2.0
        jobs = await accept_all(s.activators[0], range(40))
        s.redis.kill()
        await asyncio.sleep(0.5)
        s.redis.start()

        for number, path in jobs.items():
            reply = await result(s.activators[1], path)
            assert (reply.status, reply.body) == (200, b"%d" % number)


async def test_in_a_full_redis_limited_traffic_goes_on_exactly_and_there_is_a_leader() -> None:
    async with several(2, concurrency=1, scale={"idleTimeout": "1s"}) as s:
        leader = await s.leader()
        (other,) = (each for each in s.activators if each is not leader)
        assert (await other.get()).status == 200
        s.redis.ask("CONFIG", "SET", "maxmemory", 1)

        replies = await asyncio.gather(*(each.get() for each in s.activators for _ in range(30)))
        refused = await other.ask(
            request("/x", method="POST", headers={"Prefer": "respond-async"}, body=b"x")
        )
        assert Counter(reply.status for reply in replies) == {200: 60}
        assert (refused.status, refused.why) == (503, "store_unavailable")
        assert s.most_in_flight == 1
        for each in s.activators:
            told = await each.logged_by_now("slots_alone")
            assert not [record for record in told if "full" in record["reason"]]
        leader.process.kill()
        assert await s.leader(other_than=leader.pid) is other
        await s.until_zero()

        s.redis.ask("CONFIG", "SET", "maxmemory", 0)
        assert (await result(other, await until_accepted(other))).status == 200


async def test_without_redis_warm_traffic_goes_on_and_detached_requests_are_refused() -> None:
    async with several(2, concurrency=4, redis_options=DURABLE) as s:
        one, other = s.activators
        assert (await one.get()).status == 200
        await s.until_acquainted()
        s.redis.kill()

        replies = await asyncio.gather(*(each.get() for each in (one, other) for _ in range(20)))
        refused = await one.ask(
            request("/x", method="POST", headers={"Prefer": "respond-async"}, body=b"x")
        )

        assert Counter(reply.status for reply in replies) == {200: 40}
        assert (refused.status, refused.why) == (503, "store_unavailable")
        assert len(s.running) == 1  # nothing is scaled down
        assert not await one.logged_by_now("task_failed")

        s.redis.start()
        assert (await result(other, await until_accepted(one))).status == 200
