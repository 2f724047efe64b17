"""One client's connection: requests are read one after the other, each answered before the next.

Here are the order of requests and answers, their framing, and the clocks. When its socket is read
from, hang-ups, tunnels and how it ends are `accepted`'s, which this builds on; how bytes become
requests is `incoming`'s. What a request means, and every answer, is the `Service`'s; it gives each
request a `Receiver` and answers through the methods of the connection.
"""

from __future__ import annotations

import sys
from math import inf
from typing import TYPE_CHECKING, Final, cast

from activator.errors import ActivatorError, BadRequest, HeadersTooLarge, RequestTimeout
from activator.wire.accepted import ANSWER, BODY, CLOSED, HEAD, PIPELINE_BYTES, TUNNEL, Accepted
from activator.wire.framing import last_chunk
from activator.wire.heads import CHUNKED, UNTIL_CLOSE, Field, Malformed, RequestHead, TooLarge
from activator.wire.service import Receiver, ServerKit, ServerLimits, Service
from activator.wire.sipping import Sipping, hand_over

if TYPE_CHECKING:
    import asyncio

__all__ = [
    "PIPELINE_BYTES",
    "Receiver",
    "ServerConnection",
    "ServerKit",
    "ServerLimits",
    "Service",
]

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class ServerConnection(Accepted):
    """See the module. Methods that answer may be called from within `Service.request`."""

    __slots__ = (
        "_advancing",
        "_answering",
        "_chunked",
        "_continued",
        "_head",
        "_told",
        "_will_close",
        "body_at_hand",
        "head",
        "peer",
        "whole_body",
    )

    def __init__(self, kit: ServerKit) -> None:
        super().__init__(kit)
        self._advancing = False
        self._answering = False
        self._chunked = False
        self._continued = False
        self._will_close = False
        self._told = False
        self._head = b""
        self.body_at_hand = False
        """Bytes of the request's body have come with its head and are told next."""
        self.whole_body = b""
        """All of the request's body, if just that has come with its head, until it is told."""
        self.head: RequestHead
        self.peer = ""

    # --- what the transport tells ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop has a class of its own
        peer = transport.get_extra_info("peername")
        # behind a load balancer thousands of clients have the same address
        self.peer = sys.intern(peer[0]) if isinstance(peer, tuple) else ""
        if not self._kit.service.opened(self):
            self._state, self._told = CLOSED, True
            self._transport.abort()
            return
        self._set_deadline(self._kit.limits.head_timeout)
        if self._kit.service.crowded:
            self._replaced = True
            hand_over(self._transport, Sipping(self, self._kit.cup), reading=False)

    def data_received(self, data: bytes) -> None:
        if self._state == HEAD:
            incoming = self._incoming
            kit = self._kit
            head = kit.known.get(data)
            if not (self._full or incoming.rest or incoming.unfinished is not None):
                if head is None and data.endswith(b"\r\n\r\n"):
                    head = kit.known.alike(data)  # no two heads are alike to one
                    incoming.is_unlike = head is None
                if head is not None:
                    if head.length == 0:
                        # what most reads bring: one whole request, like one that was sent before
                        self._state = ANSWER
                        self.head = head
                        self.received = self.sent = 0
                        self._continued = self._body_paused = False
                        self.deadline = inf
                        kit.service.request(self, head)
                        return
                    incoming.found = head  # looked for once: a head that comes twice is kept
            incoming.add(data)
            self._advance()
        elif self._state == BODY:
            self._incoming.add(data)
            self._continue_body()
        elif self._state == TUNNEL:
            self.received += len(data)
            if self.tunnel is not None:
                self.tunnel.moved(self, data)
        elif self._state == ANSWER:
            self._incoming.add(data)
            if self._incoming.unread > PIPELINE_BYTES:
                self._apply_reading()

    def _tell_closed(self) -> None:
        if not self._told:
            self._told = True
            self._kit.service.closed(self)

    def pause_writing(self) -> None:
        self._full = True
        if self.tunnel is not None:
            self.tunnel.full(self)
        elif self.receiver is not None and self._answering:
            self.receiver.writable(ok=False)

    def resume_writing(self) -> None:
        self._full = False
        if self.tunnel is not None:
            self.tunnel.drained(self)
        elif self.receiver is not None:
            if self._answering:
                self.receiver.writable(ok=True)
        elif self._incoming.rest:
            self._advance()

    # --- what the handler of a request may do ---------------------------------------------------

    @property
    def idle(self) -> bool:
        """Between requests, nothing of the next one has come."""
        incoming = self._incoming
        return self._state == HEAD and not incoming.head_begun and not incoming.rest

    @property
    def answering(self) -> bool:
        """The head of the answer has been sent."""
        return self._answering

    @property
    def continued(self) -> bool:
        """The client waits for no 100 any more: it has had one, or sends its body anyway."""
        return self._continued

    @property
    def request_complete(self) -> bool:
        return self._state == ANSWER

    def take_body(self) -> None:
        """From within `Service.request`: its `whole_body` is known, and neither told to whoever
        receives the request nor that it has ended."""
        self.received = len(self.whole_body)
        self.whole_body = b""

    def send_continue(self) -> None:
        """100 (Continue), at most once, only to a client that waits for it."""
        wanted = self.head.expects_continue and not self._continued and not self._answering
        if wanted and self._state == BODY:
            self._continued = True
            self._write(CONTINUE)
            self._run_body_clock()

    def send_interim(self, head: bytes) -> None:
        """A 1xx head without its empty line; HTTP/1.0 clients get none (RFC 9110 §15.2)."""
        if self.head.minor == 1:
            self._write(head + b"\r\n")

    def begin_answer(
        self, head: bytes, *, length: int, followed: bool = False, last: bool = False
    ) -> None:
        """Status line and fields, each with its CRLF; the framing and `Connection` are added here,
        Content-Length excepted. `length`: of the body that `send` brings; 0 also for HEAD.
        `followed`: `send` or `finish` comes before this turn of the loop ends, and takes the head
        along (every write is a system call). `last`: the connection is closed after it."""
        self._answering = True
        if self._full and self.receiver is not None:
            # with the answer before, whose writing may have waited until this request had begun
            self.receiver.writable(ok=False)
        self.deadline = inf
        self._chunked = length == CHUNKED and self.head.minor == 1
        until_close = length == UNTIL_CLOSE or (length == CHUNKED and self.head.minor == 0)
        keep = (
            self.head.keep_alive
            and not until_close
            and not last
            and self._kit.limits.keep_alive > 0
            and self._state == ANSWER
            and not self._kit.service.draining
        )
        self._will_close = not keep
        if self._chunked:
            head += b"Transfer-Encoding: chunked\r\n"
        if not keep:
            head += b"Connection: close\r\n"
        elif self.head.minor == 0:
            head += b"Connection: keep-alive\r\n"
        if followed:
            self._head = head + b"\r\n"
        else:
            self._write(head + b"\r\n")

    def send(self, data: bytes) -> None:
        """Body bytes; the caller keeps to the length it announced."""
        if data:
            size = len(data)
            self.sent += size
            if self._chunked:
                data = b"%x\r\n%b\r\n" % (size, data)
            if self._head:
                data, self._head = self._head + data, b""
            self._write(data)

    @property
    def takes_chunks(self) -> bool:
        """The answer that has begun is framed in chunks."""
        return self._chunked

    def send_chunk(self, chunk: bytes, size: int) -> None:
        """Where it `takes_chunks` and the head is sent: body bytes, so many, in their chunk."""
        self.sent += size
        self._kit.outbox.write(self._transport, chunk)

    def answer_at_once(self, head: bytes, body: bytes, now: float) -> bool:
        """All of an answer to a whole request, where nothing is to be said or done beside it: as
        `answer`. False: nothing was done. `now`: loop time."""
        asked, kit = self.head, self._kit
        service, keep_alive = kit.service, kit.limits.keep_alive
        if (
            self._state != ANSWER
            or not asked.keep_alive
            or asked.minor == 0
            or service.draining
            or service.crowded
            or not keep_alive
            or self._incoming.rest
        ):
            return False
        self._state = HEAD
        self.receiver = None
        self.sent = len(body)
        kit.outbox.write(self._transport, b"%b\r\n%b" % (head, body))
        at = self.deadline = now + keep_alive
        if at < self.looked_at:
            kit.deadlines.arm(self)
        return True

    def answer(self, head: bytes, body: bytes) -> None:
        """All of an answer: `begin_answer`, `send` and `finish` in one. `head` says, in its
        Content-Length or otherwise, how long `body` is. Whoever receives the request is told
        nothing more."""
        if not self.answer_at_once(head, body, self._kit.loop.time()):
            self.receiver = None  # it may be more than the client takes at once
            self.begin_answer(head, length=len(body), followed=True)
            self.send(body)
            self.finish()

    def finish(self, trailers: list[Field] | None = None) -> None:
        """The answer is complete. What is left of the request is thrown away."""
        if self._chunked:
            self._write(self._head + last_chunk(trailers or []))
        elif self._head:
            self._write(self._head)
        self._head = b""
        self.receiver = None
        self._answering = False
        if self._will_close:
            # more may be on its way unless the client has said that this was its last request
            more = self._state == BODY or bool(self._incoming.rest)
            self._depart(linger=more or (self.head.keep_alive and self._transport.can_write_eof()))
        elif self._state == ANSWER:
            self._state = HEAD
            self._set_deadline(self._kit.limits.keep_alive)
            if self._kit.service.crowded:
                self.sip()
            if self._incoming.rest:
                self._advance()

    def close_if_idle(self) -> None:
        if self.idle:
            self._depart(linger=False)

    # --- clocks ---------------------------------------------------------------------------------

    def on_deadline(self, now: float) -> None:
        if self._state == HEAD:
            if self._incoming.head_begun:
                self._refuse(RequestTimeout("The head did not arrive in time"))
            else:
                self._depart(linger=False)
        elif self._state == BODY and self.receiver is not None:
            self._break_body(RequestTimeout("The body stopped arriving"))

    def _set_deadline(self, seconds: float) -> None:
        at = self.deadline = self._kit.loop.time() + seconds if seconds else inf
        if at < self.looked_at:
            self._kit.deadlines.arm(self)

    # --- reading --------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Read heads while there are any; a loop, so that answers given at once do not recurse.

        A client that does not read its answers gets no further ones made.
        """
        if self._advancing:
            return
        self._advancing = True
        incoming = self._incoming
        try:
            while self._state == HEAD and incoming.rest and not self._full:
                begun = incoming.head_begun
                head = incoming.head()
                if head is not None:
                    self._begin_request(head)
                elif incoming.head_begun and not begun:
                    self._set_deadline(self._kit.limits.head_timeout)
        except Malformed as error:
            self._refuse(BadRequest(f"The request is malformed: {error}"))
        except TooLarge as error:
            self._refuse(HeadersTooLarge(f"The request is too large: {error}"))
        finally:
            self._advancing = False
        if incoming.rest or not self._reading:
            self._apply_reading()

    def _begin_request(self, head: RequestHead) -> None:
        self.head = head
        self.received = self.sent = 0
        self._continued = self._body_paused = False
        self.deadline = inf
        if head.length == 0:
            self._state = ANSWER
            self._kit.service.request(self, head)
            return
        # what is here already is looked at first: a body that is complete with its head leaves the
        # connection usable even if the answer does not wait for it
        incoming = self._incoming
        trailers: list[Field] | None = []
        body = incoming.whole
        if body:
            self.whole_body, incoming.whole = body, b""
        elif incoming.rest:
            try:
                body, trailers = incoming.body()
            except (Malformed, TooLarge) as error:
                self._refuse(BadRequest(f"The body is malformed: {error}"))
                return
        else:
            trailers = None
        self._state = BODY if trailers is None else ANSWER
        is_whole = bool(self.whole_body)
        self.body_at_hand = self._continued = bool(body)
        self._kit.service.request(self, head)
        self.body_at_hand = False
        if is_whole and not self.whole_body:
            return  # it was taken
        self.whole_body = b""
        self._deliver(body, trailers)

    def _continue_body(self) -> None:
        try:
            body, trailers = self._incoming.body()
        except (Malformed, TooLarge) as error:
            self._break_body(BadRequest(f"The body is malformed: {error}"))
            return
        if trailers is not None:
            self._state = ANSWER
            self.deadline = inf
            self._body_paused = False
            if self._incoming.rest or not self._reading:
                self._apply_reading()
        self._deliver(body, trailers)

    def _deliver(self, body: bytes, trailers: list[Field] | None) -> None:
        head, receiver = self.head, self.receiver
        if receiver is None:
            return
        if body:
            self._continued = True
            self.received += len(body)
            receiver.body(body)
            receiver = self.receiver  # it may have been handed over to another
            if receiver is None or self.head is not head:
                return
        if trailers is not None:
            receiver.body_ended(trailers)
        else:
            self._run_body_clock()

    def _run_body_clock(self) -> None:
        """From now on, while the client owes us more of the body and nobody keeps it from coming.

        Once the answer has begun it is the replica that decides how long it waits for the rest.
        """
        waits = self.head.expects_continue and not self._continued
        if self._body_paused or self._answering or waits:
            self.deadline = inf
        else:
            self._set_deadline(self._kit.limits.body_idle)

    def _break_body(self, error: ActivatorError) -> None:
        receiver = self.receiver
        self.deadline = inf
        self._incoming.drop()
        self._pause_transport()
        if receiver is not None:
            receiver.body_broken(error)

    def _refuse(self, error: ActivatorError) -> None:
        """Not a request: answer, whatever else came is not looked at, and close."""
        self.head = RequestHead(b"GET", b"/", 1, [])
        self._incoming.drop()
        self._state = BODY  # nothing more of it will be read: the answer ends in lingering
        self.deadline = inf
        self._kit.service.refused(self, error)
