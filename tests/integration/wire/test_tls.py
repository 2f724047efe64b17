"""The same over TLS, where asyncio puts a layer of its own between the socket and us."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from activator.aiokit.taking import taken_by, unsent
from activator.wire.server import ServerLimits
from tests.rawclient import Cut, RawClient
from tests.service import Heard, RecordingService, listening
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("each_write")

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
FOLDER = Path(__file__).parent


@pytest.fixture(scope="module")
def tls() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(FOLDER / "localhost.pem", FOLDER / "localhost.key")
    client = ssl.create_default_context(cafile=str(FOLDER / "localhost.pem"))
    return server, client


Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


async def test_requests_are_answered_in_order(tls: Contexts) -> None:
    async with listening(RecordingService(), tls=tls) as house:
        client = await house.client()
        client.send(GET * 100 + b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab")
        for _ in range(100):
            assert (await client.reply()).body == b"GET / "
        assert (await client.reply()).body == b"POST / ab"


async def test_what_can_be_misread_is_refused(tls: Contexts) -> None:
    async with listening(RecordingService(), tls=tls) as house:
        client = await house.client()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + GET)
        assert (await client.reply()).status == 400
        await client.close()
        await eventually(lambda: not house.service.connections)
        assert house.service.heard == []


async def test_plain_text_gets_nowhere(tls: Contexts) -> None:
    async with listening(RecordingService(), tls=tls) as house:
        client = await RawClient.connect(*house.address)
        client.send(GET)
        assert b"HTTP" not in await client.rest()
        await client.close()
        assert house.service.heard == []


def rst(client: RawClient) -> None:
    client.reset()


def bye(client: RawClient) -> None:
    """A goodbye of TLS and the end of the connection behind it, as OpenSSL's clients do it."""
    client.writer.close()
    client.writer.transport.abort()


leaves = pytest.mark.parametrize("leave", [rst, bye])


@leaves
@pytest.mark.parametrize("pause", [False, True], ids=["reading", "paused"])
@pytest.mark.parametrize("size", [0, 10_000, 400_000])
async def test_a_client_that_leaves_is_noticed(
    tls: Contexts, leave: Callable[[RawClient], None], *, pause: bool, size: int
) -> None:
    def at_head(heard: Heard) -> None:
        if pause:
            heard.connection.pause_body()

    service = RecordingService(at_head=at_head, once_whole=lambda heard: None)
    async with listening(service, tls=tls) as house:
        client = await house.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        heard = await service.hears()
        client.send(bytes(size))
        await asyncio.sleep(0.02)
        leave(client)
        await eventually(lambda: heard.left, within=1.0)
        await eventually(lambda: not service.connections)
        assert len(house.hangups) == 0


async def test_a_paused_body_stays_with_its_client_and_flows_on(tls: Contexts) -> None:
    service = RecordingService(at_piece=lambda heard: heard.connection.pause_body())
    size = 8 << 20
    async with listening(service, tls=tls) as house:
        client = await house.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        uploading = asyncio.gather(upload(client, size))
        heard = await service.hears()
        await eventually(lambda: heard.size > 0)
        await asyncio.sleep(0.05)
        assert heard.size < 1 << 20
        while not heard.whole:
            heard.connection.resume_body()
            await asyncio.sleep(0)
        await uploading
        assert heard.size == size
        assert (await client.reply()).status == 200


async def upload(client: RawClient, size: int) -> None:
    for _ in range(size >> 16):
        client.send(bytes(1 << 16))
        await client.drain()


async def test_a_client_that_does_not_read_is_sent_no_more(tls: Contexts) -> None:
    sent = 0

    def pour(heard: Heard) -> None:
        nonlocal sent
        if not heard.connection.answering:
            heard.begin()
        told = len(heard.room)
        while heard.room[told:] == []:
            heard.connection.send(bytes(1 << 16))
            sent += 1 << 16

    service = RecordingService(once_whole=pour, at_room=pour)
    async with listening(service, tls=tls) as house:
        client = await house.client()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(GET)
        await service.hears()
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.05)
        assert service.heard[0].room[-1] is False
        assert sent < 24 << 20
        client.reset()


