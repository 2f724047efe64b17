"""From several replicas to fewer, over several activators: who goes has nothing, wherever it came
from, and what somebody may still have at one keeps it."""

from __future__ import annotations

import asyncio
import signal
from collections import defaultdict
from typing import TYPE_CHECKING

from tests.replica import hello
from tests.several import several
from tests.support import eventually
from tests.town import spawn

if TYPE_CHECKING:
    from tests.replica import Talk
    from tests.several import Several

SCALE = {"max": 3, "targetConcurrency": 1, "downDelay": "200ms", "idleTimeout": "300ms"}


class Patient:
    """Answers `/wait/NAME` once it is let go, anything else at once."""

    def __init__(self) -> None:
        self.free: defaultdict[bytes, asyncio.Event] = defaultdict(asyncio.Event)

    def let_go(self, name: str) -> None:
        self.free[f"/wait/{name}".encode()].set()

    async def __call__(self, talk: Talk) -> None:
        if talk.heard.target.startswith(b"/wait/"):
            await self.free[talk.heard.target].wait()
        await hello(talk)


def in_flight(s: Several) -> int:
    return sum(each.in_flight for each in s.running)


async def test_the_replica_that_another_activator_uses_is_the_one_that_stays() -> None:
    behave = Patient()
    async with several(3, behave=behave, concurrency=1, scale=SCALE) as s:
        leader = await s.leader()
        second, third = (each for each in s.activators if each is not leader)
        askers = {"a": leader, "b": second, "c": third}
        waiting = {name: spawn(each.get(f"/wait/{name}")) for name, each in askers.items()}
        await eventually(lambda: in_flight(s) == 3, within=15.0)
        assert len(s.running) == 3

        for name in ("a", "b"):
            behave.let_go(name)
            assert (await waiting[name]).status == 200

        await eventually(lambda: len(s.running) == 1, within=15.0)
        assert s.running[0].in_flight == 1
        assert s.world.asked[-1].pid == leader.pid
        assert s.cut == []
        behave.let_go("c")
        assert (await waiting["c"]).status == 200
        await s.until_zero()
        assert s.cut == []


async def test_one_that_stands_still_keeps_what_it_may_have_something_at() -> None:
    behave = Patient()
    async with several(2, behave=behave, concurrency=1, scale=SCALE) as s:
        leader = await s.leader()
        (other,) = (each for each in s.activators if each is not leader)
        waiting = [spawn(leader.get("/wait/a")), spawn(other.get("/wait/b"))]
        await eventually(lambda: in_flight(s) == 2, within=15.0)
        other.tell(signal.SIGSTOP)
        behave.let_go("a")
        assert (await waiting[0]).status == 200
        await leader.until_logged("activator_silent")

        # for several times what it takes to go where all can say what they have
        await asyncio.sleep(2.0)
        assert len(s.running) == 2
        other.tell(signal.SIGCONT)

        await eventually(lambda: len(s.running) == 1, within=15.0)
        assert s.running[0].in_flight == 1
        behave.let_go("b")
        assert (await waiting[1]).status == 200
        assert s.cut == []
