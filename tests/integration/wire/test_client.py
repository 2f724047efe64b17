"""A connection to a replica on real sockets: kept, closed, held back, and never believed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from activator.aiokit.deadlines import Deadlines
from activator.aiokit.outbox import Outbox
from activator.wire.client import ClientConnection
from activator.wire.heads import CHUNKED, HeadLimits
from tests.replica import reset
from tests.service import nothing_reported
from tests.support import eventually
from tests.unit.wire.paper import Asked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Asking(Asked):
    """A sink that also notes back-pressure and its clock."""

    def __init__(self) -> None:
        super().__init__(takes_whole=False)
        self.room: list[bool] = []
        self.rang = 0

    def upstream_writable(self, *, ok: bool) -> None:
        self.room.append(ok)

    def on_deadline(self, now: float) -> None:
        self.rang += 1

    async def ends(self, *, within: float = 5.0) -> None:
        await eventually(
            lambda: self.trailers is not None or self.failure is not None, within=within
        )


class Upstream:
    """The replica's address, and the connections to it that are open."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.deadlines = Deadlines(asyncio.get_running_loop())
        self.open: set[ClientConnection] = set()

    async def connect(self) -> ClientConnection:
        def make() -> ClientConnection:
            return ClientConnection(
                limits=HeadLimits(),
                deadlines=self.deadlines,
                on_closed=self.open.remove,
                outbox=Outbox(),
            )

        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(make, "127.0.0.1", self.port)
        self.open.add(connection)
        return connection

    def ask(
        self, connection: ClientConnection, *, method: bytes = b"GET", length: int = 0
    ) -> Asking:
        asking = Asking()
        connection.begin(REQUEST, method=method, length=length, upgrade=False, sink=asking)
        return asking


