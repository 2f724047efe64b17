"""What an activator hears of jobs from the others: work, losses, and news of single jobs.

What was said while nobody could hear is looked up: whenever Redis confirms a channel, again after
a reconnection too, the line is counted and every claim is compared with the store.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from activator.aiokit.tasks import Tasks
from activator.core.job_ids import endpoint_of
from activator.errors import StoreUnavailable
from activator.queueing.jobs import Claimant, Detached, Lost, Told, Work
from activator.queueing.telling import Bells

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from activator.queueing.jobs import Listening
    from activator.redisio.hub import Subscription
    from activator.redisio.link import Link

AGAIN: Final = 0.5
"""Seconds until a look-up that failed is repeated."""


class Ears:
    """`queued` of each endpoint that is watched, and who is to be told."""

    def __init__(
        self,
        link: Link,
        *,
        me: str,
        base: Callable[[str], str],
        lost: Callable[[str], Awaitable[Iterable[str]]],
    ) -> None:
        """`base`: of an endpoint's keys. `lost`: the claims (ids) on an endpoint's jobs that this
        activator believes to have and has not; raises StoreUnavailable."""
        self._link = link
        self._me = me
        self._base = base
        self._lost = lost
        self._bells: Bells[str, Told] = Bells(first=self._begin, last=self._end)
        self._heard: dict[str, Subscription] = {}
        self._looking: dict[str, asyncio.Task[None]] = {}
        self._tasks = Tasks("jobs")
        self._fresher: set[str] = set()
        """Endpoints of which something was heard since they are being looked up."""
        self.queued: dict[str, int] = {}

    def watch(self, endpoint: str, told: Callable[[Told], None]) -> Listening:
        bell = self._bells.listen(endpoint, told)
        if endpoint in self.queued:
            asyncio.get_running_loop().call_soon(bell.hear, Work())
        return bell

    def listen(self, job_id: str, told: Callable[[], None]) -> Listening:
        channel = f"{self._base(endpoint_of(job_id) or '')}:told:{job_id}"
        return self._link.subscribe(channel, lambda _: told(), confirmed=told)

    async def aclose(self) -> None:
        for subscription in self._heard.values():
            subscription.close()
        await self._tasks.aclose()

    # --- inside

    def _begin(self, endpoint: str) -> None:
        self._heard[endpoint] = self._link.subscribe(
            f"{self._base(endpoint)}:told",
            lambda said: self._hear(endpoint, said),
            confirmed=lambda: self._look(endpoint),
        )

    def _end(self, endpoint: str) -> None:
        self._heard.pop(endpoint).close()
        self.queued.pop(endpoint, None)
        looking = self._looking.pop(endpoint, None)
        if looking is not None:
            looking.cancel()

    def _hear(self, endpoint: str, said: bytes) -> None:
        match said.decode().split("\t"):
            case ["w", count]:
                self.queued[endpoint] = int(count)
                self._fresher.add(endpoint)
                self._bells.ring(endpoint, Work())
            case ["a"]:
                self._bells.ring(endpoint, Claimant())
            case ["l", activator, job_id] if activator == self._me:
                self._bells.ring(endpoint, Lost(job_id))
            case ["d", activator, job_id] if activator == self._me:
                self._bells.ring(endpoint, Detached(job_id))

    def _look(self, endpoint: str) -> None:
        looking = self._looking.get(endpoint)
        if looking is not None:
            looking.cancel()
        look_up = partial(self._look_up, endpoint)
        self._looking[endpoint] = self._tasks.spawn_lasting(look_up, name="look up")

    async def _look_up(self, endpoint: str) -> None:
        base = self._base(endpoint)
        while True:
            self._fresher.discard(endpoint)
            try:
                counts = await self._link.pipeline(
                    [("ZCARD", f"{base}:{line}") for line in ("line", "later")]
                )
                lost = await self._lost(endpoint)
                break
            except StoreUnavailable:
                await asyncio.sleep(AGAIN)
        if endpoint not in self._fresher:
            self.queued[endpoint] = sum(counts)
        for job_id in lost:
            self._bells.ring(endpoint, Lost(job_id))
        self._bells.ring(endpoint, Work())
