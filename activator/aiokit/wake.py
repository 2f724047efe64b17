"""What one task sleeps on. Of thousands most sleep nearly all the time, and an `asyncio.Event` each
would be a kilobyte each."""

from __future__ import annotations

import asyncio


class Wake:
    """For one sleeper at a time; `set` while nobody sleeps is remembered."""

    __slots__ = ("_is_set", "_sleeper")

    def __init__(self) -> None:
        self._is_set = False
        self._sleeper: asyncio.Future[None] | None = None

    def set(self) -> None:
        self._is_set = True
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)

    def clear(self) -> None:
        self._is_set = False

    async def wait(self, seconds: float | None = None) -> None:
        """Until it is set, or for so long."""
        if self._is_set:
            return
        assert self._sleeper is None, "one sleeper at a time"
        loop = asyncio.get_running_loop()
        sleeper = self._sleeper = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, _end, sleeper)
        try:
            await sleeper
        finally:
            self._sleeper = None
            if timer is not None:
                timer.cancel()


def _end(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)
