"""What containers printed last, fetched when it is needed: with an end, or while one is awaited."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from activator.kube.cluster import PODS
from activator.kube.errors import KubeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.aiokit.tasks import Tasks
    from activator.kube.client import KubeClient

LINES: Final = 5
"""Told with an end."""
AGE: Final = 2.0
"""Seconds for which fetched lines are good: they are asked for at every look while a start is
waited for."""
PATIENCE: Final = 1.0
"""Seconds in which the last lines of a container that ended must be there, or it is told without:
its end is to be told within ten."""


class LastLines:
    """Of the pods of one namespace."""

    def __init__(
        self, client: KubeClient, namespace: str, *, tasks: Tasks, clock: Callable[[], float]
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._tasks = tasks
        self._clock = clock
        self._kept: dict[str, tuple[float, tuple[str, ...]]] = {}

    def known(self, replica: str, *, pod: str, container: str) -> tuple[str, ...]:
        """As they were a moment ago; asked for anew meanwhile."""
        fetched_at, lines = self._kept.get(replica, (float("-inf"), ()))
        if self._clock() - fetched_at > AGE:
            self._kept[replica] = self._clock(), lines
            self._tasks.spawn(self._refresh(replica, pod, container), name=f"lines of {pod}")
        return lines

    def keep_only(self, replicas: set[str]) -> None:
        for gone in self._kept.keys() - replicas:
            del self._kept[gone]

    async def of_ending(self, pod: str, container: str, *, is_previous: bool) -> tuple[str, ...]:
        """Empty if they cannot be had in time."""
        try:
            async with asyncio.timeout(PATIENCE):
                lines = await self._fetch(pod, container, is_previous=is_previous)
                if not lines and not is_previous:  # it was started again meanwhile
                    lines = await self._fetch(pod, container, is_previous=True)
                return lines
        except (KubeError, TimeoutError):
            return ()

    async def _refresh(self, replica: str, pod: str, container: str) -> None:
        try:
            lines = await self._fetch(pod, container, is_previous=False)
        except KubeError:
            return
        if replica in self._kept:
            self._kept[replica] = self._clock(), lines

    async def _fetch(self, pod: str, container: str, *, is_previous: bool) -> tuple[str, ...]:
        text = await self._client.text(
            PODS.path(self._namespace, pod, "log"),
            container=container,
            previous="true" if is_previous else "false",
            tailLines=str(LINES),
            limitBytes="8192",
        )
        return tuple(line for line in text.splitlines() if line.strip())
