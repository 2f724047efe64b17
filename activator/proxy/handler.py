"""One request on one page: admit → (hold → wait) → forward → answer, or say why not.

An `Exchange` is told what happens on the client's connection (wire's `Receiver`), on the
replica's (upstream's `Answer`), in the line (`_granted`) and by the clock (`on_deadline`), and
moves through its states. It creates no task unless it has to wait or to connect. Whatever the
ending, `_end` gives everything back.
"""

from __future__ import annotations

from enum import IntEnum
from math import inf
from typing import TYPE_CHECKING, Final

from activator.errors import (
    ActivatorError,
    StoreUnavailable,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from activator.proxy.admission import Admitted, Preflight, admit, client_deadline
from activator.proxy.body import Body
from activator.proxy.headers import downstream_head, interim_head, request_id, upstream_head
from activator.proxy.replies import error_reply, plain_reply, preflight_reply
from activator.proxy.waiting import refuse_hopeless, why_over
from activator.upstream.forward import IDEMPOTENT, Attempt, Ending, Failure, Outbound
from activator.wire.tunnel import Tunnel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activator.core.dispatch import Ticket
    from activator.core.endpoint import NeverWake, Replica
    from activator.proxy.listener import Proxy
    from activator.queueing.base import Handle
    from activator.upstream.registry import LiveEndpoint, LiveReplica
    from activator.wire.client import ClientConnection
    from activator.wire.heads import Field, RequestHead, ResponseHead
    from activator.wire.server import ServerConnection

ATTEMPTS: Final = 3
"""Replicas that one request may meet."""
BEFORE_CONNECTED: Final = 64 << 10
"""Bytes of a body that are read while its connection is being opened."""
CLIENT_LEFT: Final = 499
"""nginx's code for it: seen in metrics only, since nobody is there to read an answer."""


class _State(IntEnum):
    COLLECTING = 0
    """Held; its body is arriving and it has no place in line yet."""
    STORING = 1
    WAITING = 2
    """It has a place in line."""
    FETCHING = 3
    """It has a slot, its body comes back from the store."""
    FORWARDING = 4
    TUNNEL = 5
    OVER = 6


class Exchange:
    """See the module."""

    __slots__ = (
        "_admitted",
        "_answered_at",
        "_arrived",
        "_attempt",
        "_attempts",
        "_body",
        "_cold",
        "_connection",
        "_dispatched_at",
        "_handle",
        "_head",
        "_held_since",
        "_id",
        "_live",
        "_proxy",
        "_replica",
        "_reserved",
        "_state",
        "_status",
        "_waited",
        "_woken_after",
        "deadline",
    )

    _admitted: Admitted
    _live: LiveEndpoint

    def __init__(self, proxy: Proxy, connection: ServerConnection, head: RequestHead) -> None:
        self._proxy = proxy
        self._connection = connection
        self._head = head
        self._id = request_id(head)
        self._state = _State.COLLECTING
        self._body = Body(complete=head.length == 0)
        self._attempt: Attempt | None = None
        self._attempts = 0
        self._replica: LiveReplica | None = None
        self._handle: Handle | None = None
        self._reserved = 0
        self._cold = False
        self._arrived = proxy.clock()
        self._held_since = -1.0
        self._waited = 0.0
        self._woken_after = 0.0
        self._dispatched_at = 0.0
        self._answered_at = 0.0
        self._status = 0
        self.deadline = inf

    def start(self) -> None:
        """Everything that can be done at once; the rest happens as it is told."""
        try:
            admitted = self._admitted = admit(
                self._head,
                door=self._proxy.door,
                registry=self._proxy.registry,
                via=self._proxy.via,
            )
        except ActivatorError as error:
            self._state = _State.OVER
            self._say(error)
            self._proxy.metrics.unrouted.request(
                code=error.status, reason=error.reason, duration=0.0, overhead=0.0
            )
            return
        self._live = admitted.live
        gate = self._live.gate
        if admitted.passive is not None:
            self._forward_or_answer(admitted.passive)
            return
        gate.arrive()
        replica = None if gate.full else gate.acquire(admitted.ticket, self._granted)
        if replica is not None:
            self._dispatch(replica)
        else:
            self._hold()

    # --- held: a body to collect, a place in line, a deadline -----------------------------------

    def _hold(self) -> None:
        live, length = self._live, self._head.length
        self._cold = live.cold
        try:
            refuse_hopeless(live, within=client_deadline(self._head))
            live.gate.hold(self)
        except ActivatorError as error:
            self._fail(error)
            return
        self._begin_waiting()
        if self._connection.request_complete:
            if length == 0:
                self._line_up()
        elif length > live.endpoint.queue.buffer_bytes:
            self._connection.pause_body()
            self._line_up()
        else:
            self._connection.send_continue()

    def _begin_waiting(self) -> None:
        self._held_since = now = self._proxy.clock()
        policy = self._live.endpoint.queue
        left = policy.timeout - self._waited if policy.timeout else inf
        within = client_deadline(self._head)
        self.deadline = now + min(left, inf if within is None else within - self._waited)
        self._proxy.deadlines.arm(self)

    def _collect(self, data: bytes) -> None:
        try:
            self._live.gate.hold_bytes(len(data))
        except ActivatorError as error:
            self._fail(error)
            return
        self._body.add(data)
        if self._body.size > self._live.endpoint.queue.buffer_bytes:
            self._connection.pause_body()
            if self._state == _State.COLLECTING:
                self._line_up()

    def _line_up(self) -> None:
        """Take a place in line; a whole body goes to the store unless it may stay in memory."""
        size, memory = self._body.size, self._proxy.held_memory
        if not size or not self._body.complete:
            self._wait()
        elif not self._live.cold and memory.reserve(size):
            self._reserved = size
            self._wait()
        else:
            self._state = _State.STORING
            self._live.tasks.spawn(self._store(), name="store")

    async def _store(self) -> None:
        try:
            handle = await self._proxy.store.keep(self._live.endpoint.name, self._body.chunks)
        except StoreUnavailable as error:
            self._proxy.metrics.store_errors += 1
            if self._state == _State.STORING:
                if self._proxy.held_memory.reserve(self._body.size):
                    self._reserved = self._body.size
                    self._wait()
                else:
                    self._fail(error)
            return
        if self._state != _State.STORING:
            await self._proxy.store.discard(handle)
            return
        self._handle = handle
        self._body.stored()
        self._wait()

    def _wait(self) -> None:
        self._state = _State.WAITING
        replica = self._live.gate.acquire(self._admitted.ticket, self._granted)
        if replica is not None:
            self._granted(self._admitted.ticket, replica)

    def _granted(self, ticket: Ticket, replica: Replica) -> None:
        if self._handle is None:
            self._dispatch(replica)
        else:
            self._state = _State.FETCHING
            self._live.tasks.spawn(self._fetch(self._handle, replica), name="fetch")

    async def _fetch(self, handle: Handle, replica: Replica) -> None:
        try:
            chunks: Sequence[bytes] = await self._proxy.store.take(handle)
        except StoreUnavailable as error:
            self._proxy.metrics.store_errors += 1
            if self._state == _State.FETCHING:
                self._fail(error)
            return
        if self._state == _State.FETCHING:
            self._handle = None
            self._body.restore(chunks)
            self._dispatch(replica)

    def _end_waiting(self) -> None:
        """It waits no longer, whatever comes now."""
        if self._held_since < 0:
            return
        now = self._proxy.clock()
        waited = now - self._held_since
        self._waited += waited
        if self._cold:
            self._woken_after = min(max(0.0, self._live.warm_since - self._held_since), waited)
        self._held_since = -1.0
        self.deadline = inf
        self._proxy.deadlines.forget(self)
        self._live.gate.unhold(self)
        if self._reserved:
            self._proxy.held_memory.free(self._reserved)
            self._reserved = 0

    def refused(self, error: ActivatorError) -> None:
        """Whoever holds the endpoint has given up on those who wait."""
        self._fail(error)

    def on_deadline(self, now: float) -> None:
        within = client_deadline(self._head)
        self._fail(why_over(self._live, waited=now - self._arrived, within=within))

    @property
    def held_bytes(self) -> int:
        return self._body.size

    # --- at a replica ---------------------------------------------------------------------------

    def _dispatch(self, replica: Replica) -> None:
        self._end_waiting()
        self._state = _State.FORWARDING
        self._attempts += 1
        self._dispatched_at = self._proxy.clock()
        live_replica = self._replica = self._live.replicas.get(replica.id)
        if live_replica is None:
            self.failed(Failure(Ending.UNREACHABLE, f"replica {replica.id} has just gone"))
            return
        head, admitted, connection = self._head, self._admitted, self._connection
        outbound = Outbound(
            head=upstream_head(
                head,
                target=admitted.target,
                host=head.host or b"%b:%d" % (replica.host.encode(), replica.port),
                via=self._proxy.via,
                request_id=self._id,
                peer=connection.peer,
                tls=self._proxy.tls,
                trusted=self._proxy.door.trusts(connection.peer),
                credential=admitted.credential,
                continued=connection.continued,
            ),
            method=head.method,
            length=head.length,
            websocket=head.websocket,
        )
        self._attempt = Attempt(self._live, live_replica, outbound, self)
        self._attempt.begin()

    def connected(self) -> None:
        attempt, body = self._attempt, self._body
        assert attempt is not None
        for piece in body.chunks:
            attempt.send(piece)
        if self._head.length:
            if body.complete:
                attempt.finish(body.trailers)
            body.sent()
            self._connection.resume_body()

    def failed(self, failure: Failure) -> None:
        self._attempt = None
        if failure.ending == Ending.MIDWAY:
            self._connection.abort()
            self._end(code=self._status, reason="broken_off")
        elif self._may_repeat(failure.ending):
            self._repeat(failure)
        elif failure.ending == Ending.FIRST_BYTE:
            self._fail(UpstreamTimeout(failure.detail))
        else:
            self._tell_unreachable(failure)
            self._fail(UpstreamUnreachable(failure.detail, retry_after=1))

    def _may_repeat(self, ending: Ending) -> bool:
        """CONTRACT "Retries": the model cannot have worked on it, or the method is idempotent."""
        if self._attempts >= ATTEMPTS or not self._body.repeatable:
            return False
        if ending in (Ending.UNREACHABLE, Ending.UNSENT):
            return True
        idempotent = self._head.method in IDEMPOTENT
        return ending == Ending.UNANSWERED and idempotent and self._live.retries.take()

    def _repeat(self, failure: Failure) -> None:
        """Back in line at its old place, for any other replica."""
        admitted = self._admitted
        self._tell_unreachable(failure)
        self._live.metrics.retried(failure.ending.name.lower())
        self._live.gate.release(admitted.ticket)
        if self._replica is not None:
            admitted.ticket.exclude += (self._replica.replica.id,)
        if admitted.passive is not None:
            self._answer_passive(admitted.passive)
            return
        self._live.gate.hold_again(self)
        self._begin_waiting()
        self._wait()

    def _tell_unreachable(self, failure: Failure) -> None:
        if self._replica is not None and failure.ending in (
            Ending.UNREACHABLE,
            Ending.UNSENT,
            Ending.UNANSWERED,
        ):
            self._live.unreachable(self._replica.replica.id, failure.detail)

    # --- the answer -----------------------------------------------------------------------------

    def interim(self, head: ResponseHead) -> None:
        if head.status != 100:
            self._connection.send_interim(interim_head(head))
        elif self._head.expects_continue:
            self._connection.send_continue()

    def answered(self, head: ResponseHead) -> None:
        self._note_answer(head.status)
        self._body.forget()
        self._connection.begin_answer(
            downstream_head(
                head,
                via=self._proxy.via,
                request_id=self._id,
                cold=self._cold,
                timing=self._timing(),
            ),
            length=head.length,
        )

    def _note_answer(self, status: int) -> None:
        self._status = status
        self._answered_at = self._proxy.clock()
        self._live.gate.answered(self._admitted.ticket)
        self._live.retries.earn()
        if self._replica is not None and self._replica.unproven:
            self._replica.unproven = False
            self._live.answered(self._replica.replica.id)

    def data(self, data: bytes) -> None:
        self._connection.send(data)

    def ended(self, trailers: list[Field]) -> None:
        self._attempt = None
        connection = self._connection
        self._end(code=self._status, reason="")
        connection.finish(trailers)

    def upgraded(self, head: ResponseHead, rest: bytes, connection: ClientConnection) -> None:
        self._attempt = None
        self._state = _State.TUNNEL
        self._note_answer(head.status)
        tunnel = Tunnel(
            self._connection, connection, clock=self._proxy.clock, ended=self._tunnel_ended
        )
        self._live.gate.open_tunnel(tunnel)
        connection.become_tunnel(tunnel)
        raw = interim_head(head, upgrade=True) + b"X-Request-Id: %b\r\n" % self._id
        self._connection.become_tunnel(raw, tunnel)
        if rest:
            tunnel.moved(connection, rest)

    def _tunnel_ended(self, tunnel: Tunnel) -> None:
        self._live.gate.close_tunnel(tunnel)
        self._end(code=self._status, reason="")

    def upstream_writable(self, *, ok: bool) -> None:
        if ok:
            self._connection.resume_body()
        else:
            self._connection.pause_body()

    # --- from the client ------------------------------------------------------------------------

    def body(self, data: bytes) -> None:
        if self._state == _State.FORWARDING:
            attempt = self._attempt
            if attempt is not None and attempt.connected:
                attempt.send(data)
                self._body.passed(data)
                return
            self._body.add(data)
            if self._body.size > BEFORE_CONNECTED:
                self._connection.pause_body()
        elif self._state != _State.OVER:
            self._collect(data)

    def body_ended(self, trailers: list[Field]) -> None:
        self._body.end(trailers)
        if self._state == _State.COLLECTING:
            self._line_up()
        elif self._attempt is not None and self._attempt.connected:
            self._attempt.finish(trailers)

    def body_broken(self, error: ActivatorError) -> None:
        if self._connection.answering:
            self._connection.abort()
            self._end(code=self._status, reason=error.reason)
        else:
            self._fail(error)

    def client_left(self) -> None:
        self._end(code=CLIENT_LEFT, reason="client_left")

    def writable(self, *, ok: bool) -> None:
        if self._attempt is not None:
            if ok:
                self._attempt.resume()
            else:
                self._attempt.pause()

    # --- answers of our own, and the one exit ---------------------------------------------------

    def _forward_or_answer(self, passive: NeverWake | Preflight) -> None:
        gate, ticket = self._live.gate, self._admitted.ticket
        replica = None if gate.full else gate.acquire(ticket, self._granted)
        if replica is not None:
            self._dispatch(replica)
        else:
            gate.withdraw(ticket)
            self._answer_passive(passive)

    def _answer_passive(self, passive: NeverWake | Preflight) -> None:
        if isinstance(passive, Preflight):
            status, head = 204, preflight_reply(self._head, request_id=self._id)
        else:
            status, head = passive.status, plain_reply(passive.status, request_id=self._id)
        connection = self._connection
        self._end(code=status, reason="never_wakes")
        connection.begin_answer(head, length=0)
        connection.finish()

    def _fail(self, error: ActivatorError) -> None:
        """Answer with an error; the answer has not begun."""
        self._end(code=error.status, reason=error.reason)
        self._say(error)

    def _say(self, error: ActivatorError) -> None:
        head, body = error_reply(error, request_id=self._id)
        connection = self._connection
        connection.begin_answer(head, length=len(body))
        if self._head.method != b"HEAD":
            connection.send(body)
        connection.finish()

    def _end(self, *, code: int, reason: str) -> None:
        """Everything is given back, whatever the ending; the connection is left to the caller."""
        if self._state == _State.OVER:
            return
        served = self._state in (_State.FORWARDING, _State.TUNNEL)
        self._state = _State.OVER
        waited = self._held_since >= 0 or self._waited > 0
        self._end_waiting()
        live, admitted = self._live, self._admitted
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.abort()
        handle, self._handle = self._handle, None
        if handle is not None:
            live.tasks.spawn(self._proxy.store.discard(handle), name="discard")
        live.gate.withdraw(admitted.ticket)
        if admitted.passive is None:
            live.gate.leave(served=served)
        if waited:
            live.metrics.waited(self._waited)
        now = self._proxy.clock()
        live.metrics.request(
            code=code, reason=reason, duration=now - self._arrived, overhead=self._overhead(now)
        )

    def _overhead(self, now: float) -> float:
        """Seconds in the proxy itself: from arrival to dispatch, less the time in line."""
        until = self._dispatched_at or now
        return max(0.0, until - self._arrived - self._waited)

    def _timing(self) -> bytes:
        return b"queue;dur=%.1f, activate;dur=%.1f, upstream;dur=%.1f" % (
            (self._waited - self._woken_after) * 1e3,
            self._woken_after * 1e3,
            (self._answered_at - self._dispatched_at) * 1e3,
        )
