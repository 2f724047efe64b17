"""Connections without sockets: what the other side sends is handed to them, what they write is
dropped. So nothing but the reading itself is measured."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from activator.aiokit.deadlines import Deadlines
from activator.aiokit.outbox import Outbox
from activator.wire.client import ClientConnection
from activator.wire.hangup import HangupWatch
from activator.wire.heads import HeadLimits
from activator.wire.server import ServerConnection, ServerKit, ServerLimits
from bench.failure import BenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activator.errors import ActivatorError
    from activator.wire.heads import Field, RequestHead, ResponseHead
    from activator.wire.sink import Lost

ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"


class Desk:
    """Where connections are played, within a running loop. To be closed."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._deadlines = Deadlines(loop)
        self._hangups = HangupWatch(loop)
        self._replies = Replies()
        self._outbox = Outbox()
        self._kit = ServerKit(
            loop=loop,
            service=self._replies,
            deadlines=self._deadlines,
            hangups=self._hangups,
            outbox=self._outbox,
            limits=ServerLimits(),
        )

    def close(self) -> None:
        self._hangups.close()
        self._deadlines.close()

    def serve(self, reads: Sequence[bytes]) -> None:
        """A client's connection; each of its requests is answered at once."""
        connection = ServerConnection(self._kit)
        connection.connection_made(PaperTransport())
        for data in reads:
            connection.data_received(data)
        connection.break_off()

    def ask(self, reads: Sequence[bytes]) -> None:
        """A connection to a replica, which answers one request."""
        connection = ClientConnection(
            limits=HeadLimits(),
            deadlines=self._deadlines,
            on_closed=lambda connection: None,
            outbox=self._outbox,
        )
        connection.connection_made(PaperTransport())
        connection.begin(b"", method=b"GET", length=0, upgrade=False, sink=Listener())
        for data in reads:
            connection.data_received(data)
        connection.close()


class PaperTransport(asyncio.Transport):
    def write(self, data: bytes | bytearray | memoryview) -> None:
        return

    def pause_reading(self) -> None:
        return

    def resume_reading(self) -> None:
        return

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        return


class Replies:
    """An empty answer to every request once it is whole: a `Service`, and its only `Receiver`."""

    draining = False
    crowded = False

    def __init__(self) -> None:
        self._connection: ServerConnection

    def opened(self, connection: ServerConnection) -> bool:
        self._connection = connection
        return True

    def closed(self, connection: ServerConnection) -> None:
        return

    def request(self, connection: ServerConnection, head: RequestHead) -> None:
        connection.receiver = self
        if head.length == 0:
            self.body_ended([])

    def refused(self, connection: ServerConnection, error: ActivatorError) -> None:
        raise BenchError(f"a request was refused: {error}")

    def body(self, data: bytes) -> None:
        return

    def body_ended(self, trailers: list[Field]) -> None:
        self._connection.begin_answer(ANSWER, length=0, followed=True)
        self._connection.finish()

    def body_broken(self, error: ActivatorError) -> None:
        raise BenchError(f"a body was refused: {error}")

    def client_left(self) -> None:
        return

    def writable(self, *, ok: bool) -> None:
        return


class Listener:
    """Hears an answer; a `Sink`."""

    takes_whole = False

    def interim(self, head: ResponseHead) -> None:
        return

    def answered(self, head: ResponseHead, *, followed: bool) -> None:
        return

    def upgraded(self, head: ResponseHead, rest: bytes) -> None:
        return

    def data(self, data: bytes) -> None:
        return

    def ended(self, trailers: list[Field]) -> None:
        return

    def whole(self, head: ResponseHead, body: bytes) -> None:
        return

    def lost(self, lost: Lost) -> None:
        raise BenchError(f"an answer was refused: {lost.detail}")

    def upstream_writable(self, *, ok: bool) -> None:
        return

    def on_deadline(self, now: float) -> None:
        return
