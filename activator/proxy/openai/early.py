"""An answer in OpenAI's dialect: begun while the request still waits, and broken off in order.

A stream that waits gets its head and then comments, so that no client and no proxy on the way
takes it for dead. Their form is the one that every SDK reads: a colon, text and one line feed; a
blank line would end an event there. What the replica then answers is fitted into the stream; what
goes wrong becomes an event of it, where events may stand.
"""

from __future__ import annotations

import json
from math import inf
from typing import TYPE_CHECKING, Final

from activator.aiokit.deadlines import Timed
from activator.core.tokens import TokenCounter, counter_of
from activator.errors import UpstreamTimeout
from activator.proxy.openai.errors import LONGEST_ERROR, openai_error, replica_error
from activator.proxy.openai.passing import ENDINGS, Passing
from activator.proxy.openai.reading import Reading
from activator.wire.heads import CHUNKED, UNTIL_CLOSE

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.core.tokens import Tokens
    from activator.errors import ActivatorError
    from activator.proxy.body import Body
    from activator.proxy.listener import Proxy
    from activator.upstream.forward import Attempt
    from activator.upstream.registry import LiveEndpoint
    from activator.wire.heads import Field, RequestHead, ResponseHead
    from activator.wire.server import ServerConnection

WANTED: Final = {"stream": 16}
NO_TOTAL: Final = 3600.0
"""Seconds after which a replica that has said nothing is given up where `timeouts.total` sets no
limit: signs of life must not keep a client for ever."""
_NO_LINES: Final = bytes.maketrans(b"\r\n", b"  ")
"""JSON on one line: in its texts there are none, and between them they mean nothing."""

# what an answer is, once it has begun
_NOTHING, _EVENTS, _SPACE = range(3)
# how what the replica answers becomes part of one that has begun
_AS_IT_IS, _ONE_EVENT, _AN_ERROR = range(3)