async def test_an_early_answer_reaches_a_client_that_still_sends(tls: Contexts) -> None:
    answer = bytes(1 << 20)
    service = RecordingService(at_head=lambda heard: heard.answer(answer, status=413))
    async with listening(service, tls=tls) as house:
        client = await house.client(buffer=4 << 20)
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (4 << 20))
        await upload(client, 4 << 20)
        reply = await client.reply()
        assert (reply.status, reply.body) == (413, answer)


async def test_what_a_client_takes_is_seen_though_a_layer_below_keeps_what_is_left(
    tls: Contexts,
) -> None:
    loop = asyncio.get_running_loop()
    accepted: list[asyncio.Transport] = []

    class Writes(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            accepted.append(cast("asyncio.Transport", transport))
            accepted[0].write(bytes(64 << 20))

    server = await loop.create_server(Writes, "127.0.0.1", 0, ssl=tls[0])
    client = await RawClient.connect(*server.sockets[0].getsockname(), tls=tls[1])
    try:
        await client.exactly(1)
        before = taken_by(accepted[0])
        assert unsent(accepted[0]) < 32 << 20, "all of it is counted: there is no layer below"

        await client.exactly(8 << 20)

        assert taken_by(accepted[0]) - before > 1 << 20
    finally:
        accepted[0].abort()
        client.reset()
        server.close()


async def test_a_last_answer_ends_with_a_goodbye(tls: Contexts) -> None:
    """A body until the close is complete only if the TLS session ends, not if it is cut."""

    def act(heard: Heard) -> None:
        heard.begin(length=-2)
        heard.connection.send(b"whole")
        heard.connection.finish()

    async with listening(RecordingService(once_whole=act), tls=tls) as house:
        client = await house.client()
        client.send(GET)
        reply = await client.reply(within=1.0)
        assert (reply.get("connection"), reply.body) == (b"close", b"whole")


async def test_a_broken_answer_is_a_reset(tls: Contexts) -> None:
    service = RecordingService(once_whole=lambda heard: heard.begin())
    async with listening(service, tls=tls) as house:
        client = await house.client()
        client.send(GET)
        await client.head()
        service.heard[0].connection.abort()
        with pytest.raises(Cut, match="reset"):
            await client.rest()


async def test_clocks_run_here_too(tls: Contexts) -> None:
    limits = ServerLimits(head_timeout=0.1, keep_alive=0.1)
    async with listening(RecordingService(), limits=limits, tls=tls) as house:
        client = await house.client()
        client.send(GET)
        await client.reply()
        assert await client.ended() == "eof"
        await eventually(lambda: not house.service.connections)


async def test_clients_that_reset_at_any_moment_disturb_nobody(tls: Contexts) -> None:
    def act(heard: Heard) -> None:
        heard.connection.pause_body()
        heard.begin()
        asyncio.get_running_loop().call_soon(end, heard)

    def end(heard: Heard) -> None:
        if not heard.left:
            heard.connection.send(bytes(100_000))
            heard.connection.finish()

    service = RecordingService(at_head=act, once_whole=lambda heard: None)
    async with listening(service, tls=tls) as house:
        for wait in range(25):
            client = await house.client()
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx")
            for _ in range(wait):
                await asyncio.sleep(0)
            client.reset()
        await eventually(lambda: not service.connections)


async def test_bodies_come_through_in_sips(tls: Contexts) -> None:
    service = RecordingService()
    async with listening(service, tls=tls) as house:
        client = await house.client()
        await eventually(lambda: service.connections)
        for crowded in (True, False, True):
            service.crowded = crowded
            for connection in service.connections:
                (connection.sip if crowded else connection.gulp)()
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
            client.send(bytes(100_000))
            assert (await client.reply()).body == b"POST / " + bytes(100_000)


async def test_a_large_body_is_not_lent(tls: Contexts) -> None:
    service = RecordingService(
        at_head=lambda heard: heard.connection.pour(),
        once_whole=lambda heard: heard.answer(b"%d" % heard.size),
    )
    async with listening(service, tls=tls) as house:
        client = await house.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (8 << 20))
        client.send(bytes(8 << 20))
        assert (await client.reply()).body == b"%d" % (8 << 20)
    assert {type(piece) for piece in service.heard[0].pieces} == {bytes}
