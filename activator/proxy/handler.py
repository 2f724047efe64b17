"""One request that was admitted, on one page: (hold → wait) → forward → answer, or say why not.

An `Exchange` is told what happens on the client's connection (wire's `Receiver`), on the
replica's (upstream's `Answer`) and in the line (`holding`'s `Waiter`), and moves through its
states. It creates no task unless it has to connect. Whatever the ending, `_end` gives everything
back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from activator.coordination.base import ASKED
from activator.core.endpoint import Dialect
from activator.errors import ActivatorError, UpstreamTimeout, UpstreamUnreachable
from activator.proxy.admitted import Preflight
from activator.proxy.answering import Answering
from activator.proxy.body import NO_BODY, Body
from activator.proxy.browser.navigation import is_navigation
from activator.proxy.browser.page import is_shown, show_page, why_not_yet
from activator.proxy.browser.visits import visit
from activator.proxy.detour import detour_of
from activator.proxy.holding import Holding
from activator.proxy.openai.early import EarlyAnswer
from activator.proxy.outbound import outbound_head, outbound_to
from activator.proxy.passage import Passage
from activator.proxy.played import (
    ASKING,
    DETOUR,
    FORWARDING,
    HELD,
    NEW,
    OVER,
    RESUMING,
    TUNNEL,
)
from activator.proxy.replies import plain_reply, preflight_reply, refusal
from activator.proxy.retrying import Failures
from activator.proxy.sent import Sent
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
CLIENT_LEFT: Final = 499
"""nginx's code for it: seen in metrics only, since nobody is there to read an answer."""


