"""Who goes on in which turn of the loop."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from activator.aiokit.pace import Pace
from tests.faults import failures
from tests.slicing import Turns

if TYPE_CHECKING:
    import pytest


class Crowd:
    """Notes who has had a turn, and how many in the same turn of the loop."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.went: list[int] = []
        self.together: list[int] = []
        self._here = 0

    async def go(self, number: int) -> None:
        await self.pace.turn()
        self.went.append(number)
        if not self._here:
            asyncio.get_running_loop().call_soon(self._note)
        self._here += 1

    def _note(self) -> None:
        self.together.append(self._here)
        self._here = 0


async def test_a_crowd_goes_on_a_few_at_a_time_in_order_of_coming() -> None:
    crowd = Crowd(Pace(3))

    await asyncio.gather(*(crowd.go(number) for number in range(10)))
    await asyncio.sleep(0)

    assert crowd.went == list(range(10))
    assert sum(crowd.together) == 10
    assert max(crowd.together) == 3


async def test_few_do_not_wait() -> None:
    pace = Pace(3)

    for _ in range(5):
        for _ in range(3):
            coroutine = pace.turn()
            try:
                coroutine.send(None)
            except StopIteration:
                continue
            raise AssertionError("it waited")
        await asyncio.sleep(0)


async def test_whoever_is_cancelled_takes_nobodys_turn() -> None:
    crowd = Crowd(Pace(2))
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(crowd.go(number)) for number in range(8)]
    await asyncio.sleep(0)

    for number in (3, 4, 5):
        tasks[number].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert crowd.went == [0, 1, 2, 6, 7]
    await asyncio.wait_for(crowd.pace.turn(), 1.0)


async def test_many_who_are_woken_at_the_same_moment_are_woken_a_few_at_a_time() -> None:
    pace, turns = Pace(3), Turns()
    with turns.counted():
        for _ in range(10):
            pace.call(turns.step)
        while turns.steps < 10:
            await asyncio.sleep(0)

    assert turns.longest == 3


async def test_one_that_fails_is_told_and_keeps_nobody_else_from_going_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pace, woken = Pace(3), list[int]()

    def breaks() -> None:
        raise RuntimeError("a bug")

    crowd = Crowd(pace)
    going = [asyncio.get_running_loop().create_task(crowd.go(number)) for number in range(5)]
    for number in range(5):
        pace.call(breaks if number in (1, 4) else partial(woken.append, number))
    async with asyncio.timeout(5.0):
        await asyncio.gather(*going)

    assert woken == [0, 2, 3]
    assert failures(caplog) == ["pace/listener"] * 2
