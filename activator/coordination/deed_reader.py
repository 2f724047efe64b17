"""Reading the deeds that have changed, or may have: many in one question to the store.

Thousands are due at the same moment after a reconnection; a question each would keep the store, and
this activator's loop, busy for seconds. Decides which are read together, and when one that could
not be read is read again. What follows from a deed is `deeds`' business.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from itertools import islice
from typing import TYPE_CHECKING, Final

from activator.aiokit import tasks
from activator.aiokit.garbage import put_away, uncollected
from activator.aiokit.slices import Slices
from activator.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from activator.aiokit.tasks import Tasks
    from activator.coordination.deeds import SharedDeed
    from activator.core.deeds import Deed

AGAIN: Final = 1.0
"""Seconds between two attempts to read what could not be read."""
TOGETHER: Final = 64
"""Deeds that are read in one question: the store is held up for less than a millisecond."""


class DeedReader:
    """Of all deeds of one activator, from the first that is due for as long as `tasks` are."""

    def __init__(
        self,
        read: Callable[[Sequence[str]], Awaitable[Sequence[Deed | Exception]]],
        running: Tasks,
    ) -> None:
        """`read`: as `DeedStore.look`."""
        self._read = read
        self._tasks = running
        self._due: dict[SharedDeed, None] = {}
        """In order."""
        self._is_due = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self._queued: set[SharedDeed] = set()
        """Those that wait for a question of their own, which is answered first."""
        self._failed: dict[SharedDeed, int] = {}
        """How many times reading one has met a bug, one after the other."""

    def look(self, deeds: Iterable[SharedDeed]) -> None:
        """They may have changed."""
        due = dict.fromkeys(deeds)
        if not due:
            return
        self._due.update(due)
        self._is_due.set()
        if self._reading is None or self._reading.done():
            self._reading = self._tasks.spawn_lasting(
                self._read_on, name="read", again=self._is_due.set
            )

    def forget(self, deed: SharedDeed) -> None:
        self._due.pop(deed, None)
        self._failed.pop(deed, None)

    async def _read_on(self) -> None:
        while True:
            await self._is_due.wait()
            self._is_due.clear()
            try:
                with uncollected():
                    await self._read_all()
            except StoreUnavailable:
                await self._tell_all_due()
                await asyncio.sleep(AGAIN)

    async def _read_all(self) -> None:
        """Raises StoreUnavailable; what was not read is due."""
        while some := list(islice(self._due, TOGETHER)):
            for each in some:
                del self._due[each]
            try:
                await self._read_free(some)
            except Exception:
                self.look(some)
                raise
            put_away()

    async def _read_free(self, some: Sequence[SharedDeed]) -> None:
        """Those about which something else is being asked have their turn after that: answers are
        to come in the order of the questions. Raises StoreUnavailable: none of them was read."""
        async with AsyncExitStack() as locks:
            free = []
            for each in some:
                if each.lock.locked():
                    self._read_later(each)
                else:
                    await locks.enter_async_context(each.lock)
                    free.append(each)
            if free:
                await self._read_locked(free)

    def _read_later(self, deed: SharedDeed) -> None:
        if deed not in self._queued:
            self._queued.add(deed)
            self._tasks.spawn(self._read_alone(deed), name=f"read {deed.endpoint}")

    async def _read_alone(self, deed: SharedDeed) -> None:
        try:
            async with deed.lock:
                self._queued.discard(deed)
                await self._read_locked([deed])
        except Exception as failure:
            deed.look()
            if not isinstance(failure, StoreUnavailable):
                raise
        finally:
            self._queued.discard(deed)

    async def _read_locked(self, some: Sequence[SharedDeed]) -> None:
        slices = Slices()
        found = await self._read([each.endpoint for each in some])
        slices.begin()
        for deed, record in zip(some, found, strict=True):
            self._found(deed, record)
            await slices.turn()

    def _found(self, deed: SharedDeed, record: Deed | Exception) -> None:
        try:
            if isinstance(record, StoreUnavailable):
                deed.cannot_be_read()
                self._look_again(deed, in_seconds=AGAIN)
                return
            if isinstance(record, Exception):
                raise record
            deed.saw(record)
        except Exception as bug:  # the others are read all the same
            self._tasks.tell_failure(f"read {deed.endpoint}", bug)
            failures = self._failed[deed] = self._failed.get(deed, 0) + 1
            self._look_again(deed, in_seconds=tasks.AGAIN.delay(failures))
        else:
            self._failed.pop(deed, None)

    def _look_again(self, deed: SharedDeed, *, in_seconds: float) -> None:
        asyncio.get_running_loop().call_later(in_seconds, deed.look)

    async def _tell_all_due(self) -> None:
        """Whoever waits for what is in one need not wait for the store's return."""
        slices = Slices()
        for deed in list(self._due):
            try:
                deed.cannot_be_read()
            except Exception as bug:
                self._tasks.tell_failure(f"read {deed.endpoint}", bug)
            await slices.turn()
