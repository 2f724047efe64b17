"""Connections whose writes wait for the end of the turn lose nothing of them, whatever follows."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from activator.aiokit import outbox
from activator.aiokit.outbox import Outbox
from activator.wire.client import ClientConnection
from activator.wire.heads import CHUNKED, HeadLimits
from activator.wire.server import ServerConnection
from activator.wire.tunnel import Tunnel
from tests.service import RecordingService
from tests.unit.wire.paper import Asked, PaperTransport, paper_desk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.service import Heard
    from tests.unit.wire.paper import Desk

GET = b"GET / HTTP/1.1\r\nHost: m\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
WHOLE = HEAD + b"\r\nhi"


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    with paper_desk() as made:
        yield made


@pytest.fixture(autouse=True)
def together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "TRIED_AGAIN", 0)


class Server:
    """A client's connection; each request is answered at once."""

    def __init__(
        self,
        desk: Desk,
        answer: Callable[[Heard], None],
        transport: PaperTransport | None = None,
    ) -> None:
        self.transport = transport or PaperTransport()
        self.service = RecordingService(once_whole=answer)
        self.connection = ServerConnection(replace(desk.kit(self.service), outbox=Outbox()))
        self.transport.set_protocol(self.connection)
        self.connection.connection_made(self.transport)
        self.connection.data_received(GET)


class NarrowTransport(PaperTransport):
    """Says that it is full with the first write."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        super().write(data)
        if self.writes == 1:
            self.protocol.pause_writing()


def whole(heard: Heard) -> None:
    heard.connection.answer(HEAD, b"hi")


def in_chunks(heard: Heard) -> None:
    heard.connection.begin_answer(b"HTTP/1.1 200 OK\r\n", length=CHUNKED)


def at_rest(at: ServerConnection) -> None:
    at.close_if_idle()


def left(at: ServerConnection) -> None:
    at.eof_received()


def broken_off(at: ServerConnection) -> None:
    at.break_off()


def aborted(at: ServerConnection) -> None:
    at.abort()


@pytest.mark.parametrize("end", [at_rest, left, broken_off, aborted])
def test_an_answer_is_written_before_its_connection_is_closed(
    desk: Desk, end: Callable[[ServerConnection], None]
) -> None:
    async def play() -> None:
        at = Server(desk, whole)
        assert at.transport.written == b"", "it waits"
        end(at.connection)
        assert at.transport.is_closed
        assert at.transport.written == WHOLE

    asyncio.run(play())


def test_what_follows_in_the_same_turn_is_written_behind_it(desk: Desk) -> None:
    async def play() -> None:
        at = Server(desk, whole)
        at.connection.data_received(GET)
        at.connection.data_received(b"GET\r\n\r\n")  # is refused, which ends the connection
        refusals = at.transport.written.removeprefix(WHOLE * 2)
        assert refusals.startswith(b"HTTP/1.1 400 "), bytes(at.transport.written)
        at.connection.break_off()

    asyncio.run(play())


def test_head_and_chunks_keep_their_order(desk: Desk) -> None:
    async def play() -> None:
        at = Server(desk, in_chunks)
        at.connection.send_chunk(b"1\r\na\r\n", 1)
        at.connection.send(b"b")
        at.connection.finish()
        assert at.transport.written == b""
        await asyncio.sleep(0)
        _, body = bytes(at.transport.written).split(b"\r\n\r\n", 1)
        assert body == b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n"
        at.connection.break_off()

    asyncio.run(play())


def test_a_request_is_written_in_its_turn_and_its_answer_is_heard(desk: Desk) -> None:
    async def play() -> None:
        transport, asked = PaperTransport(), Asked()
        connection = ClientConnection(
            limits=HeadLimits(),
            deadlines=desk.deadlines,
            on_closed=lambda connection: None,
            outbox=Outbox(),
        )
        transport.set_protocol(connection)
        connection.connection_made(transport)
        connection.begin(GET, method=b"GET", length=3, upgrade=False, sink=asked)
        connection.send(b"abc")
        connection.finish([])
        assert transport.written == b""
        await asyncio.sleep(0)
        assert transport.written == GET + b"abc"
        connection.data_received(WHOLE)
        assert asked.body == b"hi"
        connection.close()

    asyncio.run(play())


class Full:
    """The second of two requests, when the first one's answer is found to be more than the client
    takes."""

    def __init__(self, desk: Desk) -> None:
        self.at = Server(desk, self._first, NarrowTransport())

    def _first(self, heard: Heard) -> None:
        if len(heard.service.heard) == 1:
            whole(heard)

    async def second(self) -> Heard:
        self.at.connection.data_received(GET)
        await asyncio.sleep(0)
        assert self.at.transport.written == WHOLE
        return self.at.service.heard[-1]


def test_an_answer_is_told_of_a_client_that_was_found_full_before_it_began(desk: Desk) -> None:
    async def play() -> None:
        full = Full(desk)
        heard = await full.second()
        assert heard.room == [], "there is nothing to hold back yet"
        heard.begin()
        assert heard.room == [False]
        full.at.connection.resume_writing()
        assert heard.room == [False, True]
        full.at.connection.break_off()

    asyncio.run(play())


def test_nobody_hears_of_a_client_that_has_caught_up_before_the_answer(desk: Desk) -> None:
    async def play() -> None:
        full = Full(desk)
        heard = await full.second()
        full.at.connection.resume_writing()
        heard.begin()
        assert heard.room == []
        full.at.connection.break_off()

    asyncio.run(play())


def test_a_tunnel_is_told_of_a_client_that_was_found_full_before(desk: Desk) -> None:
    class OtherEnd:
        paused = 0

        def write_raw(self, data: bytes) -> None: ...

        def pause_raw(self) -> None:
            self.paused += 1

        def resume_raw(self) -> None:
            self.paused -= 1

        def close_raw(self) -> None: ...

    async def play() -> None:
        full, other = Full(desk), OtherEnd()
        heard = await full.second()
        tunnel = Tunnel(heard.connection, other, clock=lambda: 0.0, ended=lambda tunnel: None)
        heard.connection.become_tunnel(b"HTTP/1.1 101 Switching Protocols\r\n", tunnel)
        assert other.paused == 1
        full.at.connection.resume_writing()
        assert other.paused == 0
        full.at.connection.break_off()

    asyncio.run(play())
