"""One request's time in line: its body collected and kept, its place, its deadline.

A held request's body goes to the store while nothing is ready, and may stay in memory while a
ready replica is only busy; a body that is too large stays in its socket. What happens before and
after is `handler`'s.
"""

from __future__ import annotations

import logging
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

from activator.aiokit.deadlines import Timed
from activator.core.endpoint import Dialect
from activator.core.held import HeldRequest, shown_path
from activator.errors import ActivatorError, StoreUnavailable
from activator.proxy.spool import IN_MEMORY, Spool
from activator.proxy.waiting import refuse_hopeless, why_over
from activator.queueing.base import DEFAULT_TTL
from activator.wire.heads import CHUNKED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activator.core.dispatch import Ticket
    from activator.core.endpoint import Replica
    from activator.proxy.body import Body
    from activator.proxy.listener import Proxy
    from activator.queueing.base import Handle
    from activator.upstream.registry import LiveEndpoint
    from activator.wire.heads import RequestHead
    from activator.wire.server import ServerConnection


_log = logging.getLogger("activator.proxy")


# The states: plain numbers of the module, for they are compared several times a request.
_COLLECTING: Final = 0
"""Its body is arriving; it has no place in line yet."""
_STORING: Final = 1
_WAITING: Final = 2
"""It has a place in line."""
_FETCHING: Final = 3
"""It has a slot; its body comes back from the store."""
_OVER: Final = 4


class Waiter(Protocol):
    """Whose request it is. One of the two is called, once."""

    def granted(self, replica: Replica) -> None:
        """Its turn: a slot is reserved, the body is back in memory."""

    def refused(self, error: ActivatorError) -> None:
        """It waits in vain."""


