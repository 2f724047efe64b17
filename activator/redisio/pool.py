"""The connections to one Redis: at most so many, lent to one exchange at a time.

Decides who gets the next one, in order of asking. Whether one is still good is `wire`'s.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from activator.redisio.failures import Unreachable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from activator.redisio.wire import Wire


class Pool:
    """What is taken is given back, whatever happened to it."""

    def __init__(self, dial: Callable[[float], Awaitable[Wire]], *, most: int) -> None:
        """`dial`: a new connection by that moment of the loop's time. Raises Unreachable."""
        self._dial = dial
        self._most = most
        self._idle: list[Wire] = []
        self._waiting: deque[asyncio.Future[Wire | None]] = deque()
        self._closed = False
        self.size = 0
        """Connections open or being opened."""

    def idle(self) -> Wire | None:
        """The one used last, which is the warmest."""
        while self._idle:
            wire = self._idle.pop()
            if wire.usable:
                return wire
            wire.abort()
            self.size -= 1
        return None

    async def take(self, *, until: float) -> Wire:
        """Raises Unreachable: none became free, or none could be made."""
        if (wire := self.idle()) is not None:
            return wire
        if self.size < self._most:
            self.size += 1
        elif (wire := await self._next(until)) is not None:
            return wire
        try:
            return await self._dial(until)
        except BaseException:
            self._vacate()
            raise

    def give_back(self, wire: Wire) -> None:
        if self._closed or not wire.usable:
            wire.abort()
            self._vacate()
        elif not self._hand(wire):
            self._idle.append(wire)

    def close(self) -> None:
        """Idle ones are closed now, lent ones when they come back; who waits waits in vain."""
        self._closed = True
        while self._idle:
            self._idle.pop().abort()
            self.size -= 1
        while self._waiting:
            if not (waiting := self._waiting.popleft()).done():
                waiting.set_exception(Unreachable("The store is elsewhere now"))

    async def _next(self, until: float) -> Wire | None:
        """A connection that became free, or None: a place for a new one."""
        waiting: asyncio.Future[Wire | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            async with asyncio.timeout_at(until):
                return await waiting
        except TimeoutError:
            self._pass_on(waiting)
            raise Unreachable("Too many operations wait for the store") from None
        except asyncio.CancelledError:
            self._pass_on(waiting)
            raise

    def _pass_on(self, waiting: asyncio.Future[Wire | None]) -> None:
        """What came in the moment in which it was given up belongs to the next."""
        if not waiting.done() or waiting.cancelled() or waiting.exception() is not None:
            waiting.cancel()
        elif (wire := waiting.result()) is not None:
            self.give_back(wire)
        else:
            self._vacate()

    def _vacate(self) -> None:
        if not self._hand(None):
            self.size -= 1

    def _hand(self, wire: Wire | None) -> bool:
        while self._waiting:
            if not (waiting := self._waiting.popleft()).done():
                waiting.set_result(wire)
                return True
        return False
