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

    def __init__(self, desk: Desk, answer: Callable[[Heard], None]) -> None:
        self.transport = PaperTransport()
        self.service = RecordingService(once_whole=answer)
        self.connection = ServerConnection(replace(desk.kit(self.service), outbox=Outbox()))
        self.transport.set_protocol(self.connection)
        self.connection.connection_made(self.transport)
        self.connection.data_received(GET)


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
