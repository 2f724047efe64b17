"""One client's socket: when it is read from and how much at a time, tunnels, and how it ends.

Reading pauses while nobody wants more, for what is left in a socket costs us nothing; meanwhile
the kernel tells whether the client hangs up. Requests, answers and clocks are left to `server`,
which builds on this: one object a connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from abc import abstractmethod
from math import inf
from typing import TYPE_CHECKING, Final

from activator.aiokit.deadlines import Timed
from activator.aiokit.taking import taken_by
from activator.wire.farewell import Farewell
from activator.wire.incoming import Incoming
from activator.wire.pouring import pour
from activator.wire.sipping import Sipping, hand_over

if TYPE_CHECKING:
    from activator.wire.service import Receiver, ServerKit
    from activator.wire.tunnel import Tunnel

PIPELINE_BYTES: Final = 64 << 10
"""Bytes of following requests that are kept while one is being answered; then reading pauses."""
_RESET: Final = struct.pack("ii", 1, 0)

# The states: plain numbers of the module, for they are compared several times a request.
HEAD: Final = 0
"""Between requests, or in the middle of a head."""
BODY: Final = 1
"""The body of the request is coming; it may be answered already."""
ANSWER: Final = 2
"""The request is complete, its answer is not."""
TUNNEL: Final = 3
CLOSED: Final = 4
"""Nothing of ours any more; a `Farewell` may still see it off."""


class Accepted(asyncio.Protocol, Timed):
    """See the module. What it leaves open is `ServerConnection`'s."""

    __slots__ = (
        "_body_paused",
        "_fd",
        "_full",
        "_incoming",
        "_kit",
        "_reading",
        "_replaced",
        "_state",
        "_transport",
        "note",
        "received",
        "receiver",
        "sent",
        "tunnel",
    )

    def __init__(self, kit: ServerKit) -> None:
        self._kit = kit
        self._state = HEAD
        self._transport: asyncio.Transport
        self._fd = -1
        """Of a socket that is not read from, while its hanging up is looked for."""
        self._incoming = Incoming(kit.limits.head, kit.known)
        self._reading = True
        self._replaced = False
        """Something stands in for it at its transport, and reads less at a time, or more."""
        self._body_paused = False
        self._full = False
        self.deadline = self.looked_at = inf
        self.note: object = None
        """What the service keeps of one request for the next on this connection, while there may
        be one and memory is not scarce."""
        self.receiver: Receiver | None = None
        self.tunnel: Tunnel | None = None
        self.received = self.sent = 0
        """Bytes of the present request's body, and of its answer's; of a tunnel, all of them."""

    # --- what is left open ----------------------------------------------------------------------

    @abstractmethod
    def _run_body_clock(self) -> None:
        """Reading goes on, in the middle of a body."""

    @abstractmethod
    def _tell_closed(self) -> None:
        """Nothing is left of the connection; called more than once, told once."""

    # --- reading --------------------------------------------------------------------------------

    @property
    def body_paused(self) -> bool:
        """The rest of the body is left in its socket."""
        return self._body_paused

    def pause_body(self) -> None:
        """Leave the rest of the body in the socket; a client that leaves is noticed anyway."""
        if self._state == BODY and not self._body_paused:
            self._body_paused = True
            self._apply_reading()

    def resume_body(self) -> None:
        if self._body_paused:
            self._body_paused = False
            self._apply_reading()
        if self._replaced:
            self.gulp()

    def sip(self) -> None:
        """Read a little at a time, if no body is being read."""
        self.note = None
        if self._state == HEAD and not self._replaced and not self._transport.is_closing():
            self._replaced = True
            hand_over(self._transport, Sipping(self, self._kit.cup), reading=self._reading)

    @property
    def reading(self) -> bool:
        return self._reading

    @property
    def owed(self) -> int:
        """Bytes of the request's body that have not come, if its length was announced; else 0."""
        return self._incoming.owed

    def pour(self) -> None:
        """Read very much at a time, until the body has come, or is resumed. It is only lent to
        whoever receives the request, who passes it on at once, unread."""
        if self._state == BODY and not self._replaced:
            self._replaced = pour(self._transport, self, self._kit.jug)

    def gulp(self) -> None:
        """Read whatever there is."""
        if self._replaced:
            self._replaced = False
            hand_over(self._transport, self, reading=self._reading)

    def _apply_reading(self) -> None:
        wanted = not self._body_paused and self._incoming.unread <= PIPELINE_BYTES
        if wanted == self._reading or self._state == CLOSED:
            return
        if wanted:
            self._reading = True
            self._look_no_more()
            self._transport.resume_reading()
            if self._state == BODY:
                self._run_body_clock()
        else:
            self._pause_transport()
            if self._state == BODY:
                self.deadline = inf

    def _pause_transport(self) -> None:
        if self._reading:
            self._reading = False
            self._transport.pause_reading()
            sock = self._transport.get_extra_info("socket")
            if sock is not None:
                self._fd = sock.fileno()
                raw = self._state == TUNNEL
                self._kit.hangups.add(self._fd, self._hung_up, half=not raw)

    def _look_no_more(self) -> None:
        """For its hanging up, if anybody does."""
        if self._fd >= 0:
            self._kit.hangups.remove(self._fd, self._hung_up)
            self._fd = -1

    def _hung_up(self) -> None:
        self._leave()

    # --- writing, and as the end of a tunnel ----------------------------------------------------

    @property
    def full(self) -> bool:
        """The client takes no more for now, as whoever receives a request is told."""
        return self._full

    @property
    def taken(self) -> int:
        """Grows with every byte that the client's system takes."""
        return taken_by(self._transport)

    def _write(self, data: bytes) -> None:
        self._kit.outbox.write(self._transport, data)

    def become_tunnel(self, head: bytes, tunnel: Tunnel) -> None:
        """Send the 101 head (without its empty line) and speak raw bytes from here on."""
        self.receiver = None
        self.tunnel = tunnel
        self._state = TUNNEL
        self.deadline = inf
        self._body_paused = False
        self.gulp()
        rest = self._incoming.take()
        self._apply_reading()
        if self._full:
            tunnel.full(self)  # as in `ServerConnection.begin_answer`
        self._write(head + b"\r\n")
        if rest:
            tunnel.moved(self, rest)

    def write_raw(self, data: bytes) -> None:
        self.sent += len(data)
        self._write(data)

    def pause_raw(self) -> None:
        self._body_paused = True
        self._apply_reading()

    def resume_raw(self) -> None:
        self._body_paused = False
        self._apply_reading()

    def close_raw(self) -> None:
        self.tunnel = None
        self._depart(linger=self._transport.can_write_eof())

    # --- endings --------------------------------------------------------------------------------

    def eof_received(self) -> None:
        if self.receiver is None and self._state != CLOSED:
            self._end_tunnel()
            self._depart(linger=False)  # it may still read what was written
        else:
            self._leave()

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        self._tell_closed()  # under TLS a `Farewell` that has just begun does not hear of it

    def abort(self) -> None:
        """Break the connection off so that the client cannot take it for an ending (RST)."""
        sock = self._transport.get_extra_info("socket")
        if sock is not None and self._state != CLOSED and not self._transport.is_closing():
            with contextlib.suppress(OSError):  # it has just ended by itself
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.receiver = None
        self._close_now()

    def break_off(self) -> None:
        """End it whatever it is doing; whoever handles its request hears that the client left."""
        self._leave()

    @property
    def is_leaving(self) -> bool:
        """All has been said, and is seen off."""
        return self._state == CLOSED

    def _depart(self, *, linger: bool) -> None:
        """Nothing more is said; how the connection ends is left to a `Farewell`."""
        if self._state == CLOSED:
            return
        reading = self._reading
        self.gulp()
        self._let_go()
        farewell = Farewell(self._transport, deadlines=self._kit.deadlines, gone=self._tell_closed)
        if linger:
            if not reading:
                self._transport.resume_reading()
            farewell.linger()
        else:
            farewell.flush()

    def _leave(self) -> None:
        """The other side is gone, however we came to know it."""
        receiver, self.receiver = self.receiver, None
        self._close_now()
        self._end_tunnel()
        if receiver is not None:
            receiver.client_left()

    def _end_tunnel(self) -> None:
        tunnel, self.tunnel = self.tunnel, None
        if tunnel is not None:
            tunnel.lost(self)

    def _close_now(self) -> None:
        if self._state != CLOSED:
            self._let_go()
            self._tell_closed()
        self._transport.abort()

    def _let_go(self) -> None:
        self._kit.outbox.flush()
        self._state = CLOSED
        self.note = None
        self._incoming.drop()
        self.deadline = inf
        self._kit.deadlines.forget(self)
        self._look_no_more()
