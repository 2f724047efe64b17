"""Random courses of several activators over one endpoint, in virtual time.

    python -m tests.unit.control.courses 1000              so many, each with another seed
    python -m tests.unit.control.courses 1000 --from 7     the same ones each time
    python -m tests.unit.control.courses --only 4711 3 0.2 many

Tells every course that went wrong, and why, and exits 1 if any did. A course is the same for the
same seed, but for the names of activators, which are random at each start.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import time
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import looptime

from activator.core.endpoint import ScalePolicy
from tests.unit.control.city import City, city

if TYPE_CHECKING:
    from collections.abc import Coroutine

IDLE = 2.0
ONE = ScalePolicy(idle_timeout=IDLE)
MANY = ScalePolicy(idle_timeout=IDLE, max=3, target_concurrency=1.0, down_delay=1.0)
POLICIES = {"one": ONE, "many": MANY}
SIZES = (2, 3)
TROUBLES = (0.0, 0.05, 0.2)
MOST = 5
"""Activators, with those that come later."""

LONGEST = 1000.0
"""Virtual seconds of one scene. What waits for nothing has not ended by then."""
MOST_TURNS = 100_000
"""Turns of the loop in one moment of virtual time. What goes round for ever makes more."""


def play(scene: Coroutine[None, None, None]) -> None:
    """In virtual time, on a loop of its own. One that does not end fails instead of hanging."""
    loop = looptime.new_event_loop(start=1000.0, noop_cycles=0)
    turn = loop._run_once  # type: ignore[attr-defined]
    moment, turns = 0.0, 0

    def counted() -> None:
        nonlocal moment, turns
        now = loop.time()
        moment, turns = now, turns + 1 if now == moment else 0
        assert turns < MOST_TURNS, f"time stands still at {now}"
        turn()

    loop._run_once = counted  # type: ignore[attr-defined]
    try:
        loop.run_until_complete(_within(scene))
    finally:
        loop.close()


async def _within(scene: Coroutine[None, None, None]) -> None:
    async with asyncio.timeout(LONGEST):
        await scene


@dataclass(frozen=True, slots=True)
class Course:
    seed: int
    size: int
    """Activators."""
    trouble: float
    """How often anything goes wrong."""
    policy: str

    def play(self) -> None:
        play(self._run())

    async def _run(self) -> None:
        random, trouble = Random(self.seed), self.trouble
        scale = POLICIES[self.policy]
        async with city(random, size=self.size, slow=trouble, scale=scale) as c:
            for _ in range(30):
                await _something(c, random, trouble=trouble)
                assert c.cluster.wrongs == []
            for each in c.activators:
                each.heal()
            await c.until(lambda: not c.open, within=60.0)
            for each in c.activators:
                c.request(each)
            await c.until(lambda: not c.open, within=20.0)
            await c.until(lambda: not c.cluster.wanted, within=60.0)
            assert c.cluster.wrongs == []


async def _something(c: City, random: Random, *, trouble: float) -> None:
    """Mostly requests in the very moment of going idle, and troubles around it."""
    who = random.choice(c.activators)
    await asyncio.sleep(
        random.choice(
            [
                *(0.0, 0.001, 0.05, 0.5),
                *(IDLE + random.uniform(-0.01, 0.05) for _ in range(6)),
                IDLE * 3,
            ]
        )
    )
    if random.random() < trouble:
        still = random.choice([0.01, 0.5, 3.0, 30.0])
        random.choice(c.activators).nature.still_until = c.loop.time() + still
    if random.random() < trouble and len(c.activators) < MOST:
        who = await c.add(slow=trouble)
    if random.random() < trouble:
        cut = random.choice(c.activators)
        cut.nature.cut_until = c.loop.time() + random.choice([0.05, 1.0, 20.0])
        c.loop.call_at(cut.nature.cut_until + 0.01, cut.board_store.missed)
    for _ in range(random.choice([0, 1, 1, 2, 5])):
        c.request(who, takes=random.choice([0.0, 0.001, 0.01, 0.2, 3.0]))
        if random.random() < 0.3:
            who = random.choice(c.activators)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.unit.control.courses")
    parser.add_argument("count", nargs="?", type=int, default=100)
    parser.add_argument("--from", dest="first", type=int, help="the first seed")
    parser.add_argument("--only", nargs=4, metavar=("SEED", "SIZE", "TROUBLE", "POLICY"))
    words = parser.parse_args()
    if words.only:
        seed, size, trouble, policy = words.only
        courses = [Course(int(seed), int(size), float(trouble), policy)]
    else:
        first = secrets.randbelow(2**32) if words.first is None else words.first
        courses = [_course(seed) for seed in range(first, first + words.count)]
    began, wrong = time.monotonic(), 0
    for course in courses:
        try:
            course.play()
        except Exception as failure:  # whatever it is, the others are played
            wrong += 1
            print(f"{course}: {failure!r}", flush=True)
    print(f"{len(courses)} courses, {wrong} went wrong, {time.monotonic() - began:.0f} s")
    return 1 if wrong else 0


def _course(seed: int) -> Course:
    dice = Random(~seed)
    return Course(seed, dice.choice(SIZES), dice.choice(TROUBLES), dice.choice(sorted(POLICIES)))


if __name__ == "__main__":
    sys.exit(main())
