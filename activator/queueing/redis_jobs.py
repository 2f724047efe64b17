"""Jobs in Redis: `JobStore` over all activators that share it.

Each step is one script, which happens wholly or not at all; what it does is in `lua/`, and decided
as in `core.jobs`. Here is what anybody may ask; creating and running have files of their own.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Final

from activator.core import jobs
from activator.core.job_ids import endpoint_of
from activator.core.jobs import SUCCESS, Job, JobState
from activator.errors import StoreUnavailable
from activator.queueing import redis_job_calls as scripts
from activator.queueing.jobs import NOTHING, Created, Hook, Joined, Swept
from activator.queueing.redis_job_calls import Calls
from activator.queueing.redis_job_creation import Creation
from activator.queueing.redis_job_ears import Ears
from activator.queueing.redis_job_listing import AT_A_TIME, Listing
from activator.queueing.redis_job_records import (
    SHOWN,
    event_of,
    job_of,
    not_understood,
    page_of,
    record_of,
)
from activator.queueing.redis_job_running import MOST_DETAIL, Running
from activator.queueing.uploads import PiecewiseUpload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence

    from activator.core.jobs import Event, JobsPolicy, Outcome
    from activator.queueing.jobs import (
        Admission,
        Claim,
        Claims,
        Listening,
        NewJob,
        Output,
        Page,
        Record,
        Told,
        Upload,
    )
    from activator.queueing.redis_budget import RedisBudget
    from activator.redisio.commands import Word
    from activator.redisio.link import Link
    from activator.redisio.scripts import Script

PAGE_BYTES: Final = 1 << 20
"""Of a result, at a time; a single chunk may be more."""


class RedisJobs:
    """`JobStore` over a Redis."""

    def __init__(
        self,
        link: Link,
        budget: RedisBudget,
        *,
        me: str,
        policy: JobsPolicy,
        dice: Callable[[], float] = random.random,
        offset: Callable[[], float] = lambda: 0.0,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        """`dice`: numbers in [0, 1). `offset`: as in Calls. `failed`: called whenever something
        is refused here, and not by Redis."""
        self._link = link
        self._calls = Calls(link, me=me, policy=policy, offset=offset)
        self._creation = Creation(self._calls, budget, cancel=self._undo, failed=failed)
        self._listing = Listing(self._calls)
        self._running = Running(self._calls, self._creation, dice=dice)
        self._ears = Ears(link, me=me, base=self._calls.base, lost=self._running.lost)
        self._readers: Counter[str] = Counter()
        """Of this activator."""
        self._left: set[str] = set()
        """Jobs whose last reader has left while the store was away."""

    @property
    def me(self) -> str:
        return self._calls.me

    @property
    def outlives_us(self) -> bool:
        return True

    def configure(self, policy: JobsPolicy) -> None:
        self._calls.policy = policy

    # --- creating

    def upload(self, endpoint: str, *, owner: str = "") -> PiecewiseUpload:
        return self._creation.upload(endpoint, owner=owner)

    async def create(self, new: NewJob, upload: Upload) -> Admission:
        assert isinstance(upload, PiecewiseUpload)
        holder = self._running.next_holder() if new.claim else ""
        admission = await self._creation.create(new, upload, holder=holder)
        if isinstance(admission, Created | Joined) and new.reading:
            self._readers[admission.record.job.id] += 1
        if isinstance(admission, Created) and new.claim:
            return replace(admission, claim=self._running.note(admission.record))
        return admission

    async def _undo(self, job_id: str) -> Job | None:
        detail = "its creator was told that the store had not taken it"
        return await self.cancel(job_id, reason="store_unavailable", detail=detail)

    # --- running

    async def claim(
        self,
        endpoint: str,
        limit: int,
        *,
        age: float,
        cold: bool = False,
        before: float | None = None,
    ) -> Claims:
        return await self._running.claim(endpoint, limit, age=age, cold=cold, before=before)

    def body(self, claim: Claim) -> AsyncIterator[bytes]:
        return self._running.body(claim)

    async def begin(self, claim: Claim) -> Job:
        return await self._running.begin(claim)

    async def append(self, claim: Claim, output: Output) -> None:
        await self._running.append(claim, output)

    async def finish(
        self,
        claim: Claim,
        outcome: Outcome = SUCCESS,
        output: Output = NOTHING,
        *,
        trailers: tuple[bytes, ...] = (),
    ) -> Job:
        return await self._running.finish(claim, outcome, output, trailers=trailers)

    async def give_back(self, claim: Claim) -> None:
        await self._running.give_back(claim)

    async def requeue(
        self, claim: Claim, *, reason: str, detail: str, delay: float | None = None
    ) -> Job:
        return await self._running.requeue(claim, reason=reason, detail=detail, delay=delay)

    # --- by anybody

    async def cancel(self, job_id: str, *, reason: str, detail: str) -> Job | None:
        return await self._step("cancel", job_id, "", reason, detail[:MOST_DETAIL])

    async def retry(self, job_id: str) -> Job | None:
        return await self._step("retry", job_id)

    async def detach(self, job_id: str) -> Job | None:
        return await self._step("detach", job_id)

    async def _step(self, step: str, job_id: str, *args: Word) -> Job | None:
        values = await self._ask(scripts.STEP, step, job_id, *args)
        return None if values is None else job_of(values)

    async def _ask(self, script: Script, what: str, job_id: str, *args: Word) -> list[bytes] | None:
        endpoint = endpoint_of(job_id)
        if endpoint is None:
            return None
        return await self._calls.of_job(script, endpoint, what, job_id, *args)

    async def get(self, job_id: str) -> Record | None:
        values = await self._ask(scripts.READ, "get", job_id)
        return None if values is None else record_of(values)

    async def place(self, job_id: str) -> int | None:
        values = await self._ask(scripts.READ, "place", job_id)
        return int(values[0]) if values and values[0] != b"" else None

    async def recent(
        self, endpoint: str, *, states: Collection[JobState] = (), limit: int = 100
    ) -> list[Record]:
        return await self._listing.recent(endpoint, states=states, limit=limit)

    async def latest(
        self, endpoints: Sequence[str], *, states: Collection[JobState] = (), limit: int = 100
    ) -> list[Record]:
        return await self._listing.latest(endpoints, states=states, limit=limit)

    async def counts(self, endpoint: str) -> Mapping[JobState, int]:
        return await self._listing.counts(endpoint)

    # --- reading

    async def join(self, job_id: str) -> Job | None:
        values = await self._ask(scripts.READ, "join", job_id)
        if values is None:
            return None
        self._readers[job_id] += 1
        return job_of(values)

    async def leave(self, job_id: str) -> None:
        if self._readers[job_id] > 1:
            self._readers[job_id] -= 1
            return
        del self._readers[job_id]
        await self._leave(job_id)

    async def _leave(self, job_id: str) -> None:
        try:
            await self._ask(scripts.READ, "leave", job_id)
        except StoreUnavailable:
            self._left.add(job_id)
        else:
            self._left.discard(job_id)

    async def abandon(self, job_id: str, *, reason: str, detail: str) -> bool:
        if self._readers[job_id] > 1:
            values = await self._ask(scripts.READ, "look", job_id)
        else:
            detail = detail[:MOST_DETAIL]
            values = await self._ask(scripts.READ, "abandon", job_id, reason, detail)
        if values is None or values[0] != b"1":
            return False
        if self._readers[job_id] > 1:
            self._readers[job_id] -= 1
        else:
            del self._readers[job_id]
        return True

    async def page(self, job_id: str, *, attempt: int = 0, at: int = 0) -> Page | None:
        values = await self._ask(scripts.READ, "page", job_id, attempt, at, PAGE_BYTES)
        return None if values is None else page_of(values, at=at)

    async def events(self, job_id: str, *, after: str = "") -> list[Event] | None:
        values = await self._ask(scripts.READ, "events", job_id)
        return None if values is None else jobs.events_after(map(event_of, values), after)

    def listen(self, job_id: str, told: Callable[[], None]) -> Listening:
        return self._ears.listen(job_id, told)

    # --- one endpoint's work

    def watch(self, endpoint: str, told: Callable[[Told], None]) -> Listening:
        return self._ears.watch(endpoint, told)

    def queued(self, endpoint: str) -> int:
        return self._ears.queued.get(endpoint, 0)

    def is_worth_a_claim(self, endpoint: str) -> bool:
        return self.queued(endpoint) > 0 or self.owes(endpoint)

    def owes(self, endpoint: str) -> bool:
        return self._running.owes(endpoint)

    async def sweep(self, endpoint: str) -> Swept:
        for job_id in [each for each in self._left if endpoint_of(each) == endpoint]:
            await self._leave(job_id)
        ended: list[Job] = []
        deleted = 0
        more = 1
        while more:
            more, gone, reads, again_in, hooks, *stopped = await self._calls.run(
                scripts.SWEEP, endpoint, AT_A_TIME
            )
            ended += map(job_of, stopped)
            deleted += gone
        await self._read_on(endpoint, known=reads)
        again = float(again_in) if again_in else inf
        return Swept(tuple(ended), deleted, again_in=again, hooks_due=bool(hooks))

    async def _read_on(self, endpoint: str, *, known: int) -> None:
        """Others may have taken this activator for gone, and its readers with it."""
        mine = [each for each in self._readers if endpoint_of(each) == endpoint]
        if known < len(mine):
            for job_id in mine:
                if await self._ask(scripts.READ, "join", job_id) is None:
                    del self._readers[job_id]

    async def claimants(self, endpoint: str) -> frozenset[str]:
        members = await self._link.command("SMEMBERS", f"{self._calls.base(endpoint)}:acts")
        return frozenset(member.decode() for member in members)

    async def requeue_claims_of(self, activator: str, endpoint: str) -> list[Job]:
        requeued: list[Job] = []
        more = 1
        while more:
            more, *values = await self._calls.run(scripts.ORPHANS, endpoint, activator, AT_A_TIME)
            requeued += map(job_of, values)
        return requeued

    # --- webhooks

    async def hooks_due(self, endpoint: str, limit: int, *, lease: float) -> list[Hook]:
        replies = await self._calls.run(scripts.LIST, endpoint, "hooks", limit, lease)
        hooks: list[Hook] = []
        for values in replies:
            try:
                hooks.append(Hook(record_of(values), int(values[SHOWN + 1])))
            except Exception as odd:  # the others are called all the same
                not_understood(endpoint, values, odd)
        return hooks

    async def hook_later(self, job_id: str, *, delay: float) -> None:
        await self._hook(job_id, delay)

    async def hook_done(self, job_id: str) -> None:
        await self._hook(job_id, "")

    async def _hook(self, job_id: str, delay: float | str) -> None:
        endpoint = endpoint_of(job_id)
        if endpoint is not None:
            await self._calls.run(scripts.LIST, endpoint, "hook", job_id, delay)

    async def aclose(self) -> None:
        await self._ears.aclose()
        await self._creation.aclose()
