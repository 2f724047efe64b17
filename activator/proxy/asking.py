"""A request that becomes a job: recorded, then waited for, or answered with its address.

`Prefer: respond-async` and `Prefer: wait=N` end in a 202 that tells where the answer will be; with
an `Idempotency-Key` alone the client waits as ever, but for a job that the same key finds again.
Running the job is a worker's.
"""

from __future__ import annotations

import asyncio
import contextlib
from math import inf
from typing import TYPE_CHECKING, Final

from activator.core.endpoint import Dialect
from activator.core.jobs import JobState, Outcome
from activator.errors import (
    ActivatorError,
    BadRequest,
    KeyReuse,
    QueueFull,
    ShuttingDown,
    StoreUnavailable,
)
from activator.proxy.body import Body
from activator.proxy.openai.early import EarlyAnswer
from activator.proxy.outcomes import PATH, described, why_unanswered
from activator.proxy.preferences import key_of
from activator.proxy.recorded import envelope_of
from activator.proxy.replies import server_timing
from activator.proxy.talk import Talk
from activator.proxy.waiting import refuse_hopeless, why_over
from activator.queueing.following import ResultReader
from activator.queueing.jobs import Conflict, Created, NewJob
from activator.telemetry.requests import BROKEN_OFF

if TYPE_CHECKING:
    from activator.core.jobs import Job
    from activator.proxy.admitted import Admitted
    from activator.proxy.listener import Proxy
    from activator.proxy.preferences import Wanted
    from activator.queueing.jobs import (
        Admission,
        Envelope,
        JobStore,
        Joined,
        Record,
        ResultHead,
        Upload,
    )
    from activator.wire.heads import RequestHead
    from activator.wire.server import ServerConnection

DETACHED_URGENCY: Final = 5
"""Of a job whose client does not wait and has not said how urgent it is."""


