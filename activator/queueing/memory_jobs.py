"""Jobs in this process's memory, for when there is no store outside: `JobStore`, less durability.

One face of a `Book` for one activator; what the steps mean is decided in `core.jobs`.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING

from activator.core import jobs
from activator.core.idempotency import Verdict, judge
from activator.core.job_upkeep import Due, due, end_by_time, look_again
from activator.core.jobs import SUCCESS, Job, JobState, Superseded
from activator.queueing import memory_views as views
from activator.queueing.codec import encode_envelope
from activator.queueing.jobs import (
    NOTHING,
    Claim,
    Claimant,
    Claims,
    Conflict,
    Created,
    Hook,
    Joined,
    Swept,
    Work,
    line_is_full,
)
from activator.queueing.memory_book import OVERHEAD, Book, Entry
from activator.queueing.memory_upload import MemoryUpload
from activator.queueing.memory_views import record_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence

    from activator.core.jobs import Event, JobsPolicy, Outcome, Step
    from activator.queueing.jobs import (
        Admission,
        Listening,
        NewJob,
        Output,
        Page,
        Record,
        Told,
        Upload,
    )


class MemoryJobs:
    """`JobStore` of one process. `clock` is wall-clock time, `dice` gives numbers in [0, 1)."""

    def __init__(
        self,
        book: Book,
        *,
        me: str,
        policy: JobsPolicy,
        clock: Callable[[], float],
        dice: Callable[[], float],
    ) -> None:
        self._book = book
        self._me = me
        self._policy = policy
        self._clock = clock
        self._dice = dice
        self._claims = 0

    @property
    def me(self) -> str:
        return self._me

    @property
    def outlives_us(self) -> bool:
        return False

    def configure(self, policy: JobsPolicy) -> None:
        self._policy = policy

    # --- creating

    def upload(self, endpoint: str, *, owner: str = "") -> MemoryUpload:
        most = self._policy.max_body
        return MemoryUpload(endpoint, owner=owner, most=most, budget=self._book.budget)

    async def create(self, new: NewJob, upload: Upload) -> Admission:
        assert isinstance(upload, MemoryUpload)
        kept = self._book.shelf(upload.endpoint).keys.get(new.key) if new.key else None
        known = self._book.entry(kept or upload.job_id)
        if known is not None:
            return await self._join(known, new, upload)
        try:
            return self._created(new, upload)
        finally:
            await upload.discard()  # what has become a job is not the upload's any more

    async def _join(self, known: Entry, new: NewJob, upload: MemoryUpload) -> Admission:
        verdict = judge(known.job, stored=known.fingerprint, fingerprint=upload.fingerprint)
        await upload.discard()
        if verdict is Verdict.CONFLICT:
            return Conflict(known.job.id)
        if new.reading:
            self._read(known, 1, now=self._clock())
        return Joined(record_of(known))

    def _created(self, new: NewJob, upload: MemoryUpload) -> Created:
        book, now, policy = self._book, self._clock(), self._policy
        endpoint = upload.endpoint
        shelf = book.shelf(endpoint)
        if new.crowded or (new.most and shelf.waiting(detached=new.detached) >= new.most):
            raise line_is_full(new)
        room = upload.size + len(encode_envelope(new.envelope)) + OVERHEAD
        book.budget.take(room - upload.room)
        job = Job(
            id=upload.job_id,
            endpoint=endpoint,
            created=now,
            expires=now + policy.ttl,
            urgency=new.urgency,
            arrived=now - new.waited,
            detached=new.detached,
        )
        entry = Entry(
            jobs.read(job, readers=0, now=now),
            new.envelope,
            key=new.key,
            fingerprint=upload.fingerprint,
            body=upload.take(),
            body_bytes=upload.size,
        )
        book.add(entry, room=room, age=new.age, now=now)
        if new.reading:
            self._read(entry, 1, now=now)
        claim = self._claim(entry, cold=new.cold, now=now) if new.claim else None
        return Created(record_of(entry), claim, views.place_of(entry, shelf))

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
        shelf, now = self._book.shelf(endpoint), self._clock()
        line = self._book.ready(shelf, age=age, now=now)
        first = [job_id for at, job_id in line[:limit] if at < (inf if before is None else before)]
        claims = tuple(self._claim(shelf.entries[job_id], cold=cold, now=now) for job_id in first)
        again_in = shelf.later[0][0] - now if shelf.later else None
        return Claims(claims, again_in)

    def _claim(self, entry: Entry, *, cold: bool, now: float) -> Claim:
        self._claims += 1
        holder = f"{self._me}:{self._claims}"
        self._book.tell_all(entry.job.endpoint, Claimant())
        self._take(entry, jobs.claim(entry.job, holder=holder, cold=cold, now=now), now=now)
        return Claim(record_of(entry), holder)

    async def body(self, claim: Claim) -> AsyncIterator[bytes]:
        entry = self._held(claim)
        if entry.job.holder != claim.holder:
            raise Superseded(f"{claim.id} is another's now")
        for piece in entry.body:
            yield piece

    async def begin(self, claim: Claim) -> Job:
        entry, now = self._held(claim), self._clock()
        return self._take(entry, jobs.begin(entry.job, holder=claim.holder, now=now), now=now)

    async def append(self, claim: Claim, output: Output) -> None:
        self._append(self._held(claim), claim.holder, output, now=self._clock())

    def _append(self, entry: Entry, holder: str, output: Output, *, now: float) -> None:
        if entry.job.holder != holder:
            raise Superseded(f"{entry.job.id} is another's now")
        if entry.job.state is not JobState.RUNNING:
            raise jobs.ForbiddenStep(f"{entry.job.id} is {entry.job.state}")
        self._book.store(entry, output, policy=self._policy)
        if output.head is not None:
            step = jobs.answer(entry.job, holder=holder, status=output.head.status, now=now)
            self._take(entry, step, now=now)

    async def finish(
        self,
        claim: Claim,
        outcome: Outcome = SUCCESS,
        output: Output = NOTHING,
        *,
        trailers: tuple[bytes, ...] = (),
    ) -> Job:
        entry, now = self._held(claim), self._clock()
        succeeds = outcome.state is JobState.SUCCEEDED and entry.job.holder == claim.holder
        if succeeds:
            self._append(entry, claim.holder, output, now=now)
        step = jobs.finish(entry.job, holder=claim.holder, outcome=outcome, now=now)
        if succeeds:
            entry.trailers = trailers
        return self._take(entry, step, now=now)

    async def give_back(self, claim: Claim) -> None:
        entry, now = self._held(claim), self._clock()
        self._take(entry, jobs.give_back(entry.job, holder=claim.holder, now=now), now=now)

    async def requeue(
        self, claim: Claim, *, reason: str, detail: str, delay: float | None = None
    ) -> Job:
        entry, now = self._held(claim), self._clock()
        if delay is None:
            delay = jobs.back_off(claim.record.job, dice=self._dice())
        step = jobs.requeue(
            entry.job,
            holder=claim.holder,
            reason=reason,
            detail=detail,
            delay=delay,
            policy=self._policy,
            now=now,
        )
        return self._take(entry, step, now=now)

    def _held(self, claim: Claim) -> Entry:
        entry = self._book.entry(claim.id)
        if entry is None:
            raise Superseded(f"{claim.id} is no more")
        return entry

    def _take(self, entry: Entry, step: Step, *, now: float) -> Job:
        """`now`: the step's own; nothing happens in the middle of one call."""
        self._book.take(entry, step, now=now)
        return entry.job

    # --- by anybody

    async def cancel(self, job_id: str, *, reason: str, detail: str) -> Job | None:
        entry, now = self._book.entry(job_id), self._clock()
        if entry is None:
            return None
        step = jobs.cancel(entry.job, reason=reason, detail=detail, now=now)
        return self._take(entry, step, now=now)

    async def retry(self, job_id: str) -> Job | None:
        entry, now = self._book.entry(job_id), self._clock()
        if entry is None:
            return None
        return self._take(entry, jobs.retry(entry.job, policy=self._policy, now=now), now=now)

    async def detach(self, job_id: str) -> Job | None:
        entry = self._book.entry(job_id)
        if entry is None:
            return None
        self._book.detach(entry, now=self._clock())
        return entry.job

    async def get(self, job_id: str) -> Record | None:
        entry = self._book.entry(job_id)
        return None if entry is None else record_of(entry)

    async def place(self, job_id: str) -> int | None:
        entry = self._book.entry(job_id)
        if entry is None:
            return None
        return views.place_of(entry, self._book.shelf(entry.job.endpoint))

    async def recent(
        self, endpoint: str, *, states: Collection[JobState] = (), limit: int = 100
    ) -> list[Record]:
        return views.recent(self._book.shelf(endpoint), states=states, limit=limit)

    async def latest(
        self, endpoints: Sequence[str], *, states: Collection[JobState] = (), limit: int = 100
    ) -> list[Record]:
        return await views.latest(self._book, endpoints, states=states, limit=limit)

    async def counts(self, endpoint: str) -> Mapping[JobState, int]:
        return views.counts(self._book.shelf(endpoint))

    # --- reading

    async def join(self, job_id: str) -> Job | None:
        return self._read_by(job_id, 1)

    async def leave(self, job_id: str) -> None:
        self._read_by(job_id, -1)

    def _read_by(self, job_id: str, change: int) -> Job | None:
        entry = self._book.entry(job_id)
        return None if entry is None else self._read(entry, change, now=self._clock())

    def _read(self, entry: Entry, change: int, *, now: float) -> Job:
        readers = entry.readers
        if change > 0 and not readers[self._me]:
            self._book.tell_all(entry.job.endpoint, Claimant())
        readers[self._me] = max(0, readers[self._me] + change)
        return self._count_readers(entry, now=now)

    def _count_readers(self, entry: Entry, *, now: float) -> Job:
        entry.readers = +entry.readers
        entry.job = jobs.read(entry.job, readers=len(entry.readers), now=now)
        return entry.job

    async def abandon(self, job_id: str, *, reason: str, detail: str) -> bool:
        entry = self._book.entry(job_id)
        if entry is None or entry.job.state not in jobs.WAITING:
            return False
        now = self._clock()
        self._read(entry, -1, now=now)
        step = jobs.abandon(entry.job, reason=reason, detail=detail, now=now)
        self._take(entry, step, now=now)
        return True

    async def page(self, job_id: str, *, attempt: int = 0, at: int = 0) -> Page | None:
        entry = self._book.entry(job_id)
        return None if entry is None else views.page(entry, attempt=attempt, at=at)

    async def events(self, job_id: str, *, after: str = "") -> list[Event] | None:
        entry = self._book.entry(job_id)
        return None if entry is None else jobs.events_after(entry.events, after)

    def listen(self, job_id: str, told: Callable[[], None]) -> Listening:
        return self._book.of_job.listen(job_id, lambda _: told())

    # --- one endpoint's work

    def watch(self, endpoint: str, told: Callable[[Told], None]) -> Listening:
        bell = self._book.of_line.listen((endpoint, self._me), told)
        asyncio.get_running_loop().call_soon(bell.hear, Work())
        return bell

    def queued(self, endpoint: str) -> int:
        shelf = self._book.shelves.get(endpoint)
        return 0 if shelf is None else shelf.queued

    def is_worth_a_claim(self, endpoint: str) -> bool:
        return self.queued(endpoint) > 0

    def owes(self, endpoint: str) -> bool:
        return False

    async def sweep(self, endpoint: str) -> Swept:
        now, deleted = self._clock(), 0
        ended: list[Job] = []
        for entry in list(self._book.shelf(endpoint).entries.values()):
            action = due(entry.job, self._policy, now=now)
            if action is Due.DELETE:
                self._book.delete(entry)
                deleted += 1
            elif action is not None:
                step = end_by_time(entry.job, action, now=now)
                ended.append(self._take(entry, step, now=now))
        hooks_due, again_in = False, inf
        for entry in self._book.shelf(endpoint).entries.values():
            again_in = min(again_in, look_again(entry.job, self._policy) - now)
            if entry.hook_at is not None and entry.hook_at <= now:
                hooks_due = True
            elif entry.hook_at is not None:
                again_in = min(again_in, entry.hook_at - now)
        return Swept(tuple(ended), deleted, again_in=max(0.0, again_in), hooks_due=hooks_due)

    async def claimants(self, endpoint: str) -> frozenset[str]:
        return views.claimants(self._book, endpoint)

    async def requeue_claims_of(self, activator: str, endpoint: str) -> list[Job]:
        requeued: list[Job] = []
        now = self._clock()
        for entry in list(self._book.shelf(endpoint).entries.values()):
            if entry.readers.pop(activator, 0):
                self._count_readers(entry, now=now)
            job = entry.job
            if job.holder and jobs.activator_of(job.holder) == activator:
                step = jobs.orphan(job, policy=self._policy, now=now)
                requeued.append(self._take(entry, step, now=now))
        return requeued

    # --- webhooks

    async def hooks_due(self, endpoint: str, limit: int, *, lease: float) -> list[Hook]:
        now = self._clock()
        waiting = [
            entry
            for entry in self._book.shelf(endpoint).entries.values()
            if entry.hook_at is not None and entry.hook_at <= now
        ]
        waiting.sort(key=lambda entry: (entry.hook_at, entry.job.id))
        for entry in waiting[:limit]:
            entry.hook_at = now + lease
            entry.hook_tries += 1
        return [Hook(record_of(entry), entry.hook_tries) for entry in waiting[:limit]]

    async def hook_later(self, job_id: str, *, delay: float) -> None:
        entry = self._book.entry(job_id)
        if entry is not None and entry.hook_at is not None:
            entry.hook_at = self._clock() + delay

    async def hook_done(self, job_id: str) -> None:
        entry = self._book.entry(job_id)
        if entry is not None:
            entry.hook_at = None

    async def aclose(self) -> None:
        pass
