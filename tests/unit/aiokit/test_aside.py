"""Work in another thread rests often, and ends when nobody waits for it."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from activator.aiokit.aside import RESTS, WORKS, Abandoned, Breath, aside

if TYPE_CHECKING:
    from collections.abc import Callable


class Sleeper:
    """A clock that rests move on, as work does."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rests: list[float] = []

    def clock(self) -> float:
        return self.now

    def rest(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.now += seconds


def test_it_rests_whenever_it_has_worked_for_so_long() -> None:
    sleeper = Sleeper()
    breath = Breath(clock=sleeper.clock, rest=sleeper.rest)
    for _ in range(40):
        sleeper.now += WORKS / 3.9
        breath.breathe()

    assert sleeper.rests == [RESTS] * 10


def test_what_is_abandoned_ends_where_it_rests_next() -> None:
    sleeper = Sleeper()
    breath = Breath(clock=sleeper.clock, rest=sleeper.rest)
    breath.abandon()
    breath.breathe()
    sleeper.now += WORKS

    with pytest.raises(Abandoned):
        breath.breathe()


async def test_what_the_work_returns_or_raises_comes_back() -> None:
    def fails(breathe: Callable[[], None]) -> None:
        raise LookupError("a bug")

    assert await aside(lambda _breathe: threading.current_thread()) is not threading.main_thread()
    with pytest.raises(LookupError, match="a bug"):
        await aside(fails)


async def test_it_ends_soon_after_nobody_waits_for_it() -> None:
    began, ended = threading.Event(), threading.Event()

    def goes_on(breathe: Callable[[], None]) -> None:
        began.set()
        try:
            while True:
                breathe()
        finally:
            ended.set()

    waiting = asyncio.get_running_loop().create_task(aside(goes_on))
    assert await asyncio.to_thread(began.wait, 5.0)
    waiting.cancel()

    assert await asyncio.to_thread(ended.wait, 5.0)
    with pytest.raises(asyncio.CancelledError):
        await waiting
