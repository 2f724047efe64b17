"""What an activator hears of jobs from the others: work, losses, and news of single jobs.

What was said while nobody could hear is looked up: whenever Redis confirms a channel, again after
a reconnection too, the line is counted and every claim is compared with the store.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, Final

from activator.aiokit import tasks
from activator.aiokit.garbage import put_away, uncollected
from activator.aiokit.tasks import Tasks
from activator.core.job_ids import endpoint_of
from activator.errors import StoreUnavailable
from activator.queueing.jobs import Claimant, Detached, Lost, Told, Work
from activator.queueing.telling import Bells

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from activator.queueing.jobs import Listening
    from activator.redisio.hub import Subscription
    from activator.redisio.link import Link

AGAIN: Final = 0.5
"""Seconds until a look-up that failed is repeated."""
TOGETHER: Final = 64
"""Endpoints that are looked up at once. Thousands whose channels are confirmed at the same moment
would else wait for connections longer than anybody may, in front of everybody else."""


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
        self._due: dict[str, None] = {}
        """Endpoints that are to be looked up, in order."""
        self._is_due = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._tasks = Tasks("jobs")
        self._failed: dict[str, int] = {}
        """How many times looking one up has met a bug, one after the other."""
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
        self._due.pop(endpoint, None)
        self._failed.pop(endpoint, None)
        self._fresher.discard(endpoint)

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
        if endpoint not in self._heard:
            return
        self._due[endpoint] = None
        self._is_due.set()
        if self._looking is None:
            self._looking = self._tasks.spawn_lasting(
                self._look_on, name="look up", again=self._is_due.set
            )

    async def _look_on(self) -> None:
        while True:
            await self._is_due.wait()
            self._is_due.clear()
            try:
                with uncollected():
                    await self._look_all_up()
            except StoreUnavailable:
                await asyncio.sleep(AGAIN)

    async def _look_all_up(self) -> None:
        """Raises StoreUnavailable; what was not looked up is due."""
        while some := list(islice(self._due, TOGETHER)):
            # whoever is due again meanwhile is looked up again: what is counted may be older
            for endpoint in some:
                del self._due[endpoint]
            try:
                await self._look_up(some)
            except Exception:
                for endpoint in some:
                    self._look(endpoint)
                raise
            put_away()

    async def _look_up(self, some: Sequence[str]) -> None:
        """Raises StoreUnavailable: nothing is known of any."""
        self._fresher.difference_update(some)
        lines = [f"{self._base(one)}:{line}" for one in some for line in ("line", "later")]
        counts = await self._link.each([("ZCARD", line) for line in lines])
        for endpoint, *both in zip(some, counts[::2], counts[1::2], strict=True):
            try:
                await self._counted(endpoint, both)
            except StoreUnavailable:
                self._look_again(endpoint, in_seconds=AGAIN)
            except Exception as bug:  # the others are looked up all the same
                self._tasks.tell_failure(f"look up {endpoint}", bug)
                failures = self._failed[endpoint] = self._failed.get(endpoint, 0) + 1
                self._look_again(endpoint, in_seconds=tasks.AGAIN.delay(failures))

    async def _counted(self, endpoint: str, both: Iterable[int | StoreUnavailable]) -> None:
        """Raises StoreUnavailable, which one of the counts may be."""
        count = 0
        for number in both:
            if isinstance(number, StoreUnavailable):
                raise number
            count += number
        lost = await self._lost(endpoint)
        self._failed.pop(endpoint, None)
        if endpoint not in self._heard:
            return
        if endpoint not in self._fresher:
            self.queued[endpoint] = count
        for job_id in lost:
            self._bells.ring(endpoint, Lost(job_id))
        self._bells.ring(endpoint, Work())

    def _look_again(self, endpoint: str, *, in_seconds: float) -> None:
        asyncio.get_running_loop().call_later(in_seconds, self._look, endpoint)
