"""Deadlines fire once, never early and at most a granularity late, and nothing is kept."""

from __future__ import annotations

import asyncio
import gc
import random
import weakref
from math import inf
from statistics import median

import pytest
import uvloop

from activator.aiokit.deadlines import GRANULARITY, Deadlines, Timed

HAIR = 0.002
"""Seconds: what a loop's timers round to, and a turn of the loop."""
LOOK = 0.005
"""Seconds between two looks at how late the loop itself is."""


class Clock(Timed):
    """Something timed, that writes down when it was told."""

    def __init__(self, deadline: float = inf) -> None:
        self.deadline, self.looked_at = deadline, inf
        self.fired: list[float] = []

    def on_deadline(self, now: float) -> None:
        self.fired.append(now)


class Rearming(Clock):
    def __init__(self, deadlines: Deadlines, deadline: float, *, every: float) -> None:
        super().__init__(deadline)
        self._deadlines = deadlines
        self._every = every

    def on_deadline(self, now: float) -> None:
        super().on_deadline(now)
        self.deadline = now + self._every
        self._deadlines.arm(self)


def subject() -> Deadlines:
    return Deadlines(asyncio.get_running_loop())


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.mark.looptime
async def test_fires_once_at_its_moment_or_a_little_later() -> None:
    deadlines, clock = subject(), Clock(1.01)
    deadlines.arm(clock)
    await asyncio.sleep(10.0)

    [fired] = clock.fired
    assert 1.01 <= fired <= 1.01 + GRANULARITY
    assert clock.deadline == inf


@pytest.mark.looptime
async def test_moved_later_it_needs_no_arming() -> None:
    deadlines, clock = subject(), Clock(1.0)
    deadlines.arm(clock)
    await asyncio.sleep(0.9)
    clock.deadline = 5.0
    await asyncio.sleep(3.0)
    assert clock.fired == []

    await asyncio.sleep(3.0)
    [fired] = clock.fired
    assert 5.0 <= fired <= 5.0 + GRANULARITY + 1e-6


@pytest.mark.looptime
async def test_moved_earlier_it_needs_arming_again() -> None:
    deadlines, clock = subject(), Clock(5.0)
    deadlines.arm(clock)
    clock.deadline = 1.0
    deadlines.arm(clock)
    await asyncio.sleep(2.0)
    [fired] = clock.fired
    assert 1.0 <= fired <= 1.0 + GRANULARITY + 1e-6

    await asyncio.sleep(10.0)
    assert len(clock.fired) == 1


@pytest.mark.looptime
async def test_a_deadline_in_the_past_fires_in_the_next_turns() -> None:
    deadlines, clock = subject(), Clock(3.0)
    await asyncio.sleep(10.0)
    deadlines.arm(clock)
    await asyncio.sleep(GRANULARITY)

    assert len(clock.fired) == 1


@pytest.mark.looptime
async def test_set_to_infinity_it_does_not_fire_and_is_let_go() -> None:
    deadlines, clock = subject(), Clock(1.0)
    deadlines.arm(clock)
    clock.deadline = inf
    await asyncio.sleep(2.0)
    gone = weakref.ref(clock)
    assert clock.fired == []

    del clock
    gc.collect()
    assert gone() is None


@pytest.mark.looptime
async def test_forgotten_it_is_let_go_at_once() -> None:
    deadlines, clock = subject(), Clock(1000.0)
    deadlines.arm(clock)
    deadlines.forget(clock)
    deadlines.forget(clock)
    gone = weakref.ref(clock)
    del clock
    gc.collect()

    assert gone() is None


@pytest.mark.looptime
async def test_what_is_armed_or_forgotten_while_others_fire_is_heeded() -> None:
    deadlines = subject()
    victim = Clock(1.0)
    late = Clock(1.0)

    class Meddler(Clock):
        def on_deadline(self, now: float) -> None:
            super().on_deadline(now)
            victim.deadline = inf
            deadlines.forget(victim)
            late.deadline = now + 1.0
            deadlines.arm(late)

    meddler = Meddler(1.0)
    for each in (meddler, victim, late):
        deadlines.arm(each)
    await asyncio.sleep(1.5)
    assert (len(meddler.fired), victim.fired, late.fired) == (1, [], [])

    await asyncio.sleep(1.0)
    assert len(late.fired) == 1
    assert victim.fired == []


