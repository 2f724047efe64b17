"""One request that was admitted, on one page: (hold → wait) → forward → answer, or say why not.

An `Exchange` is told what happens on the client's connection (wire's `Receiver`) and on the
replica's (upstream's `Answer`), and moves through its states; while it waits, `aside` does that for
it. It creates no task unless it has to connect. Whatever the ending, `end` gives everything back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from activator.coordination.base import ASKED
from activator.core.endpoint import Dialect
from activator.errors import ActivatorError, UpstreamTimeout, UpstreamUnreachable
from activator.proxy.admitted import Preflight
from activator.proxy.answering import Answering
from activator.proxy.aside import Aside
from activator.proxy.body import NO_BODY, Body
from activator.proxy.outbound import outbound_head, outbound_to
from activator.proxy.passage import Passage
from activator.proxy.played import ASKING, FORWARDING, NEW, OVER, TUNNEL, WAITING
from activator.proxy.replies import plain_reply, preflight_reply, refusal
from activator.proxy.retrying import Failures
from activator.proxy.sent import Sent
from activator.telemetry.requests import CLIENT_LEFT
from activator.upstream.forward import IDEMPOTENT, Attempt, Ending, Failure
from activator.wire.heads import CHUNKED

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.core.dispatch import Ticket
    from activator.core.endpoint import NeverWake, Replica
    from activator.proxy.admission import Peeked
    from activator.proxy.admitted import Admitted
    from activator.proxy.listener import Proxy
    from activator.upstream.registry import LiveReplica
    from activator.wire.client import ClientConnection
    from activator.wire.heads import Field, RequestHead, ResponseHead
    from activator.wire.server import ServerConnection

BEFORE_CONNECTED: Final = 64 << 10
"""Bytes of a body that are read while its connection is being opened."""


class Exchange(Answering):
    """See the module."""

    __slots__ = ()

    def __init__(
        self,
        proxy: Proxy,
        connection: ServerConnection,
        head: RequestHead,
        admitted: Admitted,
        *,
        request_id: bytes,
        arrived: float,
        peeked: Peeked | None = None,
        body: Body | None = None,
        ticket: Ticket | None = None,
    ) -> None:
        """`arrived`: when its head came, monotonic seconds. `peeked`: what has come of its body.
        `body`: this too, where nobody has looked at it.
        `ticket`: for its slot; None: it has asked for none yet."""
        self.proxy = proxy
        self.connection = connection
        self.head = head
        self.admitted = admitted
        self.live = admitted.live
        self.ticket = ticket or admitted.ticket(arrived=arrived)
        self.id = request_id
        self.arrived = arrived
        self.peeked = peeked
        if peeked is not None:
            self.kept = peeked.body
        else:
            self.kept = body or (Body(complete=False) if head.length else NO_BODY)
        self._attempt = self._passage = None
        self._replica = None
        self._state = NEW
        self._attempts = 0
        self._dispatched_at = 0.0
        self._aside = None
        if proxy.tracer is not None:
            self._begin_trace()

    @property
    def _beside(self) -> Aside:
        aside = self._aside
        if aside is None:
            aside = self._aside = Aside(self)
        return aside

    def start(self) -> None:
        """Everything that can be done at once; the rest happens as it is told."""
        if self.admitted.passive is None:
            self.live.gate.arrive()
        self._ask()

    def _ask(self) -> None:
        """For a slot, now or never."""
        replica = self.live.gate.acquire_now(self.ticket, self.decided)
        if replica is ASKED:
            self.waits_for_word()
        elif replica is not None:
            self.dispatch(replica)
        else:
            self.must_wait()

    def must_wait(self) -> None:
        """There is no slot for it now."""
        self.decided(self.ticket, None)

    def waits_for_word(self) -> None:
        """`decided` is called: whoever keeps the slots was asked."""
        self._state = ASKING
        length = self.head.length
        if length:
            room = BEFORE_CONNECTED if length == CHUNKED else min(length, BEFORE_CONNECTED)
            if not self.proxy.intake.enter(self, room):
                self.connection.pause_body()

    @property
    def held_bytes(self) -> int:
        return self.kept.size

    def may_read(self) -> None:
        self.connection.resume_body()

    def decided(self, ticket: Ticket, replica: Replica | None) -> None:
        if self._state == ASKING and self.head.length:
            self.proxy.intake.leave(self)
        passive = self.admitted.passive
        if replica is not None:
            self.dispatch(replica)
        elif passive is not None:
            self._answer_passive(passive)
        else:
            self._state = WAITING
            self._beside.begin()

    # --- at a replica ---------------------------------------------------------------------------

    def dispatch(self, replica: Replica) -> None:
        """It has a slot there."""
        self._state = FORWARDING
        self._attempts += 1
        self._dispatched_at = self.proxy.clock()
        live, admitted = self.live, self.admitted
        if admitted.owner and self._pays:
            live.keys.begin(admitted.owner, now=self._dispatched_at)
        live_replica = self._replica = live.replicas.get(replica.id)
        if live_replica is None:
            self.failed(Failure(Ending.UNREACHABLE, f"replica {replica.id} has just gone"))
            return
        whole: Callable[[ResponseHead, bytes], None] | None = self.whole
        identity, parent = False, None
        aside = self._aside
        if aside is not None:
            if aside.trace is not None:
                self._tell_held(aside.trace)
                parent = aside.trace.forward(replica)
            identity = aside.early is not None and aside.early.waits_aloud
            # what was held may have begun to be answered, and a trace tells the tokens of an answer
            if live.endpoint.dialect is Dialect.OPENAI:
                whole = None
        outbound = outbound_to(
            replica,
            self.proxy,
            self.connection,
            self.head,
            admitted,
            request_id=self.id,
            identity=identity,
            parent=parent,
        )
        self._set_off(Attempt(live, live_replica, outbound, self, whole))

    def send_whole(self, replica: Replica, aside: Aside) -> bool:
        """To a replica with a connection at hand, all at once. False: it takes more to do."""
        body, head, live = self.kept, self.head, self.live
        at = live.replicas.get(replica.id)
        if at is None or aside.early is not None or aside.trace is not None:
            return False
        if self._attempts or not body.complete or body.size > BEFORE_CONNECTED:
            return False
        if body.spool is not None or head.length == CHUNKED or head.websocket:
            return False
        now, method = self.proxy.clock(), head.method
        is_repeatable = method in IDEMPOTENT
        if method == b"HEAD":
            return False
        upstream = at.connection_for(repeatable=is_repeatable, now=now)
        if upstream is None:
            return False
        admitted, connection = self.admitted, self.connection
        self._state, self._attempts, self._dispatched_at, self._replica = FORWARDING, 1, now, at
        if admitted.owner:
            live.keys.begin(admitted.owner, now=now)
        self._attempt = sent = Sent(self, at, upstream, since=now)
        said = outbound_head(replica, self.proxy, connection, head, admitted, request_id=self.id)
        if body.chunks:
            said = b"".join([said, *body.chunks])
            if not is_repeatable:
                body.forget()  # from here on the model may have worked on it
        connection.resume_body()
        upstream.ask(said, method, sent, now + live.answer_within)
        return True

    def take_over(
        self, replica: LiveReplica, connection: ClientConnection, *, since: float
    ) -> Attempt:
        """It was sent to this replica, `since` then, body and all, and is counted everywhere."""
        self._state = FORWARDING
        self._attempts = 1
        self._dispatched_at = since
        self._replica = replica
        self._attempt = Attempt.under_way(
            self.live, replica, self, self.whole, connection=connection, since=since
        )
        return self._attempt

    def go_elsewhere(self, attempt: Attempt) -> None:
        """To the fallback."""
        self._state = FORWARDING
        self._attempts += 1
        self._dispatched_at = self.proxy.clock()
        self._set_off(attempt)

    def came_back(self) -> None:
        """From the fallback, as it went: it waits."""
        self._attempt = self._passage = None
        self._dispatched_at = 0.0
        self._state = WAITING
        self.live.gate.arrive()

    def _set_off(self, attempt: Attempt) -> None:
        self._attempt = attempt
        if self.head.length:
            is_last = self.head.method not in IDEMPOTENT and self._detour is None
            self._passage = Passage(self.connection, self.kept, attempt, is_last=is_last)
        attempt.begin()

    @property
    def body_at_hand(self) -> bool:
        body = self.kept
        return bool(body.chunks) or body.spool is not None or self.connection.body_at_hand

    def connected(self) -> None:
        if self._passage is not None:
            self._passage.begin()

    def failed(self, failure: Failure) -> None:
        if self._passage is not None:
            self._passage.break_off()
        self._attempt = self._passage = None
        if self._trace is not None:
            self._trace.failed(failure.detail)
        detour = self._detour
        if detour is not None and failure.ending != Ending.MIDWAY:
            detour.failed(failure)
            return
        if detour is not None:
            detour.broke_off(failure)
        elif failure.unreachable and self._replica is not None:
            self.live.unreachable(self._replica.replica.id, failure.detail)
        if failure.ending == Ending.MIDWAY:
            early = self._early
            self.end(code=self._status, reason="broken_off")
            if early is None or not early.break_off(UpstreamUnreachable(failure.detail)):
                self.connection.abort()
        elif self._may_repeat(failure.ending):
            self._repeat(failure)
        elif failure.ending == Ending.FIRST_BYTE:
            self.fail(UpstreamTimeout(failure.detail))
        else:
            self.fail(UpstreamUnreachable(failure.detail, retry_after=1))

    def _may_repeat(self, ending: Ending) -> bool:
        failures = self._beside.failures
        if failures is None:
            failures = self._beside.failures = Failures(self.live, self.ticket)
        return failures.allow_another(
            ending, method=self.head.method, repeatable=self.kept.repeatable
        )

    def _repeat(self, failure: Failure) -> None:
        """At another replica, from the old place in line."""
        failures = self._beside.failures
        assert failures is not None
        replica = self._replica.replica if self._replica is not None else None
        seconds = self.proxy.clock() - self._dispatched_at
        failures.leave(replica, failure, seconds=seconds)
        if self._pays:
            self.live.keys.end(self.admitted.owner, now=self.proxy.clock())
        if self.admitted.passive is not None:
            self._ask()
        else:
            self._state = WAITING
            self._beside.begin_again()

    # --- from the client ------------------------------------------------------------------------

    def body(self, data: bytes) -> None:
        state = self._state
        if state in (FORWARDING, ASKING):
            passage = self._passage
            if passage is not None and passage.is_open:
                passage.send(data)
            elif self.keep(data) and self.kept.size > BEFORE_CONNECTED:
                self.connection.pause_body()
        elif state == WAITING:
            self._beside.more(data)

    def keep(self, data: bytes) -> bool:
        """False: it is not kept, and that was its end."""
        try:
            self.kept.add(data)
        except ActivatorError as error:
            self.fail(error)
            return False
        return True

    def body_ended(self, trailers: list[Field]) -> None:
        if self.kept.complete:
            return  # it was whole when this was made of it
        self.kept.end(trailers)
        if self._early is not None:
            self._early.whole()
        if self._state == WAITING:
            self._beside.whole()
        elif self._passage is not None and self._passage.is_open:
            self._passage.finish()

    def body_broken(self, error: ActivatorError) -> None:
        if self.connection.answering:
            self.connection.abort()
            self.end(code=self._status, reason=error.reason)
        else:
            self.fail(error)

    def client_left(self) -> None:
        self.end(code=CLIENT_LEFT, reason="client_left")

    def writable(self, *, ok: bool) -> None:
        if self._early is not None:
            self._early.writable(ok=ok)
        if self._attempt is not None:
            if ok:
                self._attempt.resume()
            else:
                self._attempt.pause()

    # --- answers of our own, and the one exit ---------------------------------------------------

    def _answer_passive(self, passive: NeverWake | Preflight) -> None:
        if isinstance(passive, Preflight):
            status, head = 204, preflight_reply(self.head, request_id=self.id)
        else:
            status, head = passive.status, plain_reply(passive.status, request_id=self.id)
        connection = self.connection
        self.end(code=status, reason="never_wakes")
        connection.begin_answer(head, length=0)
        connection.finish()

    def fail(self, error: ActivatorError) -> None:
        """Answer with an error; nothing of the replica's has been passed on."""
        early = self._early
        if early is not None and early.begun:
            self.end(code=error.status, reason=error.reason)
            early.say(error)
            return
        dialect = self.live.endpoint.dialect
        answer = refusal(self.head, error, request_id=self.id, dialect=dialect)
        self.end(code=error.status, reason=error.reason, still_to_send=len(answer.body))
        answer.send(self.connection)

    def end(self, *, code: int, reason: str, still_to_send: int = 0) -> None:
        """Everything is given back, whatever the ending; the connection is left to the caller,
        who sends so many bytes more."""
        if self._state == OVER:
            return
        live, admitted, state = self.live, self.admitted, self._state
        self._state = OVER
        served = state in (FORWARDING, TUNNEL)
        if state == ASKING:
            self.proxy.intake.leave(self)
        aside = self._aside
        if state == WAITING and aside is not None and aside.holding is not None:
            aside.holding.end()
        attempt, self._attempt = self._attempt, None
        self._passage = None
        if attempt is not None:
            attempt.abort()
        live.gate.release(self.ticket)
        if self.kept.spool is not None:
            self.kept.forget()
        is_ours = admitted.passive is None
        if aside is not None:
            is_ours = is_ours and aside.detour is None
            aside.end()
        if is_ours:
            live.gate.leave(served=served)
        now = self.proxy.clock()
        sent = self.connection.sent + still_to_send
        until = self._dispatched_at or now
        in_proxy = until - self.arrived
        if served and admitted.owner and self._pays:
            live.keys.end(admitted.owner, now=now)
        if aside is not None:
            in_proxy = self._tell_aside(aside, code, reason, sent=sent, until=until)
        received = self.connection.received
        self._tell(code, reason, now, received=received, sent=sent, in_proxy=in_proxy)
        if aside is not None:
            aside.forget()
            self._aside = None
