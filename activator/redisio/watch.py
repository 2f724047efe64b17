"""Whether the store is there: looked at every now and then, and at once when something failed.

Decides up and down. One failure is a suspicion; down is what cannot be reached when it is looked
at, or must not be used. Coming back, it may be another server or have lost what it knew: whoever
keeps something in it is told, and declares it again.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from activator.core.backoff import Backoff
from activator.errors import StoreUnavailable
from activator.redisio.failures import Unreachable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from activator.redisio.server_info import ServerInfo

LOOK_EVERY: Final = 2.0
"""Seconds, while nothing fails."""
SUSPICION: Final = 0.05
"""Seconds between two looks that failures ask for."""
AGAIN: Final = Backoff(first=0.05, cap=0.5)
"""While it is down; with `LOOK_MOST` it makes for a return within 2 s."""
LOOK_LEAST: Final = 0.25
LOOK_MOST: Final = 1.0
"""Seconds that one look may take."""

_log = logging.getLogger("activator.redis")


class Watch:
    """`up` and, while it is not, the `cause` in words."""

    def __init__(
        self,
        look: Callable[[float], Awaitable[Sequence[ServerInfo]]],
        *,
        forget: Callable[[], None],
        timeout: float,
        clock: Callable[[], float],
    ) -> None:
        """`look`: by that moment of the loop's time; `forget`: drop every connection."""
        self._look_at = look
        self._forget = forget
        self._patience = min(max(timeout, LOOK_LEAST), LOOK_MOST)
        self._clock = clock
        self._told: list[Callable[[bool], None]] = []
        self._suspected = asyncio.Event()
        self._identity: frozenset[str] = frozenset()
        self._down_since = clock()
        self._came_up = asyncio.Event()
        self.up = False
        self.cause = "The store has not been reached yet"
        self.fullness = 0.0

    def on_change(self, told: Callable[[bool], None]) -> None:
        self._told.append(told)

    def suspect(self) -> None:
        """Something failed in a way that the server may be the reason of."""
        self._suspected.set()

    async def until_up(self) -> None:
        await self._came_up.wait()

    async def run(self) -> None:
        attempt = 0
        while True:
            if self.up:
                attempt = 0
                await self._pause(LOOK_EVERY, heed_suspicion=True)
            else:
                attempt += 1
                await self._pause(AGAIN.delay(attempt), heed_suspicion=False)
            await self.look()

    async def look(self) -> StoreUnavailable | None:
        """Look now; returns why it is down, if it is."""
        until = asyncio.get_running_loop().time() + self._patience
        self._suspected.clear()
        try:
            infos = await self._look_at(until)
        except StoreUnavailable as failure:
            self._went_down(failure)
            return failure
        self.fullness = max(info.fullness for info in infos)
        identity = frozenset(info.run_id for info in infos)
        known, self._identity = self._identity, identity
        if self.up and identity != known:
            # whoever is told that it is back finds connections: they are made by the next look
            restarted = Unreachable("The store was restarted")
            self._went_down(restarted)
            return restarted
        if not self.up:
            self._is_back()
        return None

    async def _pause(self, seconds: float, *, heed_suspicion: bool) -> None:
        if not heed_suspicion:
            await asyncio.sleep(seconds)
            return
        await asyncio.sleep(SUSPICION)
        try:
            async with asyncio.timeout(seconds - SUSPICION):
                await self._suspected.wait()
        except TimeoutError:
            pass

    def _went_down(self, why: StoreUnavailable) -> None:
        self.cause = why.detail
        if not self.up:
            return
        self.up = False
        self._came_up.clear()
        self._down_since = self._clock()
        self._forget()
        _log.warning("store down", extra={"action": "store_down", "cause": why.detail})
        self._tell()

    def _is_back(self) -> None:
        self.up = True
        self._came_up.set()
        away = self._clock() - self._down_since
        _log.info("store up", extra={"action": "store_up", "after": round(away, 3)})
        self._tell()

    def _tell(self) -> None:
        for told in tuple(self._told):
            try:
                told(self.up)
            except Exception:  # the others are told all the same
                _log.exception("told of the store", extra={"action": "callback_failed"})
