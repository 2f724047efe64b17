"""Passing a large body of a request on without copying it.

A transport reads a quarter of a MiB at most, copies it for whoever is told, and each write of it
wakes whoever reads there. Here twice as much is read at a time, into a buffer that all connections
of a loop share, and what is told is lent from it: a write mostly takes all of it at once.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol, cast

from activator.wire.sipping import StandIn, Told, hand_over

JUG: Final = 512 << 10
LARGE: Final = 4 << 20
"""Bytes of a body from which on it is worth it."""
LENT: Final = 64 << 10
"""Bytes that came at once above which they are lent. Fewer are soon copied, and what a write has
left of them would keep all of the buffer."""
IN_A_TURN: Final = 16
"""Reads from one connection before the others have theirs. The transport would take twice as many,
as it does of its own size: so nobody waits longer than otherwise."""


class Jug:
    """Whatever is read lies in it until it is passed on."""

    __slots__ = ("content",)

    def __init__(self) -> None:
        self.content = bytearray()
        """Nothing until it is needed."""

    def empty(self) -> bytearray:
        """To read into. Whoever still has something of what was read last keeps all of it."""
        content = self.content
        try:
            content.append(content.pop())  # no size changes as long as anybody looks into it
        except (BufferError, IndexError):
            content = self.content = bytearray(JUG)
        return content


class Source(Told, Protocol):
    """A connection that reads a body."""

    @property
    def owed(self) -> int:
        """Bytes of it that have not come yet, if its length was announced; else 0."""

    @property
    def reading(self) -> bool: ...

    def gulp(self) -> None:
        """Nothing stands in for it any more."""


class Pouring(StandIn[Source]):
    """Stands in for a connection at its transport, until the body has come."""

    __slots__ = ("_jug", "_reads", "_transport")

    def __init__(self, transport: asyncio.Transport, source: Source, jug: Jug) -> None:
        super().__init__(source)
        self._transport = transport
        self._jug = jug
        self._reads = 0

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._jug.empty()

    def buffer_updated(self, nbytes: int) -> None:
        source = self._protocol
        lent = memoryview(self._jug.content)[:nbytes]
        if LENT < nbytes < source.owed:
            source.data_received(cast("bytes", lent))  # it is sent on unread, or kept with the jug
            self._reads += 1
            if self._reads == IN_A_TURN:
                self._reads = 0
                self._end_turn()
            return
        source.data_received(bytes(lent))
        if not source.owed and not self._transport.is_closing():
            source.gulp()

    def _end_turn(self) -> None:
        if self._protocol.reading and not self._transport.is_closing():
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._begin_turn)

    def _begin_turn(self) -> None:
        if self._protocol.reading and not self._transport.is_closing():
            self._transport.resume_reading()


def pour(transport: asyncio.Transport, source: Source, jug: Jug) -> bool:
    """From now on, until the body has come. False: it stays as it is, for there is no body whose
    length is known; or there is TLS, which copies anyway."""
    if not source.owed or transport.is_closing() or not transport.can_write_eof():
        return False
    hand_over(transport, Pouring(transport, source, jug), reading=source.reading)
    return True