class EarlyAnswer(Timed):
    """See the module. `deadline` is the next sign of life's."""

    __slots__ = (
        "_arrived", "_connection", "_error", "_events", "_full", "_give_up", "_head", "_id",
        "_is_counted", "_kind", "_live", "_owner", "_passed", "_passing", "_place", "_proxy",
        "_reading", "_status", "_way", "begun", "elsewhere", "used",
    )  # fmt: skip

    def __init__(
        self,
        proxy: Proxy,
        live: LiveEndpoint,
        connection: ServerConnection,
        head: RequestHead,
        *,
        place: Callable[[], int | None],
        owner: str | None,
        request_id: bytes,
        arrived: float,
        give_up: Callable[[ActivatorError], None],
    ) -> None:
        """`place` in line, None at a replica. `owner`: the API key's name, for whom tokens are
        counted; None: they are counted elsewhere. `arrived`: when the request came (loop time).
        `give_up`: it has waited long enough."""
        self._proxy = proxy
        self._live = live
        self._connection = connection
        self._head = head
        self._place = place
        self._owner = owner
        self._passed: TokenCounter | None = None
        """What of the answer was passed on, as far as anybody asks for it afterwards."""
        self._passing: Passing | None = None
        """What stands between that and the connection, where chunks come as they are."""
        self._is_counted = False
        """Its tokens are asked for."""
        self.used: Tokens | None = None
        """By the answer, once it has ended, if that can be told."""
        self._id = request_id
        self._arrived = arrived
        self._give_up = give_up
        self._reading: Reading | None = None
        self._kind = _NOTHING
        self._way = _AS_IT_IS
        self._events = False
        """What is passed on are events, whose stream may be ended by one of ours."""
        self._status = 0
        self._error = bytearray()
        self._full = False
        self.elsewhere = ""
        """Who has the request, if it is not at a replica."""
        self.begun = False
        """The head has been sent before the replica's came."""
        self.deadline = self.looked_at = inf

    # --- while it waits -------------------------------------------------------------------------

    def wait(self, body: Body, reading: Reading | None) -> None:
        """`reading`: where reading the body has stopped, if somebody has begun to."""
        heartbeat = self._live.endpoint.heartbeat
        if not heartbeat or self._head.minor == 0 or not self._head.length:
            return
        self.deadline = self._arrived + heartbeat
        if reading is None:
            reading = Reading(self._proxy.turns, self._head, WANTED, self._told)
            self._reading = reading
            for piece in body.pieces():
                reading.feed(piece)
            if body.complete:
                reading.end()
        else:
            self._reading = reading
            reading.resume(self._told)

    @property
    def is_read(self) -> bool:
        """Its body is read for what it asks for."""
        return self._reading is not None

    def more(self, data: bytes) -> None:
        if self._reading is not None:
            self._reading.feed(data)

    def whole(self) -> None:
        """The request is complete."""
        if self._reading is not None:
            self._reading.end()

    def writable(self, *, ok: bool) -> None:
        self._full = not ok

    def _told(self) -> None:
        reading = self._reading
        if reading is None or self._kind != _NOTHING:
            return
        found = reading.found.get("stream")
        if found is not None and found.raw.lower() == b"true":
            self._kind = _EVENTS
        elif reading.over and self._live.endpoint.keep_alive_whitespace:
            self._kind = _SPACE
        elif not reading.over:
            return
        reading.stop()
        if self._kind != _NOTHING:
            self._proxy.deadlines.arm(self)

    @property
    def waits_aloud(self) -> bool:
        """Signs of life are sent, or will be: nothing compressed fits behind them."""
        return self._kind != _NOTHING

    def on_deadline(self, now: float) -> None:
        endpoint = self._live.endpoint
        waited = now - self._arrived
        if not endpoint.timeouts.total and waited > endpoint.queue.timeout + NO_TOTAL:
            self._give_up(UpstreamTimeout("Nothing was answered for as long as anybody waits"))
            return
        self.deadline = now + endpoint.heartbeat
        self._proxy.deadlines.arm(self)
        if self._connection.request_complete and not self._full:
            if not self.begun:
                self._begin()
            self._connection.send(self._sign())

    def _begin(self) -> None:
        self.begun = True
        form = b"text/event-stream; charset=utf-8" if self._kind == _EVENTS else b"application/json"
        self._connection.begin_answer(
            b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nCache-Control: no-cache\r\n"
            b"X-Accel-Buffering: no\r\nX-Request-Id: %b\r\nX-Activator-Cold-Start: %b\r\n"
            % (form, self._id, b"true" if self._live.cold else b"false"),
            length=CHUNKED,
        )

    def _sign(self) -> bytes:
        if self._kind == _SPACE:
            return b" "
        if self.elsewhere:
            return f": {self.elsewhere} has it\n".encode()
        return comment(self._live, self._place())

    def close(self) -> None:
        """It has ended, or begins at the replica: no sign of life any more."""
        self.deadline = inf
        self._proxy.deadlines.forget(self)
        self._place, self._give_up = _nowhere, _unasked  # whoever has it is not to be held by it
        if self._reading is not None:
            self._reading.stop()
            self._reading = None
        if self._passing is not None:
            self._passing.settle()
            self._passing = None
        if self._is_counted and self._passed is not None:
            self._is_counted = False
            self.used = self._passed.tokens()
            if self._owner is not None:
                self._live.metrics.used(self.used, key=self._owner)

    # --- what the replica answers ---------------------------------------------------------------

    def answered(self, head: ResponseHead) -> bool:
        """False: its head is still to be sent, for nothing was sent before it."""
        self.close()
        self._status = head.status
        plain = head.get(b"content-encoding") is None
        form = (head.get(b"content-type") or b"").partition(b";")[0].strip().lower()
        events = head.status == 200 and plain and form == b"text/event-stream"
        if self.begun:
            self._events = self._kind == _EVENTS
        else:
            self._events = events and head.length in (CHUNKED, UNTIL_CLOSE)
        counter = counter_of(
            method=self._head.method, status=head.status, form=form, is_encoded=not plain
        )
        self._is_counted = counter is not None
        # of what is not counted it may have to be told all the same whether its end is an event's
        self._passed = counter or (TokenCounter(is_stream=True) if self._events else None)
        if self.begun and self._events and not events:
            wrapped = head.status == 200 and plain and form == b"application/json"
            self._way = _ONE_EVENT if wrapped else _AN_ERROR
            if wrapped:
                self._connection.send(b"data: ")
        return self.begun

    @property
    def has_answer(self) -> bool:
        """The replica's has begun."""
        return self._status != 0

    def take_chunks(self, attempt: Attempt) -> None:
        """What the replica has begun to answer comes in chunks; and its head is sent."""
        connection, passed = self._connection, self._passed
        if self._way != _AS_IT_IS or not connection.takes_chunks:
            return
        if passed is None:
            attempt.pass_chunks(connection.send_chunk)
        elif passed.is_stream:
            self._passing = passing = Passing(connection, passed)
            attempt.pass_chunks(passing.chunk, ending=ENDINGS)

    def data(self, data: bytes) -> None:
        if self._passing is not None:
            self._passing.look(data)
        elif self._passed is not None:
            self._passed.data(data)
        way = self._way
        if way == _AS_IT_IS:
            self._connection.send(data)
        elif way == _ONE_EVENT:
            self._connection.send(data.translate(_NO_LINES))
        else:
            self._error += data[: LONGEST_ERROR - len(self._error)]

    def ended(self, trailers: list[Field]) -> list[Field]:
        """The replica's answer is complete; returns the trailers that are to follow."""
        if not self.begun:
            return trailers
        if self._way == _ONE_EVENT:
            self._connection.send(b"\n\ndata: [DONE]\n\n")
        elif self._way == _AN_ERROR:
            self._connection.send(_event(self._told_by_replica()))
        return []

    def _told_by_replica(self) -> bytes:
        error = replica_error(bytes(self._error), status=self._status)
        return json.dumps({"error": error}).encode()

    # --- what goes wrong ------------------------------------------------------------------------

    def say(self, error: ActivatorError) -> None:
        """What has begun ends with an error of ours. Nothing of the replica's was passed on."""
        said = openai_error(error, request_id=self._id)
        self._connection.send(_event(said.strip()) if self._kind == _EVENTS else said)
        self._connection.finish()

    def break_off(self, error: ActivatorError) -> bool:
        """The replica's answer has broken off; False: an event may not stand here, and its end
        must not look like one."""
        if self._way == _AN_ERROR and self.begun:
            self.say(error)
            return True
        passed = self._passed
        if not self._events or self._way != _AS_IT_IS or passed is None or not passed.is_between:
            return False
        self._connection.send(_event(openai_error(error, request_id=self._id).strip()))
        self._connection.finish()
        return True


def comment(live: LiveEndpoint, place: int | None) -> bytes:
    """A sign of life in a stream. `place` in line; None: a replica has it."""
    if place is None:
        return f": a replica of {live.endpoint.name} has it\n".encode()
    said = f": waiting for {live.endpoint.name}, place {place} in line"
    eta = live.eta() if live.cold else None
    if eta is not None:
        said += f", ready in about {eta:.0f} s"
    return said.encode() + b"\n"


def _nowhere() -> int | None:
    """Nobody asks after a place any more."""
    return None


def _unasked(error: ActivatorError) -> None:
    """Nobody gives up what has ended."""


def _event(said: bytes) -> bytes:
    return b"data: " + said + b"\n\n"
