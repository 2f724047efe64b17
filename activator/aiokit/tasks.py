"""The one place that spawns: every task has a name, an owner, and an ending somebody sees.

An owner holds a `Tasks`; closing it cancels what still runs and waits for it. A task that fails
is reported once (`on_failure`), never silently dropped.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

_log = logging.getLogger("activator.tasks")


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

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._on_failure(task.get_name(), failure)

    async def drained(self) -> None:
        """Wait until nothing runs; what is spawned meanwhile counts too."""
        while self._running:
            await asyncio.wait(self._running)

    async def aclose(self) -> None:
        """Cancel what runs and wait until all of it has ended."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _log_failure(name: str, failure: BaseException) -> None:
    _log.error("task failed", extra={"action": "task_failed", "task": name}, exc_info=failure)
