"""The activator that may scale down ends, or stands still at the worst moment."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from tests.activator_process import TIMES
from tests.several import several
from tests.support import eventually
from tests.town import spawn

if TYPE_CHECKING:
    from tests.replica import Talk

EXACT_WITHIN = 2.0 + 1.5
"""Seconds from a store that is back, and empty, until limits are exact again (docs/redis.md)."""
SLACK = 2.0
"""Seconds more, on a busy machine."""
LONGEST = TIMES.pace.lapse + 2 * TIMES.pace.look
"""Seconds without a leader, with the shorter times of tests: what takes 15 s in production."""


async def test_when_the_leader_is_killed_another_leads_and_lets_the_endpoint_sleep() -> None:
    async with several(3, scale={"idleTimeout": "3s"}) as s:
        first = await s.leader()
        assert (await first.get("/")).status == 200

        first.process.kill()
        killed = asyncio.get_running_loop().time()
        other = await s.leader(other_than=first.pid)

        assert asyncio.get_running_loop().time() - killed < LONGEST + 1.0
        await s.until_zero()
        assert [each.pid for each in s.world.asked if not each.replicas] == [other.pid]


async def test_when_the_leader_is_told_to_stop_another_leads_at_once() -> None:
    async with several(2) as s:
        first = await s.leader()
        (other,) = (each for each in s.activators if each is not first)

        first.tell(signal.SIGTERM)
        assert await first.ended() == 0

        assert await s.leader(within=TIMES.pace.lapse / 2) is other


async def test_a_cold_start_waits_for_no_leader() -> None:
    async with several(2, scale={"idleTimeout": "1s"}) as s:
        first = await s.leader()
        (other,) = (each for each in s.activators if each is not first)
        first.tell(signal.SIGSTOP)

        assert (await other.get("/", within=1.5)).status == 200

        first.tell(signal.SIGCONT)


async def test_a_leader_that_slept_through_a_revival_does_not_stop_live_work() -> None:
    finish = asyncio.Event()

    async def works(talk: Talk) -> None:
        if talk.heard.target == b"/long":
            await finish.wait()
        await talk.answer(200, b"done")

    async with several(2, behave=works, hesitates=0.5, scale={"idleTimeout": "200ms"}) as s:
        leader = await s.leader()
        (other,) = (each for each in s.activators if each is not leader)
        assert (await other.get("/short")).status == 200
        # everybody has agreed, and the order is about to be given
        await eventually(lambda: s.world.about)
        leader.tell(signal.SIGSTOP)
        (replica,) = s.running

        long = spawn(other.get("/long"))
        await replica.heard(2)
        leader.tell(signal.SIGCONT)

        await eventually(lambda: s.world.asked and not s.world.asked[-1].replicas)
        assert s.world.asked[-1].refused
        assert s.running == [replica]
        finish.set()
        assert (await long).body == b"done"
        assert s.cut == []
        await s.until_zero()


async def test_a_store_that_comes_back_empty_has_nobody_cut_by_an_order_from_before() -> None:
    """The leader stands still with its order for none given, and whoever joins now finds a store
    that knows of no such thing."""
    finish = asyncio.Event()

    async def works(talk: Talk) -> None:
        if talk.heard.target == b"/long":
            await finish.wait()
        await talk.answer(200, b"done")

    async with several(
        2, behave=works, hesitates=0.5, concurrency=1, scale={"idleTimeout": "200ms"}
    ) as s:
        leader = await s.leader()
        (other,) = (each for each in s.activators if each is not leader)
        assert (await other.get("/short")).status == 200
        await eventually(lambda: s.world.about)
        leader.tell(signal.SIGSTOP)
        (replica,) = s.running
        s.redis.kill()
        s.redis.start()
        (late,) = await s.start(1)

        long = spawn(late.get("/long", within=60.0))
        await replica.heard(2)
        more = [spawn(each.get("/short", within=60.0)) for each in (other, late)]
        leader.tell(signal.SIGCONT)

        await eventually(lambda: s.world.asked and not s.world.asked[-1].replicas)
        assert s.world.asked[-1].refused
        assert s.running == [replica]
        await s.until_in_line(len(more), within=EXACT_WITHIN + SLACK)
        assert s.most_in_flight == 1
        finish.set()
        assert (await long).body == b"done"
        assert [(await each).body for each in more] == [b"done", b"done"]
        assert s.most_in_flight == 1
        assert s.cut == []


async def test_nothing_is_stopped_while_the_store_is_away() -> None:
    async with several(2, scale={"idleTimeout": "300ms"}) as s:
        await s.leader()
        assert (await s.activators[0].get("/")).status == 200
        s.redis.pause()
        # for longer than the leader may lead, and than the endpoint may idle
        for _ in range(20):
            await asyncio.sleep(0.1)
            assert (await s.activators[1].get("/")).status == 200

        await asyncio.sleep(3 * 0.3)
        assert len(s.running) == 1

        s.redis.resume()
        await s.until_zero()