@contextlib.asynccontextmanager
async def upstream(script: Script) -> AsyncIterator[Upstream]:
    """A server whose every connection runs the script; none of ours may be left at the end."""
    talks: list[asyncio.StreamWriter] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.append(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await script(reader, writer)

    with nothing_reported(asyncio.get_running_loop()):
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        made = Upstream(server.sockets[0].getsockname()[1])
        try:
            yield made
        finally:
            for connection in list(made.open):
                connection.close()
            made.deadlines.close()
            server.close()
            for writer in talks:
                writer.close()
            await asyncio.sleep(0.01)  # for their ends to be told


async def heard_whole(reader: asyncio.StreamReader) -> None:
    await reader.readuntil(b"\r\n\r\n")


def says(*answers: bytes) -> Script:
    """One of them to each request; then it stays."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await heard_whole(reader)
            writer.write(answer)
        await reader.read()

    return script


def says_and_ends(answer: bytes, end: Callable[[asyncio.StreamWriter], None]) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard_whole(reader)
        writer.write(answer)
        await writer.drain()
        await asyncio.sleep(0.02)
        end(writer)

    return script


def close(writer: asyncio.StreamWriter) -> None:
    writer.close()


# --- one after the other ------------------------------------------------------------------------


async def test_a_connection_carries_request_after_request() -> None:
    async with upstream(says(*[ANSWER] * 50)) as up:
        connection = await up.connect()
        for _ in range(50):
            asking = up.ask(connection)
            await asking.ends()
            assert bytes(asking.body) == b"hello"
            assert asking.trailers == []
            assert connection.usable


async def test_trailers_are_told() -> None:
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n"
    )
    async with upstream(says(chunked, ANSWER)) as up:
        connection = await up.connect()
        asking = up.ask(connection)
        await asking.ends()
        assert asking.trailers == [(b"x", b"y", b"X: y")]
        assert connection.usable


async def test_the_rest_that_a_server_announces_is_remembered() -> None:
    for value, seconds in (
        (b"timeout=5", 5.0),
        (b"max=100, Timeout = 7", 7.0),
        (b"timeout=" + b" " * 20 + b"5", 5.0),
        (b"timeout=x", float("inf")),
        (b"timeout=-1", float("inf")),
        (b"timeout", float("inf")),
    ):
        answer = ANSWER.replace(b"\r\n\r\n", b"\r\nKeep-Alive: " + value + b"\r\n\r\n", 1)
        async with upstream(says(answer)) as up:
            connection = await up.connect()
            asking = up.ask(connection)
            await asking.ends()
            assert asking.failure is None
            assert connection.keep_alive_for == seconds


async def test_bytes_that_nobody_asked_for_end_a_connection_that_rests() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard_whole(reader)
        writer.write(ANSWER)
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.write(ANSWER)
        await reader.read()

    async with upstream(script) as up:
        connection = await up.connect()
        asking = up.ask(connection)
        await asking.ends()
        assert connection.usable
        await eventually(lambda: not up.open)
        assert not connection.usable


@pytest.mark.parametrize("end", [close, reset])
async def test_a_server_that_closes_a_connection_that_rests_is_noticed(
    end: Callable[[asyncio.StreamWriter], None],
) -> None:
    async with upstream(says_and_ends(ANSWER, end)) as up:
        connection = await up.connect()
        asking = up.ask(connection)
        await asking.ends()
        assert asking.failure is None
        await eventually(lambda: not up.open)
        assert not connection.usable


# --- endings ------------------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("end", [close, reset])
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTT",
        HEAD,
        HEAD + b"Content-Length: 9\r\n\r\nhello",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n",
    ],
    ids=["nothing", "3 bytes", "half a head", "a length", "chunks", "last chunk", "trailers"],
)
async def test_an_answer_that_ends_short_is_lost(
    answer: bytes, end: Callable[[asyncio.StreamWriter], None]
) -> None:
    async with upstream(says_and_ends(answer, end)) as up:
        asking = up.ask(await up.connect())
        await asking.ends()
        assert asking.failure is not None
        assert asking.trailers is None
        assert asking.failure.invalid == (0 < len(answer) < 20)
        assert not up.open


async def test_an_answer_until_the_close_is_whole_with_it_but_not_with_a_reset() -> None:
    for end, whole in ((close, True), (reset, False)):
        async with upstream(says_and_ends(HEAD + b"\r\nhello", end)) as up:
            asking = up.ask(await up.connect())
            await asking.ends()
            assert asking.body == b"hello"
            assert (asking.trailers is not None) is whole
            assert not up.open


@pytest.mark.parametrize(
    "answer",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nhello",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000,
        HEAD + b"X: " + b"x" * (1 << 20),
    ],
    ids=["binary", "ssh", "lengths", "chunks", "101", "100s", "large"],
)
async def test_what_is_no_answer_is_lost_as_invalid(answer: bytes) -> None:
    async with upstream(says(answer)) as up:
        asking = up.ask(await up.connect())
        await asking.ends()
        assert asking.failure is not None
        assert asking.failure.invalid
        assert not up.open


async def test_an_answer_before_the_request_has_ended_is_told_and_the_connection_closed() -> None:
    async with upstream(says(ANSWER)) as up:
        connection = await up.connect()
        asking = up.ask(connection, method=b"POST", length=CHUNKED)
        connection.send(b"half")
        await asking.ends()
        assert asking.trailers == []
        assert not up.open
        connection.send(b"nobody reads it")
        connection.finish([])


async def test_a_head_that_is_followed_goes_with_the_first_bytes_or_with_the_end() -> None:
    received = bytearray()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            received.extend(await reader.readuntil(b"0\r\n\r\n"))
            writer.write(ANSWER)
        await reader.read()

    async with upstream(script) as up:
        connection = await up.connect()
        for body in (b"hello", b""):
            asking = Asking()
            connection.begin(
                b"POST\r\n",
                method=b"POST",
                length=CHUNKED,
                upgrade=False,
                sink=asking,
                followed=True,
            )
            connection.send(body)
            connection.finish([])
            await asking.ends()
        assert received == b"POST\r\n5\r\nhello\r\n0\r\n\r\nPOST\r\n0\r\n\r\n"


# --- what its owner does ------------------------------------------------------------------------


async def test_closing_says_nothing_to_the_sink_and_failing_does() -> None:
    async with upstream(says()) as up:
        closed, failed = await up.connect(), await up.connect()
        asking_closed, asking_failed = up.ask(closed), up.ask(failed)
        closed.close()
        closed.close()
        failed.fail("the replica was stopped")
        assert asking_closed.failure is None
        assert asking_failed.failure is not None
        assert asking_failed.failure.detail == "the replica was stopped"
        assert not up.open


async def test_the_clock_is_the_sinks_and_of_a_connection_that_rests_its_end() -> None:
    loop = asyncio.get_running_loop()
    async with upstream(says(ANSWER)) as up:
        connection = await up.connect()
        asking = Asking()
        connection.begin(b"GET", method=b"GET", length=0, upgrade=False, sink=asking)
        connection.set_deadline(loop.time() + 0.05)
        await eventually(lambda: asking.rang == 1)
        connection.send(REQUEST[3:])
        await asking.ends()
        connection.set_deadline(loop.time() + 0.05)
        await eventually(lambda: not up.open)
        assert asking.rang == 1


# --- back-pressure ------------------------------------------------------------------------------


async def test_a_paused_answer_stays_with_the_replica() -> None:
    size = 32 << 20

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard_whole(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size >> 16):
            writer.write(bytes(1 << 16))
            await writer.drain()
        await reader.read()

    async with upstream(pour) as up:
        connection = await up.connect()
        asking = up.ask(connection)
        await eventually(lambda: asking.head)
        connection.pause()
        connection.pause()
        await asyncio.sleep(0.02)
        before = len(asking.body)
        await asyncio.sleep(0.05)
        assert len(asking.body) == before
        connection.resume()
        await asking.ends()
        assert len(asking.body) == size


async def test_a_pause_does_not_outlive_the_answer_it_was_meant_for() -> None:
    """The last bytes of an answer may be what fills its client: nobody resumes it any more."""

    class Pausing(Asking):
        def data(self, data: bytes) -> None:
            super().data(data)
            connection.pause()

    async with upstream(says(ANSWER, ANSWER)) as up:
        connection = await up.connect()
        for _ in range(2):
            asking = Pausing()
            connection.begin(REQUEST, method=b"GET", length=0, upgrade=False, sink=asking)
            await asking.ends(within=1.0)
            assert asking.failure is None


async def test_a_replica_that_does_not_read_is_sent_no_more_and_not_used_again() -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard_whole(reader)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.wait_for(answer_now.wait(), 5)
        writer.write(ANSWER)
        await asyncio.sleep(5)

    answer_now = asyncio.Event()
    async with upstream(deaf) as up:
        connection = await up.connect()
        asking = up.ask(connection, method=b"POST", length=1 << 30)
        sent = 0
        while asking.room[-1:] != [False]:
            connection.send(bytes(1 << 16))
            sent += 1 << 16
            assert sent < 64 << 20
            await asyncio.sleep(0)
        connection.finish([])
        answer_now.set()
        await asking.ends()
        assert asking.trailers == []
        assert not connection.usable
        assert not up.open


async def test_room_is_told_once_there_is_some() -> None:
    received = 0

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        await heard_whole(reader)
        await asyncio.wait_for(read_now.wait(), 5)
        while received < size:
            received += len(await reader.read(1 << 20))
        writer.write(ANSWER)
        await reader.read()

    size, read_now = 24 << 20, asyncio.Event()
    async with upstream(slow) as up:
        connection = await up.connect()
        asking = up.ask(connection, method=b"POST", length=size)
        for _ in range(size >> 16):
            connection.send(bytes(1 << 16))
        connection.finish([])
        assert asking.room == [False]
        read_now.set()
        await asking.ends()
        assert asking.room == [False, True]
        assert connection.usable
