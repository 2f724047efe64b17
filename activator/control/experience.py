"""Lets what was learned of starts outlive the activator: noted in the store, and read back.

Every activator sees every start of the endpoints that it shares and learns from it by itself, so
one of them notes it: the leader. What is expected of the next start is `core.eta`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from activator.aiokit.tasks import Tasks
from activator.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from activator.control.controller import Controller
    from activator.coordination.base import StartLog

EVERY: Final = 5.0
"""Seconds between two looks at who has started something, or is new; less than a start takes."""


class Experience:
    """See the module."""

    def __init__(
        self,
        log: StartLog,
        *,
        controls: Callable[[], Sequence[Controller]],
        leading: Callable[[], bool],
    ) -> None:
        self._log = log
        self._all = controls
        self._leading = leading
        self._knows: dict[str, Controller] = {}
        """Those that were told what is in the log."""
        self._tasks = Tasks("experience")

    def start(self) -> None:
        self._tasks.spawn(self._go_on(), name="note")

    async def aclose(self) -> None:
        """Note what has not been; after the endpoints were closed."""
        await self._tasks.aclose()
        with contextlib.suppress(StoreUnavailable):
            await self._note(self._knows.values())

    async def _go_on(self) -> None:
        while True:
            # while the store is away, what is not noted or known yet waits
            with contextlib.suppress(StoreUnavailable):
                await self.tick()
            await asyncio.sleep(EVERY)

    async def tick(self) -> None:
        """Raises StoreUnavailable."""
        controls = {control.name: control for control in self._all()}
        new = {name for name, each in controls.items() if self._knows.get(name) is not each}
        if new:
            starts = await self._log.last(new)
            for name in new:
                controls[name].cold_starts.recall(starts[name])
        self._knows = controls
        await self._note(controls.values())

    async def _note(self, controls: Iterable[Controller]) -> None:
        for control in controls:
            news = control.cold_starts.news
            while news:
                if self._leading():
                    await self._log.note(control.name, news[0])
                news.popleft()
