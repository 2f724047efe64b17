"""Who waits for an API server that is away, and how long, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from activator.kube.outage import SCOUT, SPREAD, Outage

pytestmark = pytest.mark.looptime


def outage() -> Outage:
    return Outage(clock=asyncio.get_running_loop().time, dice=lambda: 1.0)


def now() -> float:
    return asyncio.get_running_loop().time()


async def back_at(it: Outage, *, after: float) -> None:
    await asyncio.sleep(after)
    it.over()


async def paused(it: Outage, seconds: float) -> float:
    """When it was over."""
    await it.pause(seconds)
    return now()


async def test_while_the_server_is_there_a_pause_lasts_as_long_as_it_should() -> None:
    it = outage()

    assert await paused(it, 30.0) == pytest.approx(30.0)


async def test_one_asks_again_soon_and_the_others_pause() -> None:
    it = outage()
    it.began()

    ends = await asyncio.gather(*(paused(it, 5.0) for _ in range(10)))

    assert sorted(ends) == pytest.approx([SCOUT] + [5.0] * 9)


async def test_whoever_pauses_next_asks_if_the_one_who_did_is_gone() -> None:
    it = outage()
    it.began()
    scout = asyncio.get_running_loop().create_task(it.pause(5.0))
    await asyncio.sleep(0)
    scout.cancel()
    assert await paused(it, 1.0) == pytest.approx(1.0)

    assert await paused(it, 5.0) == pytest.approx(1.0 + SCOUT)


async def test_a_pause_that_is_shorter_anyway_stays_so() -> None:
    it = outage()
    it.began()

    assert await paused(it, 0.1) == pytest.approx(0.1)


async def test_all_pauses_end_when_the_server_is_back_though_not_all_at_once() -> None:
    rolls = iter([0.0, 0.5, 1.0])
    it = Outage(clock=now, dice=lambda: next(rolls))
    it.began()
    returns = asyncio.get_running_loop().create_task(back_at(it, after=0.5))

    ends = await asyncio.gather(*(paused(it, 60.0) for _ in range(3)))

    await returns
    assert sorted(ends) == pytest.approx([0.5, 0.5 + SPREAD / 2, 0.5 + SPREAD])


async def test_away_again_it_is_waited_for_again() -> None:
    it = outage()
    it.began()
    it.over()
    it.began()
    await it.pause(60.0)

    assert await paused(it, 5.0) == pytest.approx(2 * SCOUT)
