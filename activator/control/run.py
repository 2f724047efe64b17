"""One claimed job on its way: its place in line, its attempt at a replica, its answer stored.

It goes through the same gate as live traffic, and tells the store how it ended; how the store
records that, and when another attempt follows, is decided in `core.jobs`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final, TypeAlias

from activator.control.persisting import persist, report
from activator.control.visit import Visit
from activator.core.dispatch import Ticket
from activator.core.held import HeldRequest, shown_path
from activator.core.jobs import FAULT, ForbiddenStep, JobState, Outcome, Superseded
from activator.errors import (
    ActivatorError,
    Cancelled,
    ShuttingDown,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from activator.queueing.jobs import ResultTooLarge
from activator.telemetry.spans import JobAttempt
from activator.upstream.forward import IDEMPOTENT, Ending, Failure, Outbound

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.aiokit.tasks import Tasks
    from activator.core.endpoint import Replica
    from activator.queueing.jobs import Claim, Envelope, JobStore, Record
    from activator.telemetry.spans import Trace, Tracer
    from activator.upstream.registry import LiveEndpoint, LiveReplica

    MakeOutbound: TypeAlias = Callable[[Envelope, Replica, bytes | None], Outbound]
    """The last one: its `traceparent`, where it is traced."""


_log = logging.getLogger("activator.jobs")

REPLICAS: Final = 3
"""That one attempt may find unreachable."""
BROKEN_OFF: Final = "broken_off"
TOO_LARGE: Final = "result_too_large"


class JobRun:
    """See the module. `run` is the task's. `cancel` ends it without a word to the store, which is
    enough where that has taken the job away. Otherwise `give_back` follows: a job that stays
    claimed by an activator that lives and does not run it is run by nobody."""

    def __init__(
        self,
        live: LiveEndpoint,
        store: JobStore,
        claim: Claim,
        *,
        outbound: MakeOutbound,
        tasks: Tasks,
        arrived: float,
        began: Callable[[], None],
        tracer: Tracer | None = None,
    ) -> None:
        """`arrived`: its place in line, monotonic seconds. `began` is told when it leaves it."""
        self.claim = claim
        self.has_turn = False
        """It has left the line, and is at a replica or about to be."""
        self.begun = False
        """And the store knows it."""
        self.detached = claim.record.job.detached
        self.task: asyncio.Task[None] | None = None
        self.leaving: asyncio.Task[None] | None = None
        """Gives it back; None: it has not been let go of."""
        self._live = live
        self._store = store
        self._make_outbound = outbound
        self._tasks = tasks
        self._began = began
        self._envelope = claim.record.envelope
        self._claimed_at = live.kit.clock()
        self._ticket = Ticket(
            urgency=claim.record.job.urgency,
            affinity=self._envelope.affinity,
            arrived=max(0.0, arrived),
        )
        self._granted: asyncio.Future[Replica] | None = None
        self._waits = False
        """It is in the gate's count of those who wait."""
        self._visit: Visit | None = None
        """The latest one."""
        self._outcome = "stopped"
        """What became of this attempt; unless somebody says otherwise it was cancelled."""
        self._why = ""
        self._began_at = 0.0
        self._tracer = tracer
        self._trace: Trace | None = None

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()

    def detach(self) -> None:
        """Nobody waits for it any more."""
        self.detached = True
        if self._waits:
            self._live.gate.unhold(self)
            self._live.gate.queue(self)

    async def give_back(self) -> None:
        """Have it back in line once it has ended, however long the store is away."""
        if self.task is not None:
            await asyncio.wait({self.task})
        await report(self._give_back)

    async def recorded(self) -> Record | None:
        """As the store has it, however long that is away; None: it is no more."""
        return await report(lambda: self._store.get(self.claim.id))

    async def _give_back(self) -> None:
        """Back in line; as another attempt if it has begun. Raises Superseded."""
        if not self.begun:
            # refused if it was cancelled while it told the store that it begins
            with contextlib.suppress(ForbiddenStep):
                await self._store.give_back(self.claim)
                return
        why = ShuttingDown()
        await self._store.requeue(self.claim, reason=why.reason, detail=why.detail, delay=0)

    async def run(self) -> None:
        gate = self._live.gate
        gate.arrive()
        try:
            await self._to_its_end()
        except Exception as bug:
            await self._broken_by(bug)
        finally:
            self._release()
            gate.leave(served=self.begun)
            self._tell()

    async def _to_its_end(self) -> None:
        try:
            if self._tracer is not None:
                self._trace = self._begin_trace(self._tracer)
            await self._run()
        except Superseded:
            self._outcome = "superseded"
        except ResultTooLarge as error:
            self._release()
            await self._end(Outcome(JobState.FAILED, TOO_LARGE, str(error)))
        except Cancelled as error:
            self._release()
            await self._end(Outcome(JobState.CANCELLED, error.reason, error.detail))
        except ActivatorError as error:
            self._release()
            await self._try_again(error)

    async def _broken_by(self, bug: Exception) -> None:
        _log.error(
            "job run failed",
            extra={"action": "job_run_failed", **self._named},
            exc_info=bug,
        )
        try:
            self._release()
        finally:
            await self.end_broken(bug)

    async def end_broken(self, bug: Exception) -> None:
        """It ends as if it had failed at its replica, unless the store knows of an end already:
        another that is told then changes nothing. Where this meets a bug, too, it is for whoever
        runs it to call it again: the job would stay claimed."""
        detail = f"the activator that ran it met an error of its own ({type(bug).__name__})"
        if self.detached and (self._visit is None or self._envelope.method in IDEMPOTENT):
            await self._repeat(FAULT, detail)
        else:
            await self._end(Outcome(JobState.FAILED, FAULT, detail))

    def _begin_trace(self, tracer: Tracer) -> Trace | None:
        job, envelope = self.claim.record.job, self._envelope
        parents = [line for line in envelope.lines if line.lower().startswith(b"traceparent:")]
        return tracer.job(
            JobAttempt(
                id=job.id,
                endpoint=job.endpoint,
                attempt=job.attempt,
                asked_by=parents[-1][12:].strip() if parents else None,
                method=envelope.method,
                target=envelope.target,
                request_id=envelope.request_id,
                began=self._claimed_at,
            )
        )

    def _tell(self) -> None:
        """How this attempt has ended, if it was one."""
        if self._trace is not None:
            reason = "" if self._outcome == JobState.SUCCEEDED else self._outcome
            status, received = self._had
            self._trace.ended(status=status, reason=reason, sent=received)
        if self.begun:
            self._log()

    @property
    def _had(self) -> tuple[int, int]:
        """Status of the answer, and bytes of its body."""
        return (0, 0) if self._visit is None else (self._visit.status, self._visit.received)

    def _log(self) -> None:
        visit = self._visit
        status, received = self._had
        _log.info(
            "job_run",
            extra={
                "action": "job_run",
                **self._named,
                "outcome": self._outcome,
                "detail": self._why,
                "status": status,
                "seconds": round(self._live.kit.clock() - self._began_at, 6),
                "bytes_out": received,
                "replica": "" if visit is None else visit.replica.replica.id,
                "key": self._envelope.owner,
            },
        )

    @property
    def _named(self) -> dict[str, object]:
        """What a line in the log says of which attempt it tells."""
        return {
            "request_id": self._envelope.request_id.decode("latin-1"),
            "endpoint": self._live.endpoint.name,
            "job": self.claim.id,
            "attempt": self.claim.attempt,
        }

    async def _run(self) -> None:
        """Raises what ended it, if another attempt may mend it."""
        while True:
            replica = await self._turn()
            self.has_turn = True
            if not self.begun:
                await persist(lambda: self._store.begin(self.claim))
                self.begun, self._began_at = True, self._live.kit.clock()
                self._began()
            failure = await self._try(replica)
            if failure is None:
                self._outcome = JobState.SUCCEEDED
                return
            self._release()
            if self._trace is not None:
                self._trace.failed(failure.detail)
            if failure.unreachable:
                self._live.unreachable(replica.replica.id, failure.detail)
            self._ticket.exclude += (replica.replica.id,)
            others = self._live.replicas.keys() - set(self._ticket.exclude)
            untouched = failure.ending in (Ending.UNREACHABLE, Ending.UNSENT)
            if not untouched or not others or len(self._ticket.exclude) >= REPLICAS:
                await self._failed(failure)
                return
            self._live.metrics.retried(failure.ending.name.lower())

    # --- in line

    @property
    def held_bytes(self) -> int:
        return 0

    @property
    def request_id(self) -> bytes:
        return self._envelope.request_id

    @property
    def described(self) -> HeldRequest:
        envelope, ticket = self._envelope, self._ticket
        return HeldRequest(
            id=self.request_id.decode(),
            place=self._live.gate.place(ticket),
            seconds=max(0.0, asyncio.get_running_loop().time() - ticket.arrived),
            key=envelope.owner,
            method=envelope.method.decode(),
            path=shown_path(envelope.target),
            urgency=ticket.urgency,
            held_bytes=self.held_bytes,
            job=self.claim.id,
        )

    def refused(self, error: ActivatorError) -> None:
        self._leave_line()
        if self._granted is not None and not self._granted.done():
            self._granted.set_exception(error)

    async def _turn(self) -> LiveReplica:
        gate, ticket = self._live.gate, self._ticket
        while True:
            self._granted = asyncio.get_running_loop().create_future()
            since, cold = self._live.kit.clock(), self._live.cold
            self._line_up()
            try:
                replica = gate.acquire(ticket, self._on_granted) or await self._granted
            finally:
                self._leave_line()
                if cold:
                    self._has_waited_for_a_start(since)
            found = self._live.replicas.get(replica.id)
            if found is not None:
                return found
            gate.release(ticket)  # it has just gone
            ticket.exclude += (replica.id,)

    def _has_waited_for_a_start(self, since: float) -> None:
        live, owner, now = self._live, self._envelope.owner, self._live.kit.clock()
        if owner:
            until = now if live.cold else min(max(since, live.warm_since), now)
            live.keys.waited(owner, until - since, now=now)

    def _line_up(self) -> None:
        self._waits = True
        if self.detached:
            self._live.gate.queue(self)
        else:
            self._live.gate.hold_again(self)

    def _leave_line(self) -> None:
        self._waits = False
        self._live.gate.unhold(self)

    def _on_granted(self, ticket: Ticket, replica: Replica) -> None:
        if self._granted is not None and not self._granted.done():
            self._granted.set_result(replica)

    def _release(self) -> None:
        """Slot, place and connection."""
        if self._visit is not None:
            self._visit.abort()
        self._leave_line()
        self._live.gate.withdraw(self._ticket)

    # --- at a replica

    async def _try(self, replica: LiveReplica) -> Failure | None:
        parent = None
        if self._trace is not None:
            waited = self._began_at - self._claimed_at
            self._trace.held(waited=waited, woken_after=0.0, is_cold=False)
            parent = self._trace.forward(replica.replica)
        visit = self._visit = Visit(
            self._live,
            replica,
            self._ticket,
            self._make_outbound(self._envelope, replica.replica, parent),
            store=self._store,
            claim=self.claim,
            tasks=self._tasks,
            trace=self._trace,
        )
        return await visit.run()

    # --- how it ended

    async def _failed(self, failure: Failure) -> None:
        """Raises what another attempt may mend (CONTRACT "Retries"), else ends the job."""
        match failure.ending:
            case Ending.UNREACHABLE | Ending.UNSENT:
                raise UpstreamUnreachable(failure.detail)
            case Ending.UNANSWERED if self._envelope.method in IDEMPOTENT:
                raise UpstreamUnreachable(failure.detail)
            case Ending.UNANSWERED | Ending.INVALID:
                reason = UpstreamUnreachable.reason
            case Ending.FIRST_BYTE:
                reason = UpstreamTimeout.reason
            case Ending.MIDWAY:
                reason = BROKEN_OFF
        await self._end(Outcome(JobState.FAILED, reason, failure.detail))

    async def _end(self, outcome: Outcome) -> None:
        self._outcome, self._why = outcome.state, f"{outcome.reason}: {outcome.detail}"
        await report(lambda: self._store.finish(self.claim, outcome))

    async def _try_again(self, why: ActivatorError) -> None:
        """Later, unless somebody waits for the answer now: a client is told at once. Where only
        this activator ends, another goes on with it."""
        self._outcome, self._why = "repeated", f"{why.reason}: {why.detail}"
        if isinstance(why, ShuttingDown):
            await report(self._give_back)
            return
        record = await self.recorded()
        if record is not None and not record.job.detached:
            await self._end(Outcome(JobState.FAILED, why.reason, why.detail))
        else:
            await self._repeat(why.reason, why.detail)

    async def _repeat(self, reason: str, detail: str) -> None:
        self._outcome, self._why = "repeated", f"{reason}: {detail}"
        await report(lambda: self._store.requeue(self.claim, reason=reason, detail=detail))
