"""A scripted model server on a real socket: what it does with a request is a test's coroutine.

It answers its own probe (`/ready`) without counting it, records everything else as it came, byte
by byte, and never helps: what a behaviour sends is what goes out.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from activator.aiokit.tasks import Tasks
from activator.core.endpoint import Replica as Address
from tests.support import eventually

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterator

PROBE_PATH = "/ready"
MODELS_PATH = "/v1/models"
"""What an activator asks a replica itself, not through the proxy; it is not counted either."""
LIMIT = 64 << 10
"""Bytes that a replica takes in before its behaviour reads them; then back-pressure begins."""

Behaviour: TypeAlias = "Callable[[Talk], Awaitable[None]]"


@dataclass(slots=True)
class Heard:
    """One request as it came."""

    raw: bytes
    """The head, empty line included."""
    method: bytes
    target: bytes
    fields: list[tuple[bytes, bytes]]
    """(name as written, value), in order."""
    connection: int
    """Which of the replica's connections it came on, from 0."""
    body: bytearray = field(default_factory=bytearray)
    chunks: list[bytes] = field(default_factory=list)
    trailers: list[bytes] = field(default_factory=list)
    whole: bool = False
    """The body has been read to its end."""

    def get(self, name: str) -> bytes | None:
        """The first value of a field, whatever its case."""
        return next(iter(self.get_all(name)), None)

    def get_all(self, name: str) -> list[bytes]:
        lower = name.lower().encode()
        return [value for key, value in self.fields if key.lower() == lower]


class Gone(Exception):
    """The activator closed the connection while the behaviour wanted more of it."""