class Asking(Talk):
    """See the module."""

    def __init__(
        self,
        proxy: Proxy,
        connection: ServerConnection,
        head: RequestHead,
        admitted: Admitted,
        asked: Wanted,
        *,
        request_id: bytes,
        arrived: float,
        begun: Body | None = None,
    ) -> None:
        """`begun`: what has come of its body."""
        super().__init__(
            proxy, connection, head, request_id=request_id, arrived=arrived, begun=begun
        )
        self._admitted = admitted
        self.owner = admitted.owner
        self._asked = asked
        self._live = admitted.live
        self.dialect = admitted.live.endpoint.dialect
        self.endpoint = admitted.live.endpoint.name
        self._cold = admitted.live.cold
        self._whole_at = 0.0
        """When its body had come."""
        self._recorded_at = 0.0
        """When it was a job; both on the monotonic clock."""
        self._lined_up = 0.0
        """The same moment on the clock of records."""
        self._reading = asked.wait != 0
        self._identity = False
        """Its answer is not to be compressed."""
        self._limit: asyncio.Timeout | None = None
        """Of the time in line."""
        self._parting = False
        self._early: EarlyAnswer | None = None
        """What keeps the client while it waits, in OpenAI's dialect."""
        self._place: int | None = None
        """In line, when it was looked up last."""
        self._hopeless: ActivatorError | None = None
        """It has waited for longer than anybody does."""

    @property
    def _store(self) -> JobStore:
        if self.proxy.jobs is None:
            raise StoreUnavailable("The store that is configured keeps no jobs")
        return self.proxy.jobs

    async def work(self) -> None:
        if self.trace is not None:
            self.trace.routed(self.endpoint, key=self.owner)
        if self._reading:
            refuse_hopeless(self._live, within=self._admitted.within)
        try:
            admission = await self._admit()
            record = admission.record
            if self._reading:
                await self._wait(record)
            else:
                if not record.job.detached:
                    await self._store.detach(record.job.id)
                await self._tell(record, new=admission if isinstance(admission, Created) else None)
        finally:
            if self._early is not None:
                self._early.close()
            self._leave()

    def part(self) -> asyncio.Task[None]:
        """This activator ends: the time in line is over, see `_first`."""
        assert self._task is not None
        self._parting = True
        if self._limit is not None:
            self._limit.reschedule(asyncio.get_running_loop().time())
        return self._task

    def ended(self, *, code: int, reason: str) -> None:
        self.proxy.waiting.discard(self)
        self._live.metrics.request(
            code=code,
            reason=reason,
            duration=self.proxy.clock() - self.arrived,
            overhead=max(0.0, self._recorded_at - self._whole_at),
        )

    # --- recording it

    async def _admit(self) -> Created | Joined:
        webhook = self._webhook()
        upload = self._store.upload(self._live.endpoint.name, owner=self._admitted.owner)
        early = self._begin_early()
        try:
            async for data in self.chunks():
                await upload.write(data)
                if early is not None:
                    early.more(data)
            if early is not None:
                early.whole()
            self._whole_at = self.proxy.clock()
            admission = await self._create(upload, webhook)
        finally:
            await upload.discard()
        if isinstance(admission, Conflict):
            raise KeyReuse
        return admission

    async def _create(self, upload: Upload, webhook: str) -> Admission:
        """To its end even if the client leaves: what has been created must be let go of."""
        creating = self.proxy.tasks.spawn(self._created(webhook, upload), name="create")
        try:
            admission: Admission | ActivatorError = await asyncio.shield(creating)
        except asyncio.CancelledError:
            self.proxy.tasks.spawn(self._orphaned(creating), name="orphaned")
            raise
        if isinstance(admission, ActivatorError):
            raise admission
        self._take(admission)
        return admission

    async def _created(self, webhook: str, upload: Upload) -> Admission | ActivatorError:
        """A refusal is an answer here: whoever waits for it may have left."""
        crowd = self._live.gate.crowd() if self._reading else None
        try:
            new = self._new(webhook, crowded=crowd is not None)
            admission = await self._store.create(new, upload)
        except QueueFull as full:
            return crowd or self._live.gate.at_bound(full.detail)
        except ActivatorError as error:
            return error
        self._recorded_at = self.proxy.clock()
        return admission

    def _take(self, admission: Admission) -> None:
        if isinstance(admission, Conflict):
            return
        job = admission.record.job
        self.job = job.id
        self._lined_up = job.created if isinstance(admission, Created) else self.proxy.wall()
        if isinstance(admission, Created) and admission.claim is not None:
            self._live.take_claim(admission.claim)

    async def _orphaned(self, creating: asyncio.Task[Admission | ActivatorError]) -> None:
        admission = await creating
        if not isinstance(admission, ActivatorError):
            self._take(admission)
        self._leave()

    def _new(self, webhook: str, *, crowded: bool) -> NewJob:
        live, head = self._live, self.head
        urgency = self._admitted.urgency
        if not self._reading and head.get(b"priority") is None:
            urgency = max(urgency, DETACHED_URGENCY)
        queue = live.endpoint.queue
        return NewJob(
            self._envelope(webhook),
            urgency=urgency,
            age=queue.age,
            waited=self.proxy.clock() - self.arrived,
            detached=not self._reading,
            reading=self._reading,
            key=self._key(),
            most=queue.max_requests,
            crowded=crowded,
            claim=self._reading,
            cold=live.cold,
        )

    def _envelope(self, webhook: str) -> Envelope:
        return envelope_of(
            self.head,
            self._admitted,
            request_id=self.id,
            peer=self.connection.peer,
            tls=self.proxy.tls,
            trusted=self.proxy.door.trusts(self.connection.peer),
            trailers=self.trailers,
            webhook=webhook,
            identity=self._identity,
            parent=None if self.trace is None else self.trace.traceparent,
        )

    def _key(self) -> str:
        admitted, head = self._admitted, self.head
        return key_of(head, self._asked, owner=admitted.owner, target=admitted.target(head))

    def _webhook(self) -> str:
        given = self.head.get(b"x-activator-webhook")
        if given is None:
            return ""
        if self._asked.wait is None:
            raise BadRequest("X-Activator-Webhook: only with Prefer: respond-async or wait")
        try:
            return self.proxy.webhook(given.decode("ascii"))
        except ValueError as error:
            raise BadRequest(f"X-Activator-Webhook: {error}") from error

    # --- waiting for it

    async def _wait(self, record: Record) -> None:
        reader = ResultReader(self._store, record.job.id)
        try:
            if self._early is not None:
                await self._look_up_place()
            answer = await self._first(reader)
            if answer is None:
                await self._store.detach(record.job.id)
                self._reading = False
                await self._tell(record)
            elif isinstance(answer, Outcome):
                raise why_unanswered(answer)
            else:
                await self.relay(
                    reader,
                    answer,
                    method=record.envelope.method,
                    cold=self._cold,
                    timing=self._timing(reader),
                    early=self._early,
                )
        finally:
            reader.close()

    async def _first(self, reader: ResultReader) -> ResultHead | Outcome | None:
        """None: the client does not wait any longer, and takes a 202. Raises what ends its time
        in line. Where this activator ends, and the job does not end with it, whoever would take a
        202 in the end gets it now."""
        seconds = self._asked.wait
        timeout = self._live.endpoint.queue.timeout or None
        within = self._admitted.within
        if seconds is None and not (timeout is None and within is None):
            seconds = min(timeout or inf, inf if within is None else within)
        self.proxy.waiting.add(self)
        try:
            async with asyncio.timeout(seconds) as self._limit:
                answer = await reader.head()
        except TimeoutError:
            self._limit = None
        else:
            self.proxy.waiting.discard(self)
            return answer
        if self._asked.wait is not None and (not self._parting or self._store.outlives_us):
            return None
        waited = self.proxy.clock() - self.arrived
        why = (
            ShuttingDown() if self._parting else why_over(self._live, waited=waited, within=within)
        )
        if await self._abandoned(why) or self._parting or self._hopeless:
            raise self._hopeless or why
        self.proxy.waiting.discard(self)
        try:
            async with asyncio.timeout(None) as self._limit:
                return await reader.head()
        except TimeoutError:
            raise self._hopeless or why from None

    # --- signs of life

    def _begin_early(self) -> EarlyAnswer | None:
        """None where it may still come to a 202."""
        live = self._live
        if self._asked.wait is not None or self.dialect is not Dialect.OPENAI:
            return None
        self._place = live.gate.held + 1
        early = self._early = EarlyAnswer(
            self.proxy,
            live,
            self.connection,
            self.head,
            place=self._last_place,
            owner=None,
            request_id=self.id,
            arrived=self.arrived,
            give_up=self._give_up,
        )
        early.wait(Body(complete=False), None)
        self._identity = early.is_read
        return early

    def _last_place(self) -> int | None:
        """For the sign of life after this one it is looked up anew."""
        if self.job:
            self.proxy.tasks.spawn(self._look_up_place(), name="place")
        return self._place

    async def _look_up_place(self) -> None:
        with contextlib.suppress(StoreUnavailable):
            self._place = await self._store.place(self.job)

    def _give_up(self, error: ActivatorError) -> None:
        self._hopeless = error
        if self._limit is not None:
            self._limit.reschedule(asyncio.get_running_loop().time())

    def writable(self, *, ok: bool) -> None:
        super().writable(ok=ok)
        if self._early is not None:
            self._early.writable(ok=ok)

    def _refuse(self, error: ActivatorError) -> tuple[int, str]:
        early = self._early
        if early is None or not self.connection.answering:
            return super()._refuse(error)
        if early.has_answer:
            self.break_off(early)
            return self.code, BROKEN_OFF
        self._count_bytes()
        early.say(error)
        return error.status, error.reason

    async def _abandoned(self, why: ActivatorError) -> bool:
        """An error of ours frees the key: whoever repeats the request has another job."""
        try:
            left = await self._store.abandon(self.job, reason=why.reason, detail=why.detail)
        except StoreUnavailable:
            return True
        self._reading = self._reading and not left
        return left

    def _timing(self, reader: ResultReader) -> bytes:
        """Its time in line is taken from the record; whoever has joined another's job relies on
        the store's clock and ours telling nearly the same."""
        spent = self.proxy.clock() - self._recorded_at
        waited = self.waited = min(spent, max(0.0, reader.began - self._lined_up))
        woken_after = 0.0
        if self._cold and not self._live.cold:
            woken_after = min(waited, max(0.0, self._live.warm_since - self._recorded_at))
        return server_timing(waited=waited, woken_after=woken_after, upstream=spent - waited)

    async def _tell(self, record: Record, *, new: Created | None = None) -> None:
        """202: the store has it. `new`: what it has told of the job a moment ago."""
        if new is not None:
            self._say(record.job, place=new.place)
            return
        store, job = self._store, record.job
        fresh = await store.get(job.id)
        self._say(job if fresh is None else fresh.job, place=await store.place(job.id))

    def _say(self, job: Job, *, place: int | None) -> None:
        said = described(job, place=place, eta=self._live.eta() if self._live.cold else None)
        where = b"Location: %b%b\r\n" % (PATH.encode(), job.id.encode())
        applied = b"Preference-Applied: %b\r\n" % self._asked.applied
        self.say(said, status=202, fields=where + applied)

    def _leave(self) -> None:
        """No reader any more; a job that nobody can find again is cancelled at once."""
        if self._reading and self.job:
            self._reading = False
            self.proxy.tasks.spawn(self._left(self.job), name="leave")

    async def _left(self, job_id: str) -> None:
        store = self._store
        await store.leave(job_id)
        if not self._asked.key:
            record = await store.get(job_id)
            if record is not None and record.job.state is not JobState.SUCCEEDED:
                await store.cancel(job_id, reason="client_left", detail="its client has left")
