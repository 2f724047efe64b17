"""A service to stand behind `wire`'s connections: it records what it hears, and answers as told.

    service = RecordingService(once_whole=lambda heard: heard.answer(b"hello"))
    async with listening(service) as house:
        client = await house.client()

When a house ends it proves that nothing was left behind: no connection, nothing watched, nothing
that an event loop had to report.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from activator.aiokit.deadlines import Deadlines
from activator.aiokit.outbox import Outbox
from activator.wire.farewell import TLS_SHUTDOWN
from activator.wire.hangup import HangupWatch
from activator.wire.heads import CHUNKED
from activator.wire.server import ServerConnection, ServerKit, ServerLimits
from tests.rawclient import RawClient
from tests.support import eventually

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable

    from activator.errors import ActivatorError
    from activator.wire.heads import Field, RequestHead


class Heard:
    """One request as the service hears it; implements `Receiver`."""

    def __init__(
        self, service: RecordingService, connection: ServerConnection, head: RequestHead
    ) -> None:
        self.service = service
        self.connection = connection
        self.head = head
        self.pieces: list[bytes] = []
        self.trailers: list[Field] | None = None
        """None until the request is whole."""
        self.error: ActivatorError | None = None
        self.left = False
        self.room: list[bool] = []
        """What `writable` was told."""

    @property
    def content(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def size(self) -> int:
        return sum(map(len, self.pieces))

    @property
    def whole(self) -> bool:
        return self.trailers is not None

    def answer(self, body: bytes = b"", *, status: int = 200, fields: bytes = b"") -> None:
        """A whole answer with a Content-Length."""
        self.connection.begin_answer(
            b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n%b" % (status, len(body), fields),
            length=len(body),
        )
        self.connection.send(body)
        self.connection.finish()

    def begin(self, *, length: int = CHUNKED) -> None:
        self.connection.begin_answer(b"HTTP/1.1 200 OK\r\n", length=length)

    def body(self, data: bytes) -> None:
        self.pieces.append(data)
        self.service.at_piece(self)

    def body_ended(self, trailers: list[Field]) -> None:
        self.trailers = trailers
        self.service.once_whole(self)

    def body_broken(self, error: ActivatorError) -> None:
        self.error = error
        if self.connection.answering:
            self.connection.abort()
        else:
            self.answer(str(error).encode(), status=error.status)

    def client_left(self) -> None:
        assert not self.left
        self.left = True

    def writable(self, *, ok: bool) -> None:
        self.room.append(ok)
        if ok:
            self.service.at_room(self)


def _nothing(heard: Heard) -> None:
    return


def echo(heard: Heard) -> None:
    """Method, target and body."""
    heard.answer(b"%b %b %b" % (heard.head.method, heard.head.target, heard.content))


class RecordingService:
    """Implements `Service`. The callbacks are called after what they are named for."""

    def __init__(
        self,
        *,
        at_head: Callable[[Heard], None] = _nothing,
        at_piece: Callable[[Heard], None] = _nothing,
        at_room: Callable[[Heard], None] = _nothing,
        once_whole: Callable[[Heard], None] = echo,
        most: int = 1 << 20,
    ) -> None:
        self.at_head = at_head
        self.at_piece = at_piece
        self.at_room = at_room
        self.once_whole = once_whole
        self.most = most
        self.draining = False
        self.crowded = False
        self.heard: list[Heard] = []
        self.refusals: list[ActivatorError] = []
        self.connections: set[ServerConnection] = set()
        self.turned_away = 0

    def opened(self, connection: ServerConnection) -> bool:
        if len(self.connections) >= self.most:
            self.turned_away += 1
            return False
        self.connections.add(connection)
        return True

    def closed(self, connection: ServerConnection) -> None:
        self.connections.remove(connection)

    def request(self, connection: ServerConnection, head: RequestHead) -> None:
        heard = Heard(self, connection, head)
        connection.receiver = heard
        self.heard.append(heard)
        self.at_head(heard)
        if head.length == 0 and connection.receiver is heard:
            heard.body_ended([])

    def refused(self, connection: ServerConnection, error: ActivatorError) -> None:
        self.refusals.append(error)
        body = str(error).encode()
        connection.begin_answer(
            b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n" % (error.status, len(body)),
            length=len(body),
        )
        connection.send(body)
        connection.finish()

    async def hears(self, count: int = 1, *, within: float = 5.0) -> Heard:
        """The last of `count` requests."""
        await eventually(lambda: len(self.heard) >= count, within=within)
        return self.heard[count - 1]


class House:
    """A listening socket with a service behind it."""

    def __init__(self, service: RecordingService, limits: ServerLimits) -> None:
        loop = asyncio.get_running_loop()
        self.service = service
        self.deadlines = Deadlines(loop)
        self.hangups = HangupWatch(loop)
        self.kit = ServerKit(
            loop=loop,
            service=service,
            deadlines=self.deadlines,
            hangups=self.hangups,
            outbox=Outbox(),
            limits=limits,
        )
        self.address = ("", 0)
        self.tls: ssl.SSLContext | None = None
        self._clients: list[RawClient] = []

    async def client(self, *, buffer: int = 1 << 16) -> RawClient:
        """Closed with the house, unless it was before."""
        client = await RawClient.connect(*self.address, tls=self.tls, buffer=buffer)
        self._clients.append(client)
        return client

    async def close(self) -> None:
        for client in self._clients:
            await client.close()
        for connection in list(self.service.connections):
            connection.break_off()
        await eventually(lambda: not self.service.connections)
        assert len(self.hangups) == 0
        self.hangups.close()
        self.deadlines.close()


@contextlib.asynccontextmanager
async def listening(
    service: RecordingService,
    *,
    limits: ServerLimits | None = None,
    tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None,
) -> AsyncIterator[House]:
    """`tls`: the contexts of the server and of its clients."""
    loop = asyncio.get_running_loop()
    house = House(service, limits or ServerLimits())
    with nothing_reported(loop):
        server = await loop.create_server(
            lambda: ServerConnection(house.kit),
            "127.0.0.1",
            0,
            ssl=tls[0] if tls else None,
            ssl_shutdown_timeout=TLS_SHUTDOWN if tls else None,
            backlog=1024,
        )
        house.address = server.sockets[0].getsockname()
        house.tls = tls[1] if tls else None
        try:
            yield house
        finally:
            server.close()
            await house.close()


@contextlib.contextmanager
def nothing_reported(loop: asyncio.AbstractEventLoop) -> Any:
    """Fails if a callback of the loop has raised meanwhile."""
    reports: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, report: reports.append(report))
    try:
        yield
    finally:
        loop.set_exception_handler(None)
    assert reports == []
