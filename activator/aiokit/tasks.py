"""The one place that spawns: every task has a name, an owner, and an ending somebody sees.

An owner holds a `Tasks`; closing it cancels what still runs and waits for it. A task that fails
is reported once (`on_failure`), never silently dropped; one that others depend on for as long as
its owner is there begins again after a pause (`spawn_lasting`).
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from activator.core.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable

_log = logging.getLogger("activator.tasks")

AGAIN: Final = Backoff(first=0.1, factor=3.0, cap=60.0)
"""Seconds until what has failed begins again: soon, since others wait for what it does; ever later
where it fails again and again, since each time is a page in the log."""
SETTLED: Final = 120.0
"""Seconds that it has gone on after which a failure counts as the first one."""
AT_ONCE: Final = 8
"""Of thousands that end: each takes a tenth of a millisecond for it."""
WAITED_FOR: Final = 256
"""Of these in one piece: to begin and to stop waiting takes some microseconds each."""


class Tasks:
    """A set of running tasks with one owner."""

    def __init__(
        self, owner: str, *, on_failure: Callable[[str, BaseException], None] | None = None
    ) -> None:
        self._owner = owner
        self._running: set[asyncio.Task[Any]] = set()
        self._on_failure = on_failure or _log_failure

    def __len__(self) -> int:
        return len(self._running)

    def spawn(self, work: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """Run `work`; its failure goes to `on_failure`, its cancellation is silent."""
        task = asyncio.get_running_loop().create_task(work, name=f"{self._owner}/{name}")
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def spawn_lasting(
        self,
        work: Callable[[], Coroutine[Any, Any, None]],
        *,
        name: str,
        again: Callable[[], object] = lambda: None,
        pauses: Backoff = AGAIN,
    ) -> asyncio.Task[None]:
        """Run `work()`, on which others depend. Where it fails (a bug, a record that nobody has
        written), that goes to `on_failure`, and after a pause it begins again; `again` is called
        before, to make due what it was about to do. It is over when `work` returns."""
        lasting = self.lasting(work, name=name, again=again, pauses=pauses)
        return self.spawn(lasting, name=name)

    async def lasting(
        self,
        work: Callable[[], Coroutine[Any, Any, None]],
        *,
        name: str,
        again: Callable[[], object] = lambda: None,
        pauses: Backoff = AGAIN,
    ) -> None:
        """The same within the caller's own task."""
        clock = asyncio.get_running_loop().time
        failures = 0
        while True:
            began = clock()
            try:
                return await work()
            except Exception as failure:
                failures = 1 if clock() - began >= SETTLED else failures + 1
                self.tell_failure(name, failure)
            await asyncio.sleep(pauses.delay(failures))
            again()

    def tell_failure(self, name: str, failure: BaseException) -> None:
        """Of something that goes on all the same, whatever becomes of whoever is told."""
        self._tell(f"{self._owner}/{name}", failure)

    def tell_each(self, listeners: Iterable[Callable[..., object]], *said: object) -> None:
        """One that fails is reported, and keeps neither the others from being told nor whoever
        tells them from going on."""
        for told in tuple(listeners):
            try:
                told(*said)
            except Exception as bug:
                self.tell_failure("listener", bug)

    async def end_each(self, *ends: Callable[[], Awaitable[object] | None]) -> None:
        """One after the other, each whatever becomes of those before."""
        for end in ends:
            try:
                ending = end()
                if ending is not None:
                    await ending
            except Exception as bug:
                self.tell_failure("end", bug)

    async def end_all(self, ends: Iterable[Callable[[], Coroutine[Any, Any, None]]]) -> None:
        """All at the same time, each whatever becomes of the others; of thousands, a few begin in
        each turn of the loop."""
        ending: list[asyncio.Task[None]] = []
        for end in ends:
            ending.append(self.spawn(end(), name="end"))
            if len(ending) % AT_ONCE == 0:
                await asyncio.sleep(0)
        for first in range(0, len(ending), WAITED_FOR):
            await asyncio.wait(ending[first : first + WAITED_FOR])

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._tell(task.get_name(), failure)

    def _tell(self, name: str, failure: BaseException) -> None:
        try:
            self._on_failure(name, failure)
        except Exception as bug:
            _log_failure(name, failure)
            _log_failure(name, bug)

    async def drained(self) -> None:
        """Wait until nothing runs; what is spawned meanwhile counts too."""
        while self._running:
            await asyncio.wait(self._running)

    async def aclose(self) -> None:
        """Cancel what runs and wait until all of it has ended."""
        running = list(self._running)
        for task in running:
            task.cancel()
        if running:
            await asyncio.gather(*running, return_exceptions=True)


def _log_failure(name: str, failure: BaseException) -> None:
    _log.error("task failed", extra={"action": "task_failed", "task": name}, exc_info=failure)
