"""One connection to a replica: a request at a time, its answer read as strictly as any request.

The `Sink` of a request hears everything that happens to it; clocks run on `deadline`, which the
sink's owner sets. Choosing a connection, retrying and giving up are `upstream`'s.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Final, cast

from activator.aiokit.deadlines import Deadlines, Timed
from activator.wire.framing import USUAL_CHUNKS, Decoder, chunk, decoder, last_chunk
from activator.wire.heads import CHUNKED, Field, HeadLimits, Malformed, ResponseHead, TooLarge
from activator.wire.known import KnownAnswers
from activator.wire.parsing import UnfinishedHead
from activator.wire.sink import Lost
from activator.wire.upgraded import Upgraded

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.aiokit.outbox import Outbox
    from activator.wire.sink import Moving, Quick, Sink

INTERIM_LIMIT: Final = 64
"""1xx answers to one request; no server has a use for so many."""


# The states: plain numbers of the module, for they are compared several times a request.
_IDLE, _HEAD, _BODY, _CLOSED = range(4)


class ClientConnection(asyncio.Protocol, Timed):
    """See the module. `resting_since` is the moment (loop time) it became idle."""

    __slots__ = (
        "_chunked", "_chunks_to", "_clock", "_deadlines", "_decoder", "_ending", "_full", "_head",
        "_interims", "_keep_alive", "_known", "_limits", "_method", "_moving", "_on_closed",
        "_outbox", "_passing", "_paused", "_quick", "_request_done", "_sink", "_state",
        "_takes_whole", "_transport", "_unfinished", "_upgraded", "_upgrading", "heard_at",
        "keep_alive_for", "resting_since",
    )  # fmt: skip

    def __init__(
        self,
        *,
        limits: HeadLimits,
        deadlines: Deadlines,
        on_closed: Callable[[ClientConnection], None],
        outbox: Outbox,
        known: KnownAnswers | None = None,
    ) -> None:
        """`known`: what other connections with these limits share with it."""
        self._limits = limits
        self._known = KnownAnswers() if known is None else known
        self._outbox = outbox
        self._deadlines = deadlines
        self._on_closed = on_closed
        self._transport: asyncio.Transport
        self._state = _IDLE
        self._sink: Sink | None = None
        self._quick: Quick | None = None
        """It is asked for a sink before anything but a whole answer is told."""
        self._unfinished: UnfinishedHead | None = None
        self._interims = 0
        self._paused = False
        self._full = False
        self._head = b""
        self._decoder: Decoder | None = None
        self._chunks_to: Callable[[bytes, int], None] | None = None
        """Who takes whole chunks of the answer that is coming."""
        self._passing: Callable[[bytes, int], None] | None = None
        """The same, while a chunk begins with the next byte."""
        self._ending: bytes | tuple[bytes, ...] = b""
        self._moving: Moving
        self._clock: Callable[[], float]
        self._method = b""
        self._takes_whole = False
        self._chunked = False
        self._keep_alive = False
        self._request_done = True
        self._upgrading = False
        self.deadline = self.looked_at = inf
        self.heard_at = 0.0
        """When a byte of the answer came last, or could have come again (loop time); the sink says
        so, but for chunks that are passed on."""
        self.keep_alive_for = inf
        """Seconds of rest that the server has announced it allows (`Keep-Alive: timeout=`)."""
        self.resting_since = 0.0
        self._upgraded: Upgraded | None = None
        """What it has become, until that has ended."""

    # --- what the transport tells ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop has a class of its own

    def data_received(self, data: bytes) -> None:
        if self._state == _BODY:
            passing = self._passing
            if passing is not None:
                # what most reads of a stream bring: one whole chunk, framed as we would
                usual = USUAL_CHUNKS.get(len(data))
                if usual is not None and data.startswith(usual[0]) and data.endswith(self._ending):
                    self.heard_at = self._moving.moved_at = self._clock()
                    passing(data, usual[1])
                    return
            self._feed_body(data)
        elif (quick := self._quick) is not None:
            # what most reads bring: a whole answer, whose head has come before
            end = data.find(b"\r\n\r\n") + 4
            raw = data[:end]
            head = self._known.get(raw) or self._known.alike(raw)
            if head is None or head.length != len(data) - end or not head.is_usual:
                self._feed_head(data)
                return
            self._quick = None
            if head.keep_alive and not self._full:
                self._state = _IDLE
            else:
                self.close()
            quick.whole(head, data[end:])
        elif self._state == _HEAD:
            self._feed_head(data)
        else:
            self.close()  # nobody asked: whatever it is, the next answer must not begin with it

    def eof_received(self) -> None:
        self._ended_by_peer("The replica closed the connection")

    def connection_lost(self, exc: Exception | None) -> None:
        detail = f"The connection to the replica broke: {exc or 'closed'}"
        self._ended_by_peer(detail, broken=True, reset=exc is not None)

    def pause_writing(self) -> None:
        self._full = True
        if (sink := self.in_steps()) is not None:
            sink.upstream_writable(ok=False)

    def resume_writing(self) -> None:
        self._full = False
        if (sink := self.in_steps()) is not None:
            sink.upstream_writable(ok=True)

    # --- one request ----------------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        return self._state == _IDLE and not self._transport.is_closing()

    def rest(self, since: float, until: float) -> bool:
        """Between two requests, `until` then at most (loop time). False: it is of no more use. One
        that breaks meanwhile is not `usable`: whoever takes it looks."""
        if self._state != _IDLE:
            return False
        self.resting_since = since
        self.deadline = until
        if until < self.looked_at:
            self._deadlines.arm(self)
        return True

    def begin(
        self,
        head: bytes,
        *,
        method: bytes,
        length: int,
        upgrade: bool,
        sink: Sink,
        followed: bool = False,
    ) -> None:
        """Send a whole head; `length` as in RequestHead says how `send` frames the body.
        `followed`: `send` or `finish` comes before this turn of the loop ends, and takes the head
        along (every write is a system call)."""
        self._sink = sink
        self._state = _HEAD
        self._method = method
        self._takes_whole = sink.takes_whole and method != b"HEAD"
        self._interims = 0
        self._upgrading = upgrade
        self._chunked = length == CHUNKED
        self._request_done = length == 0
        if followed:
            self._head = head
        else:
            self._outbox.write(self._transport, head)

    def ask(self, request: bytes, method: bytes, quick: Quick, until: float) -> None:
        """Send a whole request (not HEAD, no upgrade), body included, all at once. `until`: as
        `set_deadline`."""
        self.deadline = until
        if until < self.looked_at:
            self._deadlines.arm(self)
        self._quick = quick
        self._state = _HEAD
        self._method = method
        self._outbox.write(self._transport, request)

    def in_steps(self) -> Sink | None:
        """Who hears of what is not a whole answer; None: nobody has asked for anything."""
        quick, self._quick = self._quick, None
        if quick is not None:
            sink = self._sink = quick.in_steps()
            self._takes_whole = sink.takes_whole
            self._interims = 0
            self._upgrading = self._chunked = False
            self._request_done = True
        return self._sink

    def send(self, data: bytes) -> None:
        if data and self._state != _CLOSED:
            framed = chunk(data) if self._chunked else data
            if self._head:
                framed, self._head = self._head + framed, b""
            self._outbox.write(self._transport, framed)

    def finish(self, trailers: list[Field]) -> None:
        """The request's body is complete."""
        self._request_done = True
        if self._state == _CLOSED:
            return
        if self._chunked:
            self._outbox.write(self._transport, self._head + last_chunk(trailers))
        elif self._head:
            self._outbox.write(self._transport, self._head)
        self._head = b""

    def pause(self) -> None:
        if self._state != _CLOSED and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._state != _CLOSED and self._paused:
            self._paused = False
            self._transport.resume_reading()

    def pass_chunks(
        self,
        to: Callable[[bytes, int], None],
        *,
        ending: bytes | tuple[bytes, ...],
        moving: Moving,
        clock: Callable[[], float],
    ) -> None:
        """Of the answer that has just begun, which comes in chunks: `to` is given each that is read
        alone and framed as we would, as it stands, and how many bytes of the body are in it; the
        sink hears nothing of those. `ending`: with which they end, CRLF included. Each is a byte of
        `moving`, too, at that moment of `clock`."""
        coming = self._decoder
        assert coming is not None
        self._chunks_to, self._ending = to, ending
        self._moving, self._clock = moving, clock
        self._passing = to if coming.between else None

    def set_deadline(self, at: float) -> None:
        """When the sink's `on_deadline` is to be called (loop time, `inf`: never)."""
        self.deadline = at
        if at < self.looked_at:
            self._deadlines.arm(self)

    def on_deadline(self, now: float) -> None:
        if (sink := self.in_steps()) is not None:
            sink.on_deadline(now)
        elif self._state == _IDLE:
            self.close()  # rested for as long as its pool allows

    def leave_to_tunnel(self) -> Upgraded:
        """From within `Sink.upgraded`: the end of a tunnel, which whoever calls sets at once."""
        self._sink = None
        self.resume()
        self._let_go()
        self._upgraded = Upgraded(
            self._transport,
            outbox=self._outbox,
            deadlines=self._deadlines,
            gone=self._tunnel_gone,
        )
        return self._upgraded

    def _tunnel_gone(self) -> None:
        self._upgraded = None
        self._on_closed(self)

    def close(self) -> None:
        """End it at once; its sink hears nothing."""
        self._sink = self._quick = None
        self._transport.abort()
        if self._state != _CLOSED:
            self._let_go()
            self._on_closed(self)

    def fail(self, detail: str) -> None:
        """End it at once; its sink hears that the answer is lost."""
        if self._upgraded is not None:
            self._upgraded.close()
        else:
            self._fail(Lost(detail))

    # --- reading --------------------------------------------------------------------------------

    def _feed_body(self, data: bytes) -> None:
        sink, coming = self._sink, self._decoder
        assert sink is not None
        assert coming is not None
        try:
            body, end = coming.feed(data)
        except (Malformed, TooLarge) as error:
            self._fail_malformed(f"body is malformed: {error}")
            return
        if self._chunks_to is not None:
            self._passing = self._chunks_to if coming.between else None
        if body:
            sink.data(body)
        if coming.done and self._sink is sink:
            self._complete(coming.trailers, data[end:])

    def _feed_head(self, data: bytes) -> None:
        self.in_steps()
        try:
            if self._unfinished is not None:
                whole = self._unfinished.more(data)
                if whole is None:
                    return
                data, self._unfinished = whole, None
            while self._state == _HEAD and data:
                end = data.find(b"\r\n\r\n")
                if end < 0:
                    self._unfinished = UnfinishedHead(data, self._limits)
                    return
                head = self._known.read(data[: end + 4], method=self._method, limits=self._limits)
                data = data[end + 4 :]
                if head.status >= 200:
                    self._begin_body(head, data)
                    return
                if head.status == 101:
                    self._upgrade(head, data)
                    return
                self._pass_interim(head)
        except (Malformed, TooLarge) as error:
            self._fail_malformed(f"answer is malformed: {error}")

    def _pass_interim(self, head: ResponseHead) -> None:
        self._interims += 1
        if self._interims > INTERIM_LIMIT:
            self._fail_malformed(f"answer has more than {INTERIM_LIMIT} interim ones before it")
        elif self._sink is not None:
            self._sink.interim(head)

    def _begin_body(self, head: ResponseHead, rest: bytes) -> None:
        sink = self._sink
        assert sink is not None
        self._keep_alive = head.keep_alive
        if not head.is_usual:
            announced = head.get(b"keep-alive")
            if announced is not None and head.keep_alive:
                self.keep_alive_for = _announced_timeout(announced)
        if head.length == len(rest) and self._takes_whole:
            self._let_rest(usable=True)
            sink.whole(head, rest)
            return
        if head.length == 0:
            sink.answered(head, followed=True)
            if self._sink is sink:
                self._complete([], rest)
            return
        self._state = _BODY
        self._decoder = decoder(head.length, self._limits)
        if rest:
            self._begin_with(head, rest)
        else:
            sink.answered(head, followed=False)

    def _begin_with(self, head: ResponseHead, data: bytes) -> None:
        """The answer begins, and `data` of its body has come with its head."""
        coming = self._decoder
        assert coming is not None
        try:
            body, end = coming.feed(data)
        except (Malformed, TooLarge) as error:
            self._fail_malformed(f"body is malformed: {error}")
            return
        sink = self._sink
        if sink is None:
            return
        sink.answered(head, followed=bool(body) or coming.done)
        if body and self._sink is sink:
            sink.data(body)
        if coming.done and self._sink is sink:
            self._complete(coming.trailers, data[end:])

    def _upgrade(self, head: ResponseHead, rest: bytes) -> None:
        if not self._upgrading:
            self._fail_malformed("answer switches protocols without being asked")
        elif (head.get(b"upgrade") or b"").lower() != b"websocket":
            self._fail_malformed("answer switches to another protocol than was asked for")
        elif self._sink is not None:
            self._sink.upgraded(head, rest)

    def _complete(self, trailers: list[Field], rest: bytes) -> None:
        sink = self._sink
        self._decoder = self._chunks_to = self._passing = None
        self.deadline = inf
        self._let_rest(usable=not rest)
        if sink is not None:
            sink.ended(trailers)

    def _let_rest(self, *, usable: bool) -> None:
        """The answer is complete. Whatever follows one is nobody's (not `usable`); a replica that
        answers without having read its request would leave the next one no back-pressure."""
        self._sink = None
        if usable and self._keep_alive and self._request_done and not self._full:
            self._state = _IDLE
            if self._paused:
                self.resume()
        else:
            self.close()

    # --- endings --------------------------------------------------------------------------------

    def _ended_by_peer(self, detail: str, *, broken: bool = False, reset: bool = False) -> None:
        if self._state == _BODY and self._decoder is not None and not broken:
            if self._decoder.eof():
                self._keep_alive = False
                self._complete(self._decoder.trailers, b"")
            else:
                self._fail(Lost(detail, reset=reset))
        elif self.in_steps() is not None:
            begun = self._unfinished is not None or self._interims > 0
            self._fail(Lost(detail, invalid=begun, reset=reset))
        else:
            self.close()

    def _fail_malformed(self, what: str) -> None:
        self._fail(Lost(f"The replica's {what}", invalid=True))

    def _fail(self, lost: Lost) -> None:
        sink = self.in_steps()
        self.close()
        if sink is not None:
            sink.lost(lost)

    def _let_go(self) -> None:
        self._outbox.flush()
        self._state = _CLOSED
        self._unfinished, self._decoder = None, None
        self._chunks_to = self._passing = None
        self.deadline = inf
        self._deadlines.forget(self)


def _announced_timeout(value: bytes) -> float:
    for parameter in value.split(b","):
        name, _, seconds = (part.strip() for part in parameter.partition(b"="))
        if name.lower() == b"timeout" and seconds.isdigit():
            return float(seconds[:12])
    return inf
