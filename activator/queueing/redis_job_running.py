"""What the holder of a job in Redis does with it: claim, begin, store, end.

Decides under which numbers this activator claims, and remembers what it holds; all else is in the
scripts.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from activator.core import jobs
from activator.core.jobs import Job, JobState, Superseded
from activator.errors import StoreUnavailable
from activator.queueing import redis_job_calls as scripts
from activator.queueing.codec import encode_head, encode_lines
from activator.queueing.jobs import Claim, Claims
from activator.queueing.redis_job_records import HOLDER, job_of, not_understood, record_of
from activator.redisio.failures import Unanswered

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from activator.core.jobs import Outcome
    from activator.queueing.jobs import Output, Record
    from activator.queueing.redis_job_calls import Calls
    from activator.queueing.redis_job_creation import Creation
    from activator.redisio.scripts import Script

MOST_DETAIL: Final = 2000
"""Characters of a sentence that is kept with a job."""


class Running:
    """The claims of one activator."""

    def __init__(self, calls: Calls, creation: Creation, *, dice: Callable[[], float]) -> None:
        self._calls = calls
        self._creation = creation
        self._dice = dice
        self._number = 0
        self._unheard: dict[str, list[tuple[int, int]]] = {}
        """By endpoint: first and last numbers of claims that may have been made, and whose answer
        never came."""
        self._held: dict[str, str] = {}
        """Job → holder."""

    def next_holder(self) -> str:
        self._number += 1
        return f"{self._calls.me}:{self._number}"

    def note(self, record: Record) -> Claim:
        """This activator has it now."""
        job = record.job
        self._held[job.id] = job.holder
        return Claim(record, job.holder)

    async def lost(self, endpoint: str) -> list[str]:
        """What it believes to hold there and does not."""
        lost: list[str] = []
        for job_id, holder in list(self._held.items()):
            if job_id.rpartition(".")[0] == endpoint:
                values = await self._calls.of_job(scripts.READ, endpoint, "get", job_id)
                if values is None or job_of(values).holder != holder:
                    lost.append(job_id)
        return lost

    def owes(self, endpoint: str) -> bool:
        """See `JobStore`."""
        return endpoint in self._unheard

    async def claim(
        self, endpoint: str, limit: int, *, age: float, cold: bool, before: float | None
    ) -> Claims:
        began = self._calls.now()
        try:
            return await self._claim(endpoint, limit, age=age, cold=cold, before=before)
        except Unanswered:
            if self._calls.now() - began > scripts.SOON:
                raise
        # what the first may have claimed, the second gives back before it begins
        return await self._claim(endpoint, limit, age=age, cold=cold, before=before)

    async def _claim(
        self, endpoint: str, limit: int, *, age: float, cold: bool, before: float | None
    ) -> Claims:
        first = self._number + 1
        self._number += limit
        unheard = self._unheard.pop(endpoint, [])
        try:
            again_in, *records = await self._calls.run_once(
                scripts.CLAIM, endpoint, limit, age, int(cold), "" if before is None else before,
                first, *(number for numbers in unheard for number in numbers),
            )  # fmt: skip
        except (StoreUnavailable, asyncio.CancelledError):
            if limit:
                unheard.append((first, first + limit - 1))
            if unheard:
                self._unheard.setdefault(endpoint, []).extend(unheard)
            raise
        claims: list[Claim] = []
        try:
            for values in records:
                try:
                    claims.append(self.note(record_of(values)))
                except Exception as odd:
                    await self._pass_over(endpoint, values, odd)
        except BaseException:  # nobody runs what was claimed before
            for claim in claims:
                self._held.pop(claim.id, None)
            self._unheard.setdefault(endpoint, []).append((first, first + limit - 1))
            raise
        return Claims(tuple(claims), float(again_in) if again_in else None)

    async def _pass_over(self, endpoint: str, values: Sequence[bytes], odd: Exception) -> None:
        """A record that cannot be read must not keep those behind it: it has had an attempt, unless
        a newer activator wrote it, which can run it."""
        job_id, holder = values[0].decode(), values[HOLDER].decode()
        not_understood(endpoint, values, odd)
        step = "give_back" if isinstance(odd, StoreUnavailable) else "requeue"
        detail = f"its record cannot be read here ({type(odd).__name__})"
        try:
            await self._calls.of_job(
                scripts.STEP, endpoint,
                step, job_id, holder, jobs.FAULT, detail, jobs.RETRY.cap, "",
            )  # fmt: skip
        except (StoreUnavailable, Superseded):
            number = int(holder.rpartition(":")[2])
            self._unheard.setdefault(endpoint, []).append((number, number))

    async def body(self, claim: Claim) -> AsyncIterator[bytes]:
        pieces = await self._of_claim(scripts.READ, claim, "body", claim.id, claim.holder)
        name = f"{self._calls.base(claim.record.job.endpoint)}:body:{claim.id}"
        at, left = 0, claim.record.body_bytes
        while left > 0:
            if not pieces:
                raise Superseded(f"{claim.id} has lost its body")
            at, left = at + 1, left - len(pieces[0])
            yield pieces[0]
            if left > 0:
                pieces = await self._calls.link.command("LRANGE", name, at, at)

    async def begin(self, claim: Claim) -> Job:
        return await self._step(claim, "begin")

    async def append(self, claim: Claim, output: Output) -> None:
        await self._store(claim, output, ends=False, trailers=())

    async def finish(
        self, claim: Claim, outcome: Outcome, output: Output, *, trailers: tuple[bytes, ...]
    ) -> Job:
        if outcome.state is JobState.SUCCEEDED:
            job = await self._store(claim, output, ends=True, trailers=trailers)
        else:
            job = await self._step(
                claim, "finish", outcome.reason, outcome.detail, state=outcome.state.value
            )
        self._held.pop(claim.id, None)
        return job

    async def _store(
        self, claim: Claim, output: Output, *, ends: bool, trailers: tuple[bytes, ...]
    ) -> Job:
        endpoint, head = claim.record.job.endpoint, output.head
        size = sum(map(len, output.chunks))
        room = await self._creation.room(endpoint, size) if size else 0
        pieces = output.chunks if head is None else (encode_head(head), *output.chunks)
        used, *values = await self._of_claim(
            scripts.STORE, claim, claim.id, claim.holder, output.at, int(head is not None),
            head.status if head else 0, self._calls.policy.max_result, room, int(ends),
            encode_lines(trailers), *pieces,
        )  # fmt: skip
        self._creation.note(endpoint, used)
        if not values:
            raise self._creation.full(size)
        return job_of(values)

    async def give_back(self, claim: Claim) -> None:
        await self._step(claim, "give_back")
        self._held.pop(claim.id, None)

    async def requeue(self, claim: Claim, *, reason: str, detail: str, delay: float | None) -> Job:
        if delay is None:
            delay = jobs.back_off(claim.record.job, dice=self._dice())
        job = await self._step(claim, "requeue", reason, detail, delay=delay)
        self._held.pop(claim.id, None)
        return job

    async def _step(
        self,
        claim: Claim,
        step: str,
        reason: str = "",
        detail: str = "",
        *,
        delay: float = 0.0,
        state: str = "",
    ) -> Job:
        said = (step, claim.id, claim.holder, reason, detail[:MOST_DETAIL], delay, state)
        return job_of(await self._of_claim(scripts.STEP, claim, *said))

    async def _of_claim(self, script: Script, claim: Claim, *args: Any) -> list[Any]:
        try:
            values = await self._calls.of_job(script, claim.record.job.endpoint, *args)
            if values is None:
                raise Superseded(f"{claim.id} is no more")
        except Superseded:
            if self._held.get(claim.id) == claim.holder:
                del self._held[claim.id]
            raise
        return values