@pytest.mark.looptime
async def test_one_that_closes_them_is_the_last_to_fire() -> None:
    deadlines = subject()
    told: list[int] = []

    class Closing(Clock):
        def on_deadline(self, now: float) -> None:
            told.append(1)
            deadlines.close()

    for each in (Closing(1.0), Closing(1.0), Closing(2.0)):
        deadlines.arm(each)
    await asyncio.sleep(5.0)

    assert told == [1]


@pytest.mark.looptime
async def test_one_that_arms_itself_for_now_waits_a_tick_and_does_not_spin() -> None:
    deadlines = subject()
    again = Rearming(deadlines, 1.0, every=0.0)
    deadlines.arm(again)
    await asyncio.sleep(2.0)
    deadlines.close()

    assert 30 <= len(again.fired) <= 1.0 / GRANULARITY + 1


@pytest.mark.looptime
async def test_one_that_raises_does_not_cost_the_others_theirs() -> None:
    deadlines = subject()
    told: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, it: told.append(str(it["exception"]))
    )

    class Broken(Clock):
        def on_deadline(self, now: float) -> None:
            raise LookupError("a bug")

    others = [Clock(1.0), Clock(1.0), Clock(3.0)]
    for each in (others[0], Broken(1.0), others[1], others[2]):
        deadlines.arm(each)
    await asyncio.sleep(5.0)

    assert [len(each.fired) for each in others] == [1, 1, 1]
    assert told == ["a bug"]


@pytest.mark.looptime
async def test_closed_it_fires_nothing() -> None:
    deadlines, clock = subject(), Clock(1.0)
    deadlines.arm(clock)
    deadlines.close()
    await asyncio.sleep(5.0)

    assert clock.fired == []


@pytest.mark.looptime
async def test_many_at_random_that_move_all_fire_in_time() -> None:
    deadlines, dice = subject(), random.Random(7)
    clocks = [Clock(dice.uniform(0.0, 50.0)) for _ in range(500)]
    meant = {}
    for clock in clocks:
        deadlines.arm(clock)
        meant[clock] = clock.deadline
    for _ in range(400):
        await asyncio.sleep(0.1)
        for clock in dice.sample(clocks, 5):
            if not clock.fired:
                clock.deadline = meant[clock] = now() + dice.uniform(0.0, 20.0)
                deadlines.arm(clock)
    await asyncio.sleep(100.0)

    for clock in clocks:
        [fired] = clock.fired
        assert meant[clock] <= fired <= meant[clock] + GRANULARITY + 1e-6


def test_on_uvloop_it_is_never_early_at_most_a_granularity_late_and_never_spins() -> None:
    async def play() -> tuple[list[Clock], dict[Clock, float], Rearming, float, list[float]]:
        deadlines, dice = subject(), random.Random(7)
        began = now()
        clocks = [Clock(began + dice.uniform(0.0, 0.8)) for _ in range(300)]
        meant = {clock: clock.deadline for clock in clocks}
        for clock in clocks:
            deadlines.arm(clock)
        steady = Rearming(deadlines, began + 0.05, every=0.05)
        deadlines.arm(steady)
        lags = []
        while (asked := now()) < began + 1.0:
            await asyncio.sleep(LOOK)
            lags.append(max(0.0, now() - asked - LOOK))
        took = now() - began
        deadlines.close()
        return clocks, meant, steady, took, lags

    clocks, meant, steady, took, lags = uvloop.run(play())

    # a loop that the machine keeps waiting is late with everything
    worst, usual = max(lags), median(lags)
    for clock in clocks:
        [fired] = clock.fired
        assert meant[clock] - HAIR <= fired <= meant[clock] + GRANULARITY + worst + 2 * LOOK
    late = median(clock.fired[0] - meant[clock] for clock in clocks)
    assert late <= GRANULARITY + usual
    assert len(steady.fired) <= took / 0.05 + 1


@pytest.mark.looptime
async def test_what_is_looked_at_together_keeps_one_moment() -> None:
    deadlines = subject()
    clocks = [Clock(100.0 + GRANULARITY * share) for share in (0.2, 0.4, 0.6)]
    for clock in clocks:
        deadlines.arm(clock)

    assert len({id(clock.looked_at) for clock in clocks}) == 1
    deadlines.close()


@pytest.mark.looptime
async def test_who_was_armed_when_all_was_closed_may_be_armed_anew() -> None:
    deadlines, clock = subject(), Clock(2.0)
    deadlines.arm(clock)
    deadlines.close()

    clock.deadline = 1.0
    deadlines.arm(clock)
    await asyncio.sleep(3.0)
    assert len(clock.fired) == 1
    deadlines.close()
