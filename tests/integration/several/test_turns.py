"""Without a store that all share, whoever holds a Lease serves, and the others stand by."""

from __future__ import annotations

import asyncio
import signal
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tests.activator_process import TIMES
from tests.support import eventually
from tests.town import spawn
from tests.turns import is_ready, turns

if TYPE_CHECKING:
    from tests.replica import Talk
    from tests.several import Activator

LONGEST = TIMES.pace.lapse + 2 * TIMES.pace.look + 1.0
"""Seconds without anybody who serves, after one was killed, and one more on a busy machine."""


def at(record: dict[str, Any]) -> datetime:
    """When something was logged."""
    return datetime.fromisoformat(record["ts"])


async def until_idle_for(seconds: float, activator: Activator) -> None:
    """By its own account it has had nothing for so long, and what it had before was not the end."""

    async def idle() -> float:
        told = await activator.status()
        assert told["state"] == "active"
        return time.time() - float(told["last_activity"])

    async with asyncio.timeout(5.0):
        while await idle() < seconds:
            await asyncio.sleep(0.02)


class Works:
    """Answers `/long` when it is told to, everything else at once."""

    def __init__(self) -> None:
        self.finish = asyncio.Event()

    async def __call__(self, talk: Talk) -> None:
        if talk.heard.target == b"/long":
            await self.finish.wait()
        await talk.answer(200, b"done")


async def test_when_the_one_that_serves_is_killed_another_serves_what_runs() -> None:
    async with turns(2, scale={"idleTimeout": "300ms"}, timeouts={"total": "2s"}) as t:
        first, other = await t.roles()
        assert (await first.get()).status == 200

        first.process.kill()
        killed = asyncio.get_running_loop().time()
        assert await t.serving(other_than=first) is other

        assert asyncio.get_running_loop().time() - killed < LONGEST
        assert (await other.get()).status == 200
        assert t.orders == [1]
        assert "activator.dev/epoch" in t.workload["metadata"]["annotations"]
        await t.until_count(0)
        taken = at((await other.logged_by_now("serving"))[0])
        idle = at((await other.logged_by_now("draining"))[0])
        # the one that was killed might have had something in flight
        assert (idle - taken).total_seconds() >= 2.0


async def test_one_that_is_told_to_stop_hands_over_at_once_and_finishes_what_it_has() -> None:
    works = Works()
    async with turns(2, behave=works, scale={"idleTimeout": "200ms"}) as t:
        first, other = await t.roles()
        long = spawn(first.get("/long"))
        await eventually(lambda: t.replicas and t.replicas[0].in_flight)

        first.tell(signal.SIGTERM)
        told = asyncio.get_running_loop().time()
        assert await t.serving(other_than=first) is other
        assert asyncio.get_running_loop().time() - told < TIMES.pace.hold
        assert (await other.get()).status == 200

        await until_idle_for(5 * 0.2, other)
        assert t.count == 1
        works.finish.set()
        assert (await long).status == 200
        assert await first.ended() == 0
        assert t.orders == [1]


async def test_one_that_slept_through_a_takeover_neither_serves_nor_stops_anything() -> None:
    works = Works()
    async with turns(2, behave=works, scale={"idleTimeout": "1s"}) as t:
        first, other = await t.roles()
        assert (await first.get()).status == 200
        first.tell(signal.SIGSTOP)
        assert await t.serving(other_than=first) is other
        long = spawn(other.get("/long"))
        await eventually(lambda: t.replicas[0].in_flight)
        asked = spawn(first.get())

        first.tell(signal.SIGCONT)  # by its own clock the endpoint has been idle for long enough

        reply = await asked
        assert (reply.status, reply.why) == (503, "store_unavailable")
        await first.until_logged("standing_by")
        assert not await is_ready(first)
        assert await first.metric("activator_leader") == 0
        await first.until_status(within=5.0, state="active")
        assert t.orders == [1]
        works.finish.set()
        assert (await long).status == 200
