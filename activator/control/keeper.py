"""Keeps in the store what was learned of endpoints, so that it outlives the activator.

Every activator learns by itself, so what is new is noted by the leader alone; whoever is new is
told what was noted before. What is learned, and what it is good for, is its owner's business.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from activator.aiokit.slices import Slices
from activator.aiokit.tasks import Tasks
from activator.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

EVERY: Final = 5.0
"""Seconds between two looks at what is new."""

T = TypeVar("T")


class Keeper(Generic[T]):
    """Of the endpoints that `current` names, each with whatever has learned something of it."""

    def __init__(
        self,
        kind: str,
        *,
        current: Callable[[], Mapping[str, T]],
        recall: Callable[[Mapping[str, T]], Awaitable[None]],
        has_news: Callable[[T], bool],
        note: Callable[[str, T], Awaitable[None]],
    ) -> None:
        """`recall`: tell these what is noted of them; `note`: whatever is new of this one, if it
        `has_news`, by whoever leads. Both may raise StoreUnavailable, and are called again then."""
        self._current = current
        self._recall = recall
        self._has_news = has_news
        self._note = note
        self._knows: Mapping[str, T] = {}
        """Those that were told what is noted."""
        self._tasks = Tasks(kind)

    def start(self) -> None:
        self._tasks.spawn_lasting(self._go_on, name="note")

    async def aclose(self) -> None:
        """Note what has not been; after the endpoints were closed."""
        await self._tasks.aclose()
        with contextlib.suppress(StoreUnavailable):
            await self._note_all()
        self._knows = {}

    async def _go_on(self) -> None:
        while True:
            # while the store is away, what is not noted or known yet waits
            with contextlib.suppress(StoreUnavailable):
                await self.tick()
            await asyncio.sleep(EVERY)

    async def tick(self) -> None:
        """Raises StoreUnavailable."""
        current = self._current()
        if current != self._knows:
            current = dict(current)  # it may change meanwhile
            knows = self._knows
            new = {name: each for name, each in current.items() if knows.get(name) is not each}
            if new:
                await self._recall(new)
            self._knows = current
        await self._note_all()

    async def _note_all(self) -> None:
        failed: Exception | None = None
        slices = Slices()
        for name, each in self._knows.items():
            await slices.turn()
            if not self._has_news(each):
                continue
            try:
                await self._note(name, each)
            except StoreUnavailable:
                raise
            except Exception as bug:  # the others are noted all the same
                failed = bug
        if failed is not None:
            raise failed
