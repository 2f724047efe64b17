"""After an upgrade: bytes both ways, untouched, each side held back by the other, until an end."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from typing import TYPE_CHECKING

import pytest

from activator.aiokit.outbox import Outbox
from activator.wire import farewell
from activator.wire.client import ClientConnection
from activator.wire.heads import HeadLimits
from activator.wire.tunnel import Tunnel
from tests.replica import reset
from tests.service import Heard, House, RecordingService, listening
from tests.support import eventually
from tests.unit.wire.paper import Asked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from activator.wire.heads import ResponseHead
    from tests.rawclient import RawClient

UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


class Switching(Asked):
    """Joins the client's connection to the replica's when that switches."""

    def __init__(self, scene: Scene, heard: Heard) -> None:
        super().__init__()
        self.scene = scene
        self.heard = heard

    def upgraded(self, head: ResponseHead, rest: bytes) -> None:
        scene, client, replica = self.scene, self.heard.connection, self.scene.connections[-1]
        loop = asyncio.get_running_loop()
        end = replica.leave_to_tunnel()
        tunnel = end.tunnel = Tunnel(client, end, clock=loop.time, ended=scene.ended.append)
        scene.tunnels.append(tunnel)
        client.become_tunnel(b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\n", tunnel)
        if rest:
            tunnel.moved(end, rest)


class Scene:
    """A house in front of one replica; every request is forwarded as an upgrade."""

    def __init__(self) -> None:
        self.house: House
        self.port = 0
        self.tunnels: list[Tunnel] = []
        self.ended: list[Tunnel] = []
        self.connections: list[ClientConnection] = []
        self.open: set[ClientConnection] = set()
        self.replicas: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._tasks: set[asyncio.Future[None]] = set()

    def forward(self, heard: Heard) -> None:
        task = asyncio.gather(self._forward(heard))
        self._tasks.add(task)  # type: ignore[arg-type]

    async def _forward(self, heard: Heard) -> None:
        def make() -> ClientConnection:
            return ClientConnection(
                limits=HeadLimits(),
                deadlines=self.house.deadlines,
                on_closed=self.open.remove,
                outbox=Outbox(),
            )

        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(make, "127.0.0.1", self.port)
        self.connections.append(connection)
        self.open.add(connection)
        connection.begin(
            UPGRADE, method=b"GET", length=0, upgrade=True, sink=Switching(self, heard)
        )

    async def joined(
        self, *, early: bytes = b""
    ) -> tuple[RawClient, asyncio.StreamReader, asyncio.StreamWriter]:
        """A client and the replica's two ends, once the tunnel stands."""
        client = await self.house.client()
        client.send(UPGRADE + early)
        assert (await client.head()).status == 101
        reader, writer = self.replicas[-1]
        return client, reader, writer