class Holding(Timed):
    """See the module. `begin` may raise; after `end` nothing is called any more."""

    __slots__ = (
        "_body",
        "_connection",
        "_handle",
        "_head",
        "_live",
        "_most",
        "_owner",
        "_proxy",
        "_reads_on",
        "_reserved",
        "_since",
        "_state",
        "_ticket",
        "_waiter",
        "_within",
        "cold",
        "request_id",
        "waited",
        "woken_after",
    )

    def __init__(
        self,
        proxy: Proxy,
        live: LiveEndpoint,
        ticket: Ticket,
        *,
        connection: ServerConnection,
        head: RequestHead,
        body: Body,
        request_id: bytes,
        owner: str,
        within: float | None,
        waiter: Waiter,
    ) -> None:
        """`owner`: as in Admitted. `within`: seconds in which the client wants the answer to begin,
        from now."""
        self._proxy = proxy
        self._live = live
        self._ticket = ticket
        self._connection = connection
        self._head = head
        self._body = body
        self.request_id = request_id
        self._owner = owner
        self._within = within
        self._waiter = waiter
        policy = live.endpoint
        self._reads_on = policy.dialect is Dialect.OPENAI and policy.heartbeat > 0
        self._most = policy.queue.buffer_bytes
        """Bytes of its body that are read while it waits."""
        if self._reads_on:
            self._most = max(self._most, proxy.openai.peek_bytes)
        self._state = _OVER
        self._handle: Handle | None = None
        self._reserved = 0
        self._since = 0.0
        self.deadline = self.looked_at = inf
        self.cold = live.cold
        """Nothing was ready when it came: it waits for a start."""
        self.waited = 0.0
        """Seconds in line so far."""
        self.woken_after = 0.0
        """Of these, seconds until a replica was ready."""

    # --- its course -----------------------------------------------------------------------------

    def begin(self) -> None:
        """Raises what is known already: a bound is reached, it is hopeless, it asks nonsense."""
        refuse_hopeless(self._live, within=self._within)
        self._start_clock(self._live.gate.hold(self))
        self._state = _COLLECTING
        length, most = self._head.length, self._most
        if self._body.complete:
            self._line_up()
        elif length > most or self._body.size > most:
            self._connection.pause_body()
            self._line_up()
        elif self._proxy.intake.enter(self, self._room):
            self.may_read()
        else:
            self._connection.pause_body()

    @property
    def _room(self) -> int:
        """Bytes of memory that its body takes at most."""
        room = self._most if self._head.length == CHUNKED else self._head.length
        return min(room, IN_MEMORY) if self._reads_on else room

    def may_read(self) -> None:
        self._connection.send_continue()
        self._connection.resume_body()

    def begin_again(self) -> None:
        """Back at its old place after a replica failed it; no bound applies any more."""
        self._state = _WAITING
        self._start_clock(self._live.gate.hold_again(self))
        self._wait()

    def more(self, data: bytes) -> None:
        """Its body goes on arriving."""
        try:
            self._live.gate.hold_bytes(len(data))
            self._body.add(data)
            if self._reads_on and self._body.spool is None and self._body.size > IN_MEMORY:
                self._spill()
        except ActivatorError as error:
            self._waiter.refused(error)
            return
        if self._body.size > self._most:
            self._connection.pause_body()
            if self._state == _COLLECTING:
                self._line_up()

    def _spill(self) -> None:
        """Into a file: what is asked for at its end must be known, and it is too large for here."""
        length, most = self._head.length, self._most
        room = most if length == CHUNKED else min(length, most)
        spool = Spool(self._proxy.spools, room=room, admitted=self._connection.resume_body)
        self._body.spill(spool)
        self._proxy.intake.leave(self)
        if not spool.has_room:
            self._connection.pause_body()

    def whole(self) -> None:
        """Its body is complete."""
        if self._state == _COLLECTING:
            self._line_up()

    def end(self) -> None:
        """It waits no longer, whatever the reason; the ticket is left to its owner."""
        state, proxy = self._state, self._proxy
        if state == _OVER:
            return
        self._state = _OVER
        waited = proxy.clock() - self._since
        self.waited += waited
        if self.cold:
            self._has_waited_for_a_start(waited)
        self.deadline = inf
        if self.looked_at != inf:
            proxy.deadlines.forget(self)
        if state <= _STORING:  # later it has left
            proxy.intake.leave(self)
        self._live.gate.unhold(self)
        if self._reserved:
            proxy.held_memory.free(self._reserved)
            self._reserved = 0
        handle, self._handle = self._handle, None
        if handle is not None:
            self._live.tasks.spawn(self._proxy.store.discard(handle), name="discard")

    def _has_waited_for_a_start(self, waited: float) -> None:
        """`waited`: seconds since it began to; a replica may have been ready meanwhile."""
        live = self._live
        cold = waited
        if not live.cold:
            cold = min(max(0.0, live.warm_since - self._since), waited)
            self.woken_after += cold
        if self._owner:
            live.keys.waited(self._owner, cold, now=self._since + waited)

    # --- as gate's Holder and on the clock ------------------------------------------------------

    @property
    def held_bytes(self) -> int:
        return self._body.size

    @property
    def described(self) -> HeldRequest:
        ticket, head = self._ticket, self._head
        return HeldRequest(
            id=self.request_id.decode(),
            place=self._live.gate.place(ticket),
            seconds=max(0.0, self._proxy.clock() - ticket.arrived),
            key=self._owner,
            method=head.method.decode(),
            path=shown_path(head.target),
            urgency=ticket.urgency,
            held_bytes=self._body.size,
        )

    def refused(self, error: ActivatorError) -> None:
        self._waiter.refused(error)

    def on_deadline(self, now: float) -> None:
        waited = self.waited + self._proxy.clock() - self._since
        self._waiter.refused(why_over(self._live, waited=waited, within=self._within))

    def _start_clock(self, now: float) -> None:
        self._since = now
        timeout = self._live.endpoint.queue.timeout
        left = min(timeout or inf, inf if self._within is None else self._within) - self.waited
        self.deadline = now + left
        self._proxy.deadlines.arm(self)

    # --- the line and the store -----------------------------------------------------------------

    def _line_up(self) -> None:
        """Take a place in line; a whole body goes to the store unless it may stay in memory."""
        size, memory = self._body.size, self._proxy.held_memory
        if not size or not self._body.complete or self._body.spool is not None:
            self._wait()
        elif not self._live.cold and memory.reserve(size):
            self._reserved = size
            self._wait()
        else:
            self._state = _STORING
            self._proxy.intake.squeeze_in(self)
            self._store()

    def _store(self) -> None:
        endpoint, head = self._live.endpoint, self._head
        about = {"request": self.request_id, "method": head.method, "target": head.target}
        ttl = endpoint.queue.timeout or DEFAULT_TTL
        try:
            self._proxy.store.keep_then(
                endpoint.name, self._body.chunks, self._kept, about=about, ttl=ttl
            )
        except Exception:
            if self._state != _STORING:
                raise  # that was not the store's
            _log.exception("a body could not be stored", extra={"action": "not_stored"})
            self._stay_in_memory(StoreUnavailable("The body could not be stored"))

    def _kept(self, said: Handle | StoreUnavailable) -> None:
        if isinstance(said, StoreUnavailable):
            self._stay_in_memory(said)
        elif self._state != _STORING:
            self._live.tasks.spawn(self._proxy.store.discard(said), name="discard")
        else:
            self._handle = said
            self._body.stored(said.size)
            self._wait()

    def _stay_in_memory(self, why: StoreUnavailable) -> None:
        if self._state != _STORING:
            return
        if self._proxy.held_memory.reserve(self._body.size):
            self._reserved = self._body.size
            self._wait()
        else:
            self._waiter.refused(why)

    def _wait(self) -> None:
        self._state = _WAITING
        self._proxy.intake.leave(self)
        replica = self._live.gate.acquire(self._ticket, self)
        if replica is not None:
            self(self._ticket, replica)
        else:
            self._head.fold()

    def __call__(self, ticket: Ticket, replica: Replica) -> None:
        """Its turn has come, as a ledger's `Granted`: a method bound for each of thousands in line
        would be one object more."""
        handle = self._handle
        if handle is None:
            self.end()
            self._waiter.granted(replica)
            return
        self._state = _FETCHING
        try:
            # a task for each of thousands in line costs more than what it would do
            chunks = self._proxy.store.take_now(handle)
        except Exception as error:
            if not self._is_told_of(error):
                raise
            return
        if chunks is None:
            self._live.tasks.spawn(self._fetch(handle, replica), name="fetch")
        else:
            self._fetched(chunks, replica)

    async def _fetch(self, handle: Handle, replica: Replica) -> None:
        try:
            chunks = await self._proxy.store.take(handle)
        except Exception as error:
            if not self._is_told_of(error):
                raise
            return
        self._fetched(chunks, replica)

    def _is_told_of(self, error: Exception) -> bool:
        """The body does not come back, and nobody waits for it any longer. False: it is a mistake
        of ours, which has to be told elsewhere, too."""
        foreseen = error if isinstance(error, StoreUnavailable) else None
        if self._state == _FETCHING:
            self._waiter.refused(foreseen or StoreUnavailable("The body could not be read back"))
        return foreseen is not None

    def _fetched(self, chunks: Sequence[bytes], replica: Replica) -> None:
        if self._state == _FETCHING:
            self._handle = None
            self._body.restore(chunks)
            self.end()
            self._waiter.granted(replica)
