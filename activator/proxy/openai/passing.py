"""A stream of events on its way to the client, chunk by chunk as the replica has framed it.

Decides of each chunk whether it has to be looked at closely. Most have not: a model sends an event
a token, each in a chunk of its own, and that is counted and sent on without keeping or copying any
of it. What it means is `core.tokens`'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from activator.core.tokens import EVENT, USAGE, WHOLE, tells

if TYPE_CHECKING:
    from activator.core.tokens import TokenCounter
    from activator.wire.server import ServerConnection

ENDINGS: Final = tuple(ending + b"\r\n" for ending in WHOLE)
"""How chunks end that are passed on: what they end with is an event's end, too."""


class Passing:
    """Of one answer, from its beginning on."""

    __slots__ = ("_connection", "_counter", "_events", "_is_open", "_last", "_seen")

    def __init__(self, connection: ServerConnection, counter: TokenCounter) -> None:
        self._connection = connection
        self._counter = counter
        self._events = 0
        """Those of which the counter has not heard."""
        self._last = b""
        """The last chunk with such an event."""
        self._is_open = False
        """The end of what has come is none of an event."""
        self._seen = connection.sent
        """Bytes that the connection will have sent with the last that the counter has seen."""

    def chunk(self, chunk: bytes, size: int) -> None:
        """As `ServerConnection.send_chunk`; it ends with one of ENDINGS."""
        events = chunk.count(EVENT)  # the line before the data ends where a line of events would
        # `in` takes twice as long as `find`: it tries first whether it is given a number
        if self._is_open or not events or (chunk.find(USAGE) >= 0 and tells(chunk)):
            self.look(chunk[-2 - size : -2])
        else:
            self._events += events
            self._last = chunk
        self._connection.send_chunk(chunk, size)

    def look(self, data: bytes) -> None:
        """What is sent next has come otherwise, or is to be looked at closely."""
        self.settle()
        self._seen += len(data)
        self._counter.data(data)
        self._is_open = not data.endswith(WHOLE)

    def settle(self) -> None:
        """The counter hears of everything that was sent."""
        skipped = self._connection.sent - self._seen
        if skipped:
            # how it ends is asked in the end
            last = self._last[self._last.index(b"\n") + 1 : -2]
            if skipped > len(last):
                self._counter.skip(skipped - len(last), self._events - self._last.count(EVENT))
            self._counter.data(last)
            self._seen += skipped
            self._events = 0