class Talk:
    """One request at the replica, and everything a behaviour may do about it."""

    def __init__(
        self,
        replica: Replica,
        heard: Heard,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.replica = replica
        self.heard = heard
        self.reader = reader
        self.writer = writer

    # --- the request's body

    async def body(self) -> bytes:
        """All of it, unframed."""
        while not self.heard.whole:
            await self.piece()
        return bytes(self.heard.body)

    async def piece(self) -> bytes:
        """The next piece: one chunk of a chunked body, or what is there; b"" at the end."""
        heard = self.heard
        if heard.whole:
            return b""
        if (length := heard.get("content-length")) is not None:
            left = int(length) - len(heard.body)
            data = await self._read(min(left, LIMIT)) if left else b""
            heard.body += data
            heard.whole = len(heard.body) == int(length)
            return data
        if heard.get("transfer-encoding") is None:
            heard.whole = True
            return b""
        size = int(await self._line(), 16)
        if size:
            data = await self._exactly(size)
            assert await self._exactly(2) == b"\r\n"
            heard.chunks.append(data)
            heard.body += data
            return data
        while line := await self._line():
            heard.trailers.append(line)
        heard.whole = True
        return b""

    async def _read(self, size: int) -> bytes:
        data = await self.reader.read(size)
        if not data:
            raise Gone
        return data

    async def _exactly(self, size: int) -> bytes:
        try:
            return await self.reader.readexactly(size)
        except asyncio.IncompleteReadError as error:
            raise Gone from error

    async def _line(self) -> bytes:
        try:
            return (await self.reader.readuntil(b"\r\n"))[:-2]
        except asyncio.IncompleteReadError as error:
            raise Gone from error

    # --- the answer

    def send(self, data: bytes) -> None:
        if self.writer.is_closing():
            raise Gone
        self.writer.write(data)

    async def drain(self) -> None:
        await self.writer.drain()

    async def answer(
        self, status: int = 200, body: bytes = b"", *, fields: bytes = b"", reason: bytes = b"OK"
    ) -> None:
        """Reads the request's body, then answers with a Content-Length. `fields` with CRLFs."""
        await self.body()
        self.send(
            b"HTTP/1.1 %d %b\r\nContent-Length: %d\r\n%b\r\n" % (status, reason, len(body), fields)
        )
        if self.heard.method != b"HEAD":
            self.send(body)

    def begin_chunks(self, *, fields: bytes = b"") -> None:
        self.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n%b\r\n" % fields)

    def chunk(self, data: bytes) -> None:
        """One chunk; an empty one ends the body."""
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def close(self) -> None:
        """FIN after everything that was sent."""
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    def reset(self) -> None:
        """RST."""
        reset(self.writer)

    async def gone(self, *, within: float = 5.0) -> None:
        """Until the activator has closed or reset its side; what it sends meanwhile is kept."""
        async with asyncio.timeout(within):
            with contextlib.suppress(ConnectionError):
                while data := await self.reader.read(LIMIT):
                    self.heard.body += data


def reset(writer: asyncio.StreamWriter) -> None:
    """RST, if the connection has not ended already."""
    sock = writer.get_extra_info("socket")
    if sock is None or writer.is_closing():
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def hello(talk: Talk) -> None:
    """What a replica does unless a test says otherwise."""
    await talk.answer(200, b"hello", fields=b"Content-Type: text/plain\r\n")


def says(raw: bytes) -> Behaviour:
    """Reads the body, then sends exactly these bytes."""

    async def behave(talk: Talk) -> None:
        await talk.body()
        talk.send(raw)

    return behave


def says_and_closes(raw: bytes) -> Behaviour:
    """Reads the body, sends exactly these bytes and closes."""

    async def behave(talk: Talk) -> None:
        await talk.body()
        talk.send(raw)
        await talk.close()

    return behave


class Replica:
    """See the module. `behave` may be exchanged at any time and holds for the next request."""

    def __init__(
        self,
        behave: Behaviour = hello,
        *,
        host: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.behave = behave
        self._tls = tls
        self.host = host
        self.port = 0
        self.ready = True
        """False: its probe is answered with 503."""
        self.models: bytes | None = None
        """What it says it serves; None: it does not say."""
        self.requests: list[Heard] = []
        self.connections = 0
        """Connections that brought a request, so far; probes come on others."""
        self.open = 0
        """Of these, the ones that are open now."""
        self.in_flight = 0
        self.most_in_flight = 0
        self.failures: list[BaseException] = []
        """What behaviours raised, `Gone` and connection errors apart."""
        self._server: asyncio.Server | None = None
        self._placeholder: socket.socket | None = None
        self._tasks = Tasks("replica", on_failure=lambda _, error: self.failures.append(error))
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen, at the same port as before if it did once."""
        if self._placeholder is not None:
            self._placeholder.close()
            self._placeholder = None
        self._server = await asyncio.start_server(
            self._accepted, self.host, self.port, limit=LIMIT, reuse_address=True, ssl=self._tls
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Refuse new connections; those that are open stay. The port stays ours."""
        if self._server is not None:
            loop = asyncio.get_running_loop()
            for each in self._server.sockets:
                loop.remove_reader(each.fileno())
            await asyncio.sleep(0)  # who was accepted just now: asyncio loses it if it closes first
            self._server.close()
            self._server = None
            self._placeholder = socket.socket()
            self._placeholder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._placeholder.bind((self.host, self.port))

    def drop_connections(self) -> None:
        """Reset every connection that is open."""
        for writer in list(self._writers):
            reset(writer)
        self._writers.clear()

    async def stop(self) -> None:
        """End it: nothing of it is left."""
        await self.refuse()
        if self._placeholder is not None:
            self._placeholder.close()
            self._placeholder = None
        self.drop_connections()
        for _ in range(3):  # what was accepted before needs so many turns to come to `_accepted`
            await asyncio.sleep(0)
        await self._tasks.aclose()
        self.drop_connections()  # whose tasks had not begun

    async def heard(self, count: int = 1, *, within: float = 5.0) -> Heard:
        """The request number `count` (from 1), once its head has come."""
        await eventually(lambda: len(self.requests) >= count, within=within)
        return self.requests[count - 1]

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        if self._server is None and self._placeholder is None:
            self.drop_connections()  # it came while this was ended
        else:
            self._tasks.spawn(self._serve(reader, writer), name="connection")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = -1
        try:
            while (heard := await _read_head(reader)) is not None:
                if heard.target == PROBE_PATH.encode():
                    self._answer_probe(writer)
                    continue
                if heard.target == MODELS_PATH.encode() and heard.get("via") is None:
                    self._tell_models(writer)
                    continue
                if number < 0:
                    number = self.connections
                    self.connections += 1
                    self.open += 1
                heard.connection = number
                talk = Talk(self, heard, reader, writer)
                await self._talk(talk)
                if writer.is_closing() or not heard.whole:
                    return
        except (Gone, ConnectionError):
            pass
        finally:
            if number >= 0:
                self.open -= 1
            self._writers.discard(writer)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def _tell_models(self, writer: asyncio.StreamWriter) -> None:
        body = self.models or b""
        status = b"200 OK" if body else b"404 Not Found"
        writer.write(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))

    async def _talk(self, talk: Talk) -> None:
        self.requests.append(talk.heard)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await self.behave(talk)
            if not talk.writer.is_closing():
                await talk.drain()
                await talk.body()
        finally:
            self.in_flight -= 1

    def _answer_probe(self, writer: asyncio.StreamWriter) -> None:
        status = b"200 OK" if self.ready else b"503 Service Unavailable"
        writer.write(b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % status)


async def _read_head(reader: asyncio.StreamReader) -> Heard | None:
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise Gone from error
        return None
    first, *lines = raw[:-4].split(b"\r\n")
    method, target, _ = first.split(b" ")
    fields = [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    return Heard(raw, method, target, fields, connection=-1)


@contextlib.contextmanager
def deaf() -> Iterator[Address]:
    """An address at which nobody ever accepts: its queue is full."""
    with contextlib.ExitStack() as sockets:
        server = sockets.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(3):
            filler = sockets.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        yield Address("deaf", *server.getsockname())
