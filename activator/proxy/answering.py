"""The answer to a request that is being played: as it comes from the replica, to the client.

Implements the part of upstream's `Answer` in which there is one; what becomes of a request without
one, and what is given back in the end, is `handler`'s.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from activator.core.endpoint import Dialect
from activator.proxy.body import NO_BODY
from activator.proxy.headers import downstream_head, interim_head
from activator.proxy.played import OVER, TUNNEL, Played, count_tokens
from activator.proxy.stencils import straight_head, waited_head
from activator.proxy.timing import timing, waits
from activator.upstream.forward import Attempt
from activator.wire.heads import CHUNKED
from activator.wire.tunnel import Tunnel

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.core.dispatch import Ticket
    from activator.proxy.body import Body
    from activator.proxy.passage import Passage
    from activator.proxy.sent import Sent
    from activator.upstream.registry import LiveReplica
    from activator.wire.client import ClientConnection
    from activator.wire.heads import Field, ResponseHead


class Answering(Played):
    """See the module."""

    __slots__ = ("_attempt", "_passage", "_state", "_status", "data", "kept", "ticket")

    _attempt: Attempt | Sent | None
    kept: Body
    _passage: Passage | None
    """Of its body, if it has one, to where it is sent."""
    _state: int
    _status: int
    """Of the answer that has begun."""
    ticket: Ticket
    data: Callable[[bytes], None]
    """Takes the bytes of the answer, once it has begun: whatever stands between here and the client
    is passed over, since a stream comes this way with every token."""

    @abstractmethod
    def end(self, *, code: int, reason: str, still_to_send: int = 0) -> None:
        """Everything is given back, whatever the ending; the connection is left to the caller,
        who sends so many bytes more."""

    def interim(self, head: ResponseHead) -> None:
        if self.connection.answering or self._detour is not None:
            # it has begun with a sign of life: nothing may precede it any more; or it may turn out
            # that the fallback has no answer
            return
        if head.status != 100:
            self.connection.send_interim(interim_head(head))
        elif self.head.expects_continue:
            self.connection.send_continue()

    def answered(self, head: ResponseHead, *, followed: bool) -> None:
        if self._detour is not None:
            passed_on = self._detour.answered(head)
            if passed_on is None:
                return
            head = passed_on
        self._note_answer(head.status)
        self.kept.forget()
        connection, early = self.connection, None
        if self.live.endpoint.dialect is Dialect.OPENAI:
            early = self._beside.speak()
            self.data = early.data
        else:
            self.data = connection.send
        if early is None or not early.answered(head):
            connection.begin_answer(self._head_of(head), length=head.length, followed=followed)
        elif connection.full and self._attempt is not None:
            self._attempt.pause()  # the client had been told of it before there was what to pause
        if head.length == CHUNKED and isinstance(self._attempt, Attempt):
            if early is not None:
                early.take_chunks(self._attempt)
            elif connection.takes_chunks:
                self._attempt.pass_chunks(connection.send_chunk)

    def _head_of(self, head: ResponseHead) -> bytes:
        aside, upstream = self._aside, self._answered_at - self._dispatched_at
        if aside is None:
            return straight_head(head, via=self.proxy.via, request_id=self.id, upstream=upstream)
        holding = aside.holding
        if holding is not None and aside.detour is None:
            return waited_head(
                head,
                via=self.proxy.via,
                request_id=self.id,
                cold=holding.cold,
                waits=waits(holding),
                upstream=upstream,
            )
        return downstream_head(
            head,
            via=self.proxy.via,
            request_id=self.id,
            cold=self._holding is not None and self._holding.cold,
            timing=timing(self._holding, upstream=upstream),
            served_by="" if self._detour is None else self._detour.name,
        )

    def _note_answer(self, status: int) -> None:
        self._status = status
        aside = self._aside
        if aside is not None and aside.trace is not None:
            aside.trace.answered(status)
        self._answered_at = self.proxy.clock()
        if self._replica is not None and (aside is None or aside.detour is None):
            self.live.first_byte(self.ticket, self._replica)

    def whole(self, head: ResponseHead, body: bytes) -> None:
        """`answered`, `data` and `ended`, for an answer that nothing was sent before."""
        self._attempt = self._passage = None
        if self.kept is not NO_BODY:
            self.kept.forget()
        self._note_answer(head.status)
        said = self._head_of(head)
        self.end(code=head.status, reason="", still_to_send=len(body))
        count_tokens(self.admitted, self.head, head, body)
        self.connection.answer(said, body)

    def whole_after_wait(
        self, head: ResponseHead, body: bytes, at: LiveReplica, upstream: ClientConnection
    ) -> None:
        """`whole`, for a request that has waited and then was sent there whole: the rest of what
        `_end` sees to cannot be."""
        self._attempt = None
        if self.kept is not NO_BODY:
            self.kept.forget()
        live, admitted, aside, now = self.live, self.admitted, self._aside, self.proxy.clock()
        assert aside is not None
        holding = aside.holding
        assert holding is not None
        gate, ticket, since = live.gate, self.ticket, self._dispatched_at
        at.answered_by(upstream, now)
        live.first_byte(ticket, at)
        said = waited_head(
            head,
            via=self.proxy.via,
            request_id=self.id,
            cold=holding.cold,
            waits=waits(holding),
            upstream=now - since,
        )
        self._state = OVER
        gate.release(ticket)
        gate.served(now)
        if admitted.owner:
            live.keys.end(admitted.owner, now=now)
        live.metrics.waited(holding.waited)
        connection, sent = self.connection, len(body)
        received = connection.received
        in_proxy = max(0.0, since - self.arrived - holding.waited - aside.elsewhere)
        is_told = connection.answer_at_once(said, body, now)  # its line can wait
        self._tell(head.status, "", now, received=received, sent=sent, in_proxy=in_proxy)
        aside.forget()
        self._aside = None
        if not is_told:
            connection.answer(said, body)

    def ended(self, trailers: list[Field]) -> None:
        self._attempt = self._passage = None
        connection, early = self.connection, self._early
        self.end(code=self._status, reason="" if self._detour is None else "fallback")
        if early is not None:
            trailers = early.ended(trailers)
        connection.finish(trailers)

    def upgraded(self, head: ResponseHead, rest: bytes, connection: ClientConnection) -> None:
        self._attempt = None
        self._state = TUNNEL
        self._note_answer(head.status)
        end = connection.leave_to_tunnel()
        tunnel = end.tunnel = Tunnel(
            self.connection, end, clock=self.proxy.clock, ended=self._tunnel_ended
        )
        self.live.gate.open_tunnel(tunnel)
        switch = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
        self.connection.become_tunnel(self._head_of(head) + switch, tunnel)
        if rest:
            tunnel.moved(end, rest)

    def _tunnel_ended(self, tunnel: Tunnel) -> None:
        self.live.gate.close_tunnel(tunnel)
        self.end(code=self._status, reason="")

    def upstream_writable(self, *, ok: bool) -> None:
        if self._passage is not None:
            self._passage.writable(ok=ok)
