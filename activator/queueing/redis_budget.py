"""`store.maxBytes` over all endpoints and activators, without a counter that all of them fight for.

Each endpoint's bytes are counted by the scripts that write and remove them, exactly: a script is
told how much its endpoint may have and refuses what is beyond. How much that is, is what the
other endpoints leave, as this activator has last heard: at most `AGE` seconds ago. So within one
endpoint the bound is exact; over several it can be exceeded by what other activators have written
for other endpoints in that time, and no more. Nothing can drift: what lapses is taken off its sum
by the next script that runs, whoever's it is, and with an endpoint's last body its sum is removed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from activator.aiokit.tasks import Tasks
from activator.queueing.budget import full
from activator.redisio.scripts import load

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.errors import StoreUnavailable
    from activator.redisio.keys import Keys
    from activator.redisio.link import Link

AGE: Final = 1.0
REGISTRY_TTL: Final = 86_400 * 1000
"""Milliseconds for which the endpoints are remembered that anybody has written for."""

_COUNT: Final = load(__package__, "body_count", includes=("bytes",))


def counting_keys(keys: Keys, endpoint: str) -> tuple[str, str, str]:
    """The index of an endpoint's bodies, the sum of their bytes, and that of its jobs' bytes."""
    return (
        keys.of(endpoint, "bodies"),
        keys.of(endpoint, "bytes", "bodies"),
        keys.of(endpoint, "bytes", "jobs"),
    )


class RedisBudget:
    """What each endpoint may have. One for everybody in this process."""

    def __init__(self, link: Link, *, max_bytes: int, clock: Callable[[], float]) -> None:
        self._link = link
        self._max_bytes = max_bytes
        self._clock = clock
        self._known: dict[str, int] = {}
        self._written_for: set[str] = set()
        """Endpoints that the others have to hear of."""
        self._heard_at = -AGE
        self._registry = link.keys.shared("bytes", "endpoints")
        self._tasks = Tasks("budget", on_failure=lambda name, failure: None)
        self._asking: asyncio.Task[None] | None = None

    async def room(self, endpoint: str, size: int) -> int:
        """The most bytes that an endpoint may have in all; what it has is for a script to see.

        Raises StoreUnavailable if there is no room for `size` bytes, or the store is away.
        """
        self._written_for.add(endpoint)
        if self._clock() - self._heard_at >= AGE:
            await self._ask()
        while endpoint not in self._known:  # what was asked meanwhile was asked without it
            await self._ask()
        others = sum(self._known.values()) - self._known.get(endpoint, 0)
        room = self._max_bytes - others
        if size > room:
            raise self.full(size)
        return room

    def note(self, endpoint: str, used: int) -> None:
        """A script has told how many bytes the endpoint has now."""
        self._known[endpoint] = used

    def full(self, size: int) -> StoreUnavailable:
        return full(size, used=sum(self._known.values()), most=self._max_bytes)

    async def aclose(self) -> None:
        await self._tasks.aclose()

    async def _ask(self) -> None:
        """Everybody who asks meanwhile waits for the same answer."""
        if self._asking is None or self._asking.done():
            self._asking = self._tasks.spawn(self._refresh(), name="refresh")
        await asyncio.shield(self._asking)

    async def _refresh(self) -> None:
        asked_at = self._clock()
        _, _, members = await self._link.pipeline(
            (
                ("SADD", self._registry, *self._written_for),
                ("PEXPIRE", self._registry, REGISTRY_TTL),
                ("SMEMBERS", self._registry),
            )
        )
        endpoints = [member.decode() for member in members]
        counted = await self._link.pipeline(
            [_COUNT(counting_keys(self._link.keys, endpoint)) for endpoint in endpoints]
        )
        self._known = dict(zip(endpoints, counted, strict=True))
        self._heard_at = asked_at
