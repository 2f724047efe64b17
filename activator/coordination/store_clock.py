"""The store's clock as this process knows it: one for all its ledgers, asked for once at a time.

What is kept in line over several activators is ordered by it. Decides nothing.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Final

from activator.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.redisio.link import Link

SAMPLES: Final = 5
"""Questions for the time of the store: a moment in which it or this process is busy spoils one."""
FRESH: Final = 1.0
"""Seconds for which an answer does for whoever asks next: after a reconnect every ledger of this
process asks, and there may be thousands."""


class StoreClock:
    """`set` before what is decided without the store is given up: one that does not answer, or
    slowly, changes nothing."""

    def __init__(self, link: Link, *, clock: Callable[[], float]) -> None:
        self.offset = 0.0
        """The store's clock less ours, in seconds."""
        self._link = link
        self._clock = clock
        self._set_at = -inf
        self._asked: asyncio.Future[StoreUnavailable | None] | None = None
        """Somebody asks; how it ended."""

    def doubt(self) -> None:
        """The store may be another one by now."""
        self._set_at = -inf

    async def set(self) -> None:
        """Who asks while another does gets the same answer. Raises StoreUnavailable."""
        while self._asked is not None:
            if (failed := await asyncio.shield(self._asked)) is not None:
                raise StoreUnavailable(failed.detail) from failed
        if self._clock() < self._set_at + FRESH:
            return
        failure = None
        asked = self._asked = asyncio.get_running_loop().create_future()
        try:
            await self._ask()
        except StoreUnavailable as error:
            failure = error
            raise
        finally:
            self._asked = None
            asked.set_result(failure)

    async def _ask(self) -> None:
        """The quickest of a few answers tells it best (Cristian 1989)."""
        quickest = inf
        for _ in range(SAMPLES):
            asked_at = self._clock()
            seconds, micros = await self._link.command("TIME")
            took = self._clock() - asked_at
            if took < quickest:
                quickest = took
                self.offset = int(seconds) + int(micros) / 1e6 - (asked_at + took / 2)
        self._set_at = self._clock()