class Exchange(Answering):
    """See the module."""

    __slots__ = ("_granted",)

    _granted: Replica

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
        self._proxy = proxy
        self._connection = connection
        self._head = head
        self._admitted = admitted
        self._live = admitted.live
        self._ticket = ticket or admitted.ticket(arrived=arrived)
        self._id = request_id
        self._arrived = arrived
        self._peeked = peeked
        if peeked is not None:
            self._body = peeked.body
        else:
            self._body = body or (Body(complete=False) if head.length else NO_BODY)
        self._attempt = self._passage = None
        self._replica = None
        self._state = NEW
        self._attempts = 0
        self._dispatched_at = 0.0
        self._aside = None
        if proxy.tracer is not None:
            self._begin_trace()

    def start(self) -> None:
        """Everything that can be done at once; the rest happens as it is told."""
        if self._admitted.passive is None:
            self._live.gate.arrive()
        self._ask()

    def _ask(self) -> None:
        """For a slot, now or never."""
        replica = self._live.gate.acquire_now(self._ticket, self.decided)
        if replica is ASKED:
            self.waits_for_word()
        elif replica is not None:
            self.dispatch(replica)
        else:
            self.must_wait()

    def must_wait(self) -> None:
        """There is no slot for it now."""
        self.decided(self._ticket, None)

    def waits_for_word(self) -> None:
        """`decided` is called: whoever keeps the slots was asked."""
        self._state = ASKING
        length = self._head.length
        if length:
            room = BEFORE_CONNECTED if length == CHUNKED else min(length, BEFORE_CONNECTED)
            if not self._proxy.intake.enter(self, room):
                self._connection.pause_body()

    @property
    def held_bytes(self) -> int:
        return self._body.size

    def may_read(self) -> None:
        self._connection.resume_body()

    def decided(self, ticket: Ticket, replica: Replica | None) -> None:
        if self._state == ASKING and self._head.length:
            self._proxy.intake.leave(self)
        passive = self._admitted.passive
        if replica is not None:
            self.dispatch(replica)
        elif passive is not None:
            self._answer_passive(passive)
        elif not self._leave_for_fallback():
            self._hold()

    # --- at the fallback ------------------------------------------------------------------------

    def _leave_for_fallback(self) -> bool:
        """False: nobody there would take it."""
        detour = detour_of(
            self._proxy,
            self._live,
            self,
            connection=self._connection,
            head=self._head,
            body=self._body,
            admitted=self._admitted,
            peeked=self._peeked,
            request_id=self._id,
            arrived=self._arrived,
        )
        if detour is None:
            return False
        self._state = DETOUR
        self._beside.detour = detour
        self._live.gate.leave_for_elsewhere()
        self._wait_aloud()
        detour.begin()
        return True

    def set_out(self) -> None:
        aside = self._beside
        detour, early = aside.detour, aside.early
        assert detour is not None
        self._state = FORWARDING
        self._attempts += 1
        self._dispatched_at = self._proxy.clock()
        aside.elsewhere = detour.whole_at - self._arrived
        identity = False
        if early is not None:
            identity, early.elsewhere = early.waits_aloud, detour.name
        self._set_off(detour.attempt(identity=identity, trace=aside.trace))

    def turned_back(self) -> None:
        self._attempt = self._passage = None
        aside = self._beside
        aside.detour = None
        if aside.trace is not None:
            aside.trace.failed("the fallback gave no answer")
        self._dispatched_at = 0.0
        aside.elsewhere = self._proxy.clock() - self._arrived
        if aside.early is not None:
            aside.early.elsewhere = ""
        self._live.gate.arrive()
        self._hold()

    def broken(self, error: ActivatorError) -> None:
        self._fail(error)

    # --- held -----------------------------------------------------------------------------------

    def _hold(self) -> None:
        if is_shown(self._live) and is_navigation(self._head):
            self._show_page()
            return
        self._state = HELD
        holding = self._beside.holding = self._new_holding()
        self._wait_aloud()
        try:
            holding.begin()
        except ActivatorError as error:
            self._fail(error)

    def _show_page(self) -> None:
        """A person does not wait on the socket: the page waits with them."""
        visit(self._proxy, self._live, request_id=self._id)
        error = why_not_yet(self._live)
        self._end(code=error.status, reason=error.reason)
        show_page(self._connection, self._head, self._live, error, request_id=self._id)

    def _new_holding(self) -> Holding:
        within = self._admitted.within
        if within is not None:
            within -= self._beside.elsewhere
        return Holding(
            self._proxy,
            self._live,
            self._ticket,
            connection=self._connection,
            head=self._head,
            body=self._body,
            request_id=self._id,
            owner=self._admitted.owner,
            within=within,
            waiter=self,
        )

    def _wait_aloud(self) -> None:
        if self._live.endpoint.dialect is Dialect.OPENAI and self._early is None:
            early = self._beside.early = self._new_early()
            early.wait(self._body, None if self._peeked is None else self._peeked.reading)

    def _new_early(self) -> EarlyAnswer:
        return EarlyAnswer(
            self._proxy,
            self._live,
            self._connection,
            self._head,
            place=self._place,
            owner=self._admitted.owner,
            request_id=self._id,
            arrived=self._arrived,
            give_up=self._fail,
        )

    def _place(self) -> int | None:
        return self._live.gate.place(self._ticket)

    def granted(self, replica: Replica) -> None:
        connection = self._connection
        failures = self._beside.failures
        if failures is not None and failures.has_met(replica):
            self._pass_over(failures, replica)
        elif connection.body_paused and (connection.continued or not self._head.expects_continue):
            # behind unread bytes nobody can see whether the client has left: they must flow first
            self._state = RESUMING
            self._granted = replica
            connection.resume_body()
        elif not self._send_whole(replica):
            self.dispatch(replica)

    def refused(self, error: ActivatorError) -> None:
        self._fail(error)

    # --- at a replica ---------------------------------------------------------------------------

    def dispatch(self, replica: Replica) -> None:
        """It has a slot there."""
        self._state = FORWARDING
        self._attempts += 1
        self._dispatched_at = self._proxy.clock()
        live, admitted = self._live, self._admitted
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
            self._proxy,
            self._connection,
            self._head,
            admitted,
            request_id=self._id,
            identity=identity,
            parent=parent,
        )
        self._set_off(Attempt(live, live_replica, outbound, self, whole))

    def _send_whole(self, replica: Replica) -> bool:
        """To a replica with a connection at hand, all at once. False: it takes more to do."""
        body, head, aside, live = self._body, self._head, self._aside, self._live
        at = live.replicas.get(replica.id)
        if at is None or aside is None or aside.early is not None or aside.trace is not None:
            return False
        if self._attempts or not body.complete or body.size > BEFORE_CONNECTED:
            return False
        if body.spool is not None or head.length == CHUNKED or head.websocket:
            return False
        now, method = self._proxy.clock(), head.method
        is_repeatable = method in IDEMPOTENT
        if method == b"HEAD":
            return False
        upstream = at.connection_for(repeatable=is_repeatable, now=now)
        if upstream is None:
            return False
        admitted, connection = self._admitted, self._connection
        self._state, self._attempts, self._dispatched_at, self._replica = FORWARDING, 1, now, at
        if admitted.owner:
            live.keys.begin(admitted.owner, now=now)
        self._attempt = sent = Sent(self, at, upstream, since=now)
        said = outbound_head(replica, self._proxy, connection, head, admitted, request_id=self._id)
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
            self._live, replica, self, self.whole, connection=connection, since=since
        )
        return self._attempt

    def _set_off(self, attempt: Attempt) -> None:
        self._attempt = attempt
        if self._head.length:
            is_last = self._head.method not in IDEMPOTENT and self._detour is None
            self._passage = Passage(self._connection, self._body, attempt, is_last=is_last)
        attempt.begin()

    @property
    def body_at_hand(self) -> bool:
        body = self._body
        return bool(body.chunks) or body.spool is not None or self._connection.body_at_hand

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
            self._live.unreachable(self._replica.replica.id, failure.detail)
        if failure.ending == Ending.MIDWAY:
            early = self._early
            self._end(code=self._status, reason="broken_off")
            if early is None or not early.break_off(UpstreamUnreachable(failure.detail)):
                self._connection.abort()
        elif self._may_repeat(failure.ending):
            self._repeat(failure)
        elif failure.ending == Ending.FIRST_BYTE:
            self._fail(UpstreamTimeout(failure.detail))
        else:
            self._fail(UpstreamUnreachable(failure.detail, retry_after=1))

    def _may_repeat(self, ending: Ending) -> bool:
        failures = self._beside.failures
        if failures is None:
            failures = self._beside.failures = Failures(self._live, self._ticket)
        return failures.allow_another(
            ending, method=self._head.method, repeatable=self._body.repeatable
        )

    def _repeat(self, failure: Failure) -> None:
        """At another replica, from the old place in line."""
        failures = self._beside.failures
        assert failures is not None
        replica = self._replica.replica if self._replica is not None else None
        seconds = self._proxy.clock() - self._dispatched_at
        failures.leave(replica, failure, seconds=seconds)
        if self._pays:
            self._live.keys.end(self._admitted.owner, now=self._proxy.clock())
        if self._admitted.passive is not None:
            self._ask()
        else:
            self._wait_again()

    def _pass_over(self, failures: Failures, replica: Replica) -> None:
        """It has been at this server, which may be back under another id."""
        if failures.pass_over(replica):
            self._wait_again()
        else:
            detail = f"replica {replica.id} ended without an answer, and there is no other"
            self._fail(UpstreamUnreachable(detail, retry_after=1))

    def _wait_again(self) -> None:
        self._state = HELD
        holding = self._holding
        if holding is None:
            holding = self._beside.holding = self._new_holding()
        self._wait_aloud()
        holding.begin_again()

    # --- from the client ------------------------------------------------------------------------

    def body(self, data: bytes) -> None:
        state = self._state
        if state in (FORWARDING, ASKING):
            passage = self._passage
            if passage is not None and passage.is_open:
                passage.send(data)
            elif self._keep(data) and self._body.size > BEFORE_CONNECTED:
                self._connection.pause_body()
        elif state == RESUMING:
            if self._keep(data):
                self.dispatch(self._granted)
        elif (keeper := self._detour or self._holding) is not None:
            keeper.more(data)
            if self._early is not None:
                self._early.more(data)

    def _keep(self, data: bytes) -> bool:
        try:
            self._body.add(data)
        except ActivatorError as error:
            self._fail(error)
            return False
        return True

    def body_ended(self, trailers: list[Field]) -> None:
        if self._body.complete:
            return  # it was whole when this was made of it
        self._body.end(trailers)
        if self._early is not None:
            self._early.whole()
        if self._state == RESUMING:
            self.dispatch(self._granted)
        elif self._state == DETOUR and self._detour is not None:
            self._detour.whole()
        elif self._state == HELD and self._holding is not None:
            self._holding.whole()
        elif self._passage is not None and self._passage.is_open:
            self._passage.finish()

    def body_broken(self, error: ActivatorError) -> None:
        if self._connection.answering:
            self._connection.abort()
            self._end(code=self._status, reason=error.reason)
        else:
            self._fail(error)

    def client_left(self) -> None:
        self._end(code=CLIENT_LEFT, reason="client_left")

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
            status, head = 204, preflight_reply(self._head, request_id=self._id)
        else:
            status, head = passive.status, plain_reply(passive.status, request_id=self._id)
        connection = self._connection
        self._end(code=status, reason="never_wakes")
        connection.begin_answer(head, length=0)
        connection.finish()

    def _fail(self, error: ActivatorError) -> None:
        """Answer with an error; nothing of the replica's has been passed on."""
        early = self._early
        if early is not None and early.begun:
            self._end(code=error.status, reason=error.reason)
            early.say(error)
            return
        dialect = self._live.endpoint.dialect
        answer = refusal(self._head, error, request_id=self._id, dialect=dialect)
        self._end(code=error.status, reason=error.reason, still_to_send=len(answer.body))
        answer.send(self._connection)

    def _end(self, *, code: int, reason: str, still_to_send: int = 0) -> None:
        """Everything is given back, whatever the ending; the connection is left to the caller,
        who sends so many bytes more."""
        if self._state == OVER:
            return
        live, admitted, state = self._live, self._admitted, self._state
        self._state = OVER
        served = state in (FORWARDING, TUNNEL)
        if state == ASKING:
            self._proxy.intake.leave(self)
        aside = self._aside
        if state == HELD and aside is not None and aside.holding is not None:
            aside.holding.end()
        attempt, self._attempt = self._attempt, None
        self._passage = None
        if attempt is not None:
            attempt.abort()
        live.gate.release(self._ticket)
        if self._body.spool is not None:
            self._body.forget()
        detour = None
        if aside is not None:
            detour = aside.detour
            if aside.early is not None:
                aside.early.close()
            if detour is not None:
                detour.end()
        if detour is None and admitted.passive is None:
            live.gate.leave(served=served)
        now = self._proxy.clock()
        sent = self._connection.sent + still_to_send
        until = self._dispatched_at or now
        in_proxy = until - self._arrived
        if served and admitted.owner and self._pays:
            live.keys.end(admitted.owner, now=now)
        if aside is not None:
            in_proxy = self._tell_aside(aside, code, reason, sent=sent, until=until)
        received = self._connection.received
        self._tell(code, reason, now, received=received, sent=sent, in_proxy=in_proxy)
        self._aside = None  # what is in it holds this, too: both would outlive the request