@contextlib.asynccontextmanager
async def scene(*, behind: bytes = b"") -> AsyncIterator[Scene]:
    """`behind`: what the replica sends in the same breath as its 101."""

    async def replica(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            made.replicas.append((reader, writer))
            writer.write(SWITCH + behind)

    made = Scene()
    server = await asyncio.start_server(replica, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    service = RecordingService(once_whole=made.forward)
    try:
        async with listening(service) as made.house:
            yield made
            for connection in list(made.open):
                connection.fail("the scene is over")
        assert made.open == set()
        assert len(made.ended) == len(made.tunnels)
    finally:
        server.close()
        for _, writer in made.replicas:
            writer.close()
        await asyncio.sleep(0.01)  # for their ends to be told


async def test_what_comes_early_from_either_side_is_not_lost() -> None:
    async with scene(behind=b"from the replica") as s:
        client, reader, _ = await s.joined(early=b"from the client")
        assert await client.exactly(16) == b"from the replica"
        assert await reader.readexactly(15) == b"from the client"


async def test_bytes_pass_untouched_both_ways() -> None:
    every = bytes(range(256)) * 64
    async with scene() as s:
        client, reader, writer = await s.joined()
        for data in (every, b"\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x00", every):
            client.send(data)
            assert await reader.readexactly(len(data)) == data
            writer.write(data)
            assert await client.exactly(len(data)) == data
        assert s.tunnels[0].last_byte > 0


@pytest.mark.parametrize("towards_client", [False, True], ids=["to the replica", "to the client"])
async def test_a_side_that_does_not_read_holds_the_other_back(*, towards_client: bool) -> None:
    size = 48 << 20
    block = bytes(range(256)) * 256
    async with scene() as s:
        client, reader, writer = await s.joined()
        source, sink = (writer, client.reader) if towards_client else (client.writer, reader)
        sent = 0

        async def pour() -> None:
            nonlocal sent
            while sent < size:
                source.write(block)
                await source.drain()
                sent += len(block)

        pouring = asyncio.gather(pour())
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.05)
        assert sent < size  # the kernel's buffers are full and so are ours
        digest, read = hashlib.sha256(), 0
        while read < size:
            data = await sink.read(1 << 20)
            digest.update(data)
            read += len(data)
        await pouring
        assert digest.digest() == hashlib.sha256(block * (size // len(block))).digest()


async def end_client(s: Scene, client: RawClient) -> None:
    await client.close()


async def reset_client(s: Scene, client: RawClient) -> None:
    client.reset()


async def half_close_client(s: Scene, client: RawClient) -> None:
    client.half_close()


async def end_replica(s: Scene, client: RawClient) -> None:
    s.replicas[-1][1].close()


async def reset_replica(s: Scene, client: RawClient) -> None:
    reset(s.replicas[-1][1])


async def half_close_replica(s: Scene, client: RawClient) -> None:
    s.replicas[-1][1].write_eof()


async def close_tunnel(s: Scene, client: RawClient) -> None:
    s.tunnels[0].close()


async def break_off(s: Scene, client: RawClient) -> None:
    next(iter(s.house.service.connections)).break_off()


async def fail(s: Scene, client: RawClient) -> None:
    s.connections[0].fail("stopped")


@pytest.mark.parametrize(
    "end",
    [
        end_client, reset_client, half_close_client, end_replica, reset_replica,
        half_close_replica, close_tunnel, break_off, fail,
    ],
)  # fmt: skip
async def test_whoever_ends_it_ends_both_sides(
    end: Callable[[Scene, RawClient], Awaitable[None]],
) -> None:
    async with scene() as s:
        client, reader, _ = await s.joined()
        await end(s, client)
        await eventually(lambda: s.ended == s.tunnels, within=1.0)
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 1) == b""
        if not client.writer.is_closing():
            assert await client.ended(within=1.0) in ("eof", "reset")
            await client.close()
        await eventually(lambda: not s.open and not s.house.service.connections, within=1.0)


@pytest.mark.parametrize("by_client", [True, False], ids=["client", "replica"])
async def test_the_last_words_of_whoever_ends_it_arrive(*, by_client: bool) -> None:
    words = bytes(3 << 20)
    async with scene() as s:
        client, reader, writer = await s.joined()
        if by_client:
            client.send(words)
            client.half_close()
            assert await asyncio.wait_for(reader.read(), 5) == words
        else:
            writer.write(words)
            writer.close()
            assert await client.rest() == words


async def test_the_last_words_of_a_client_arrive_at_a_replica_that_was_slow() -> None:
    """Its side was paused: a shutdown behind unread bytes is no reason to drop them."""
    words = bytes(16 << 20)
    async with scene() as s:
        client, reader, _ = await s.joined()
        client.send(words)
        await asyncio.sleep(0.1)  # everything is full
        client.half_close()
        await asyncio.sleep(0.1)
        assert await asyncio.wait_for(reader.read(), 10) == words


async def test_a_client_that_resets_while_the_replica_does_not_read_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(farewell, "FLUSH_SILENCE", 0.1)
    async with scene() as s:
        client, _, _ = await s.joined()
        client.send(bytes(16 << 20))
        await asyncio.sleep(0.1)
        client.reset()
        await eventually(lambda: s.ended, within=1.0)
        # what is left for the replica is not kept for ever
        await eventually(lambda: not s.open, within=1.0)


async def test_a_client_that_does_not_read_is_not_waited_for_when_its_tunnel_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(farewell, "LINGER_SILENCE", 0.1)
    monkeypatch.setattr(farewell, "FLUSH_SILENCE", 0.1)
    async with scene() as s:
        client, _, writer = await s.joined()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(bytes(16 << 20))
        await asyncio.sleep(0.1)
        s.tunnels[0].close()
        await eventually(lambda: s.ended, within=1.0)
        await eventually(lambda: not s.house.service.connections, within=2.0)
        client.reset()
