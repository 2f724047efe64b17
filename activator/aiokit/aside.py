"""Long work in another thread that leaves the interpreter to the loop's thread.

A thread that just goes on has the interpreter for five milliseconds at a time, and the loop waits
as long with every socket that it looks at. One that rests often keeps nobody waiting for longer
than it works in one piece.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

WORKS: Final = 0.001
"""Seconds in one piece."""
RESTS: Final = 0.001


class Abandoned(Exception):
    """Nobody waits for the work any more."""


class Breath:
    """`breathe` is called by the work wherever it may rest, many times in WORKS."""

    __slots__ = ("_abandoned", "_clock", "_rest", "_until")

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        rest: Callable[[float], object] = time.sleep,
    ) -> None:
        self._clock = clock
        self._rest = rest
        self._until = clock() + WORKS
        self._abandoned = False

    def breathe(self) -> None:
        """Raises Abandoned."""
        if self._clock() >= self._until:
            if self._abandoned:
                raise Abandoned
            self._rest(RESTS)
            self._until = self._clock() + WORKS

    def abandon(self) -> None:
        """It ends where it rests next."""
        self._abandoned = True


async def aside(work: Callable[[Callable[[], None]], T]) -> T:
    """What `work(breathe)` returns or raises. Cancelled, it is not waited for, and ends soon."""
    breath = Breath()
    try:
        return await asyncio.to_thread(work, breath.breathe)
    finally:
        breath.abandon()
