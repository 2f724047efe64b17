"""A request that goes straight: to a replica with room for it, over a connection at hand, and its
answer comes back whole. To a warm endpoint most are so; all that one of them needs is one object,
which its connection keeps for the next.

A `Straight` is its client's `Receiver`, its replica's `Quick` and the ticket of its slot in one.
Whatever else becomes of it (no slot, no connection, an answer in pieces, a client that leaves, a
clock that runs out) is an `Exchange`'s, as that of every other request: it takes over where this
stands. Calls and objects are spared here even where it reads less well: this way costs two thirds
of an Exchange's (`bench path`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from activator.coordination.base import ASKED
from activator.core.dispatch import Ticket, TicketState
from activator.proxy.admission import Peeked
from activator.proxy.body import Body
from activator.proxy.handler import Exchange
from activator.proxy.played import count_tokens, subject_of
from activator.proxy.stencils import fill_upstream, straight_head
from activator.telemetry.requests import answered

if TYPE_CHECKING:
    from activator.core.endpoint import Replica
    from activator.errors import ActivatorError
    from activator.proxy.admitted import Admitted
    from activator.proxy.listener import Proxy
    from activator.proxy.openai.toplevel import Value
    from activator.upstream.registry import LiveReplica
    from activator.wire.client import ClientConnection
    from activator.wire.heads import Field, RequestHead, ResponseHead
    from activator.wire.server import ServerConnection
    from activator.wire.sink import Sink

_NEW: Final = TicketState.NEW


class Straight(Ticket):
    """See the module; `go_straight` makes it."""

    __slots__ = (
        "_admitted", "_asking", "_at", "_body", "_connection", "_found", "_head", "_id",
        "_proxy", "_sent_at", "_upstream",
    )  # fmt: skip

    _proxy: Proxy
    _connection: ServerConnection
    _head: RequestHead
    _admitted: Admitted
    _id: bytes
    _body: bytes
    """All of it, until it is sent."""
    _found: tuple[str, Value] | None
    """Its model, and where that stands in it, if this has led to where it goes."""
    _at: LiveReplica
    _upstream: ClientConnection
    _sent_at: float
    """When it was sent to the replica (monotonic seconds), as `arrived` is when its head came."""
    _asking: Exchange
    """What it has become, where it takes time to say whether there is a slot."""

    # --- from the replica

    def whole(self, head: ResponseHead, body: bytes) -> None:
        admitted, at, proxy = self._admitted, self._at, self._proxy
        live, now, connection = admitted.live, proxy.clock(), self._connection
        gate, arrived, asked = live.gate, self.arrived, self._head
        at.answered_by(self._upstream, now)
        del self._upstream  # it may be closed long before the next request
        live.first_byte(self, at)
        said = straight_head(head, proxy.via, self._id, now - self._sent_at)
        gate.ledger.release(self)
        gate.served(now)
        if admitted.owner:
            live.keys.end(admitted.owner, now=now)
        is_told = connection.answer_at_once(said, body, now)  # its line can wait
        live.metrics.request(head.status, "", now - arrived, self._sent_at - arrived)
        answered(
            admitted.subject or subject_of(admitted, asked),
            self._id,
            head.status,
            now - arrived,
            connection.received,
            len(body),
            at.replica.id,
            connection.peer,
        )
        if not is_told:
            connection.answer(said, body)  # this may be the next request when it returns
        if asked.length:
            count_tokens(admitted, asked, head, body)

    # --- what an Exchange is for

    def become(self, ticket: Ticket | None) -> Exchange:
        """`ticket`: with its slot; None: it has none, and one that waits is kept small."""
        self._connection.note = None
        body = peeked = None
        if self._head.length:
            # once it is sent it is not sent again: the model may have worked on it
            body = Body.of(self._body) if self._body else Body.delivered(self._head.length)
            if self._found is not None:
                peeked = Peeked(*self._found, None, body, None)
        exchange = self._connection.receiver = Exchange(
            self._proxy,
            self._connection,
            self._head,
            self._admitted,
            request_id=self._id,
            arrived=self.arrived,
            peeked=peeked,
            body=body,
            ticket=ticket,
        )
        return exchange

    def wait_for_word(self) -> None:
        self._asking = self.become(self)
        self._asking.waits_for_word()

    def in_steps(self) -> Sink:
        return self.become(self).take_over(self._at, self._upstream, since=self._sent_at)

    def client_left(self) -> None:
        self._upstream.in_steps()
        receiver, self._connection.receiver = self._connection.receiver, None
        assert receiver is not None
        receiver.client_left()

    def writable(self, *, ok: bool) -> None:
        """Its answer has not begun as long as it is one."""

    def body(self, data: bytes) -> None:
        """All of it has been sent."""

    def body_ended(self, trailers: list[Field]) -> None:
        """As `body`."""

    def body_broken(self, error: ActivatorError) -> None:
        """As `body`."""


def go_straight(  # noqa: PLR0917  # called for each request
    proxy: Proxy,
    connection: ServerConnection,
    head: RequestHead,
    admitted: Admitted,
    request_id: bytes,
    arrived: float,
    body: bytes = b"",
    found: tuple[str, Value] | None = None,
) -> None:
    """As far as it can; it may go `straight`. `arrived`: when its head came, monotonic seconds.
    `body`: all of it. `found`: its model, if this has led here, and where that stands."""
    straight: Straight | None = connection.note  # type: ignore[assignment]  # nobody else's
    if straight is None:
        straight = _begun(proxy, connection, admitted)
    elif straight._admitted is not admitted:
        # with many endpoints each request of a connection goes to another
        straight._admitted = admitted
        straight.urgency = admitted.urgency
        straight.affinity = admitted.affinity
    straight.seq = -1
    straight.arrived = arrived
    straight._head = head
    straight._id = request_id
    live = admitted.live
    gate = live.gate
    gate.arrive()
    if body:
        straight._body = body
        straight._found = found
    replica = gate.ledger.acquire_now(straight, _decided)
    if replica is None:
        straight.become(None).must_wait()
        return
    if replica is ASKED:
        straight.wait_for_word()
        return
    now = proxy.clock()
    at = live.sole
    if at is None or at.replica is not replica:
        at = live.replicas.get(replica.id)
    if at is None or (upstream := at.connection_for(repeatable=not body, now=now)) is None:
        straight.become(straight).dispatch(replica)
        return
    straight._at = at
    straight._upstream = upstream
    straight._sent_at = now
    connection.receiver = straight
    if admitted.owner:
        live.keys.begin(admitted.owner, now=now)
    assert admitted.straight is not None
    request = fill_upstream(admitted.straight, head, request_id, connection.peer)
    if body:
        request += body
        straight._body = b""
    upstream.ask(request, head.method, straight, now + live.answer_within)


def _decided(ticket: Ticket, replica: Replica | None) -> None:
    """One for all: a method would be bound anew for each."""
    assert isinstance(ticket, Straight)
    asking = ticket._asking
    del ticket._asking  # they hold each other, and would outlive the request
    asking.decided(ticket, replica)


_new: Final = Straight.__new__


def _begun(proxy: Proxy, connection: ServerConnection, admitted: Admitted) -> Straight:
    """What all requests of this connection have in common. The next one takes the same object: it
    is nobody's any more once it is answered as a `whole`, and given up as soon as it has `become`
    something else."""
    straight = connection.note = _new(Straight)
    straight.passive = False
    straight.exclude = ()
    straight.state = _NEW
    straight.replica = straight.entry = None
    straight._proxy = proxy
    straight._connection = connection
    straight._body = b""
    straight._found = None
    straight._admitted = admitted
    straight.urgency = admitted.urgency
    straight.affinity = admitted.affinity
    return straight
