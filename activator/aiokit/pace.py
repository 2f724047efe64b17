"""A crowd that wakes at the same moment goes on a few at a time, so that the loop gets round to
others in between."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from activator.aiokit.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Callable

AT_ONCE: Final = 32
"""Of work that takes some tenths of a millisecond: others wait ten milliseconds for it."""


class Pace:
    """Of everybody who shares it. `turn` is awaited before the work."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._at_once = self._left = at_once
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._to_call: deque[Callable[[], object]] = deque()
        self._scheduled = False
        self._tasks = Tasks("pace")

    async def turn(self) -> None:
        """At once unless many were before in this turn of the loop; then in order of coming."""
        if self._left and not self._waiting:
            self._left -= 1
            self._schedule()
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn

    def call(self, wakes: Callable[[], object]) -> None:
        """Soon, beside as many others in one turn of the loop: what wakes somebody who would come
        for a turn. One that fails is reported, and keeps nobody else from going on."""
        self._to_call.append(wakes)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        self._scheduled = False
        self._left = self._at_once
        to_call = self._to_call
        some = [to_call.popleft() for _ in range(min(self._at_once, len(to_call)))]
        self._tasks.tell_each(some)
        while self._left and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # it was cancelled
                turn.set_result(None)
                self._left -= 1
        if self._left < self._at_once or self._to_call:
            self._schedule()
