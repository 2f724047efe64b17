"""The sockets of a running activator are set as small answers and bursts need them."""

from __future__ import annotations

import asyncio
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop
import yaml

from activator.app import build
from activator.proxy.listener import BACKLOG
from tests.support import eventually

if TYPE_CHECKING:
    from activator.app import App

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.readline() not in (b"\r\n", b""):
        continue
    writer.write(ANSWER)
    await reader.read()
    writer.close()


def is_sent_at_once(sock: socket.socket) -> bool:
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def backlog(listening: socket.socket) -> int:
    """tcp_diag tells a listener's as its `tcpi_sacked`."""
    info = listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
    *_, most = struct.unpack("8x6I", info)
    return int(most)


def test_nothing_waits_to_be_sent_with_more_and_crowds_may_connect(tmp_path: Path) -> None:
    async def play() -> None:
        replica = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = replica.sockets[0].getsockname()[1]
        file = tmp_path / "activator.yaml"
        file.write_text(
            yaml.safe_dump(
                {
                    "server": {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0"},
                    "endpoints": [
                        {
                            "name": "m",
                            "match": {"hosts": ["m"]},
                            "backend": {"type": "static", "urls": [f"http://127.0.0.1:{port}"]},
                        }
                    ],
                }
            )
        )
        app = build(file)
        await app.start()
        try:
            await look(app)
        finally:
            await app.stop(grace=0)
            replica.close()

    async def look(app: App) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", app.data_port)
        writer.write(b"GET / HTTP/1.1\r\nHost: m\r\n\r\n")
        await reader.readuntil(b"ok")

        (client,) = app._proxy._connections
        await eventually(lambda: len(app.registry["m"].replicas) == 1)
        (there,) = app.registry["m"].replicas.values()
        (upstream,) = there.pool._open
        for transport in (client._transport, upstream._transport):
            assert is_sent_at_once(transport.get_extra_info("socket"))

        (server,) = app._proxy._servers
        allowed = int(Path("/proc/sys/net/core/somaxconn").read_text())
        assert backlog(server.sockets[0]) == min(BACKLOG, allowed)
        writer.close()

    uvloop.run(play())
