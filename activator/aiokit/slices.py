"""Long work on the loop's own thread, in slices, so that requests and streams have their turns.

A thread would not do: it has the interpreter for five milliseconds at a time, and the loop would
wait as long each time it comes round.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

SLICE: Final = 0.002
"""Seconds: what a chunk of a stream may come later without anybody noticing."""


class Slices:
    """Of one piece of work: `await` its `turn` wherever it may be interrupted, at least once in a
    fraction of a SLICE. What the work looks at may have changed when it goes on."""

    __slots__ = ("_clock", "_until")

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = clock() + SLICE

    def begin(self) -> None:
        """Others have just had their turns."""
        self._until = self._clock() + SLICE

    async def turn(self) -> None:
        """At once, unless the slice is used up: then everybody who is ready has a turn first."""
        if self._clock() >= self._until:
            await asyncio.sleep(0)
            self.begin()


class OnePiece(Slices):
    """Where nobody is kept waiting, or nobody may come in between."""

    __slots__ = ()

    async def turn(self) -> None:
        """At once."""
