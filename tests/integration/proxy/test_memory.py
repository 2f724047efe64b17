"""What a real `activator serve` takes: large bodies pass through it, held ones cost little."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.replica import PROBE_PATH, Replica, Talk, hello
from tests.serving import Serving
from tests.stage import request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MIB = 1 << 20
BLOCK = bytes(range(256)) * 4096
BLOCKS = 200
TOTAL = BLOCKS * len(BLOCK)
HELD = 2000
KEPT = 4096
"""Bytes of a held request's body."""


class Measured:
    """A process's memory, in bytes."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")

    def now(self) -> int:
        return self._read("VmRSS")

    def peak(self) -> int:
        return self._read("VmHWM")

    def forget_peak(self) -> None:
        (self._folder / "clear_refs").write_text("5")

    def _read(self, key: str) -> int:
        lines = (self._folder / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024


@contextlib.asynccontextmanager
async def serving(
    folder: Path,
    replica: Replica,
    *,
    store: str = "memory://",
    timeout: str = "500ms",
    **endpoint: object,
) -> AsyncIterator[Serving]:
    await replica.start()
    backend = {"type": "static", "urls": [f"http://127.0.0.1:{replica.port}"]}
    config = {
        "server": {
            "listen": "127.0.0.1:0",
            "admin": "127.0.0.1:0",
            "drainDelay": 0,
            # thousands connect before the first of them asks: on a busy machine that takes a while
            "limits": {"headTimeout": "10m"},
        },
        "store": {"url": store, "timeout": timeout},
        "endpoints": [
            {
                "name": "m",
                "backend": backend,
                "probe": {"path": PROBE_PATH, "interval": "20ms"},
                **endpoint,
            }
        ],
    }
    running = Serving(folder, config)
    try:
        await running.start()
        yield running
    finally:
        await running.end()
        await replica.stop()


async def sink_or_source(talk: Talk) -> None:
    """Counts an upload, or sends BLOCKS: with a length, or chunked where the path says so."""
    chunked = talk.heard.target == b"/chunked"
    if talk.heard.method == b"POST":
        count = count_bytes if talk.heard.get("transfer-encoding") is None else count_chunks
        await talk.answer(200, b"%d" % await count(talk))
        return
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % TOTAL
    talk.send(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % framing)
    for _ in range(BLOCKS):
        talk.send(b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK) if chunked else BLOCK)
        await talk.drain()
    talk.send(b"0\r\n\r\n" if chunked else b"")


async def count_bytes(talk: Talk) -> int:
    left = int(talk.heard.get("content-length") or 0)
    while left:
        left -= len(await talk.reader.read(left))
    talk.heard.whole = True
    return int(talk.heard.get("content-length") or 0)


async def count_chunks(talk: Talk) -> int:
    total = 0
    while size := int(await talk.reader.readuntil(b"\r\n"), 16):
        total += size
        await talk.reader.readexactly(size + 2)
    await talk.reader.readexactly(2)
    talk.heard.whole = True
    return total


@pytest.mark.parametrize("target", ["/length", "/chunked"])
async def test_large_bodies_pass_without_being_kept(target: str, tmp_path: Path) -> None:
    chunked = target == "/chunked"
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {TOTAL}"
    async with (
        serving(tmp_path, Replica(sink_or_source)) as s,
        await s.connect() as client,
    ):
        memory = Measured(s.process.pid)
        client.send(request(target, method="POST", body=b""))  # the first costs what all cost
        await client.reply()
        memory.forget_peak()
        before = memory.now()

        client.send(f"POST {target} HTTP/1.1\r\nHost: m\r\n{framing}\r\n\r\n".encode())
        for _ in range(BLOCKS):
            client.send(b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK) if chunked else BLOCK)
            await client.drain()
        client.send(b"0\r\n\r\n" if chunked else b"")
        assert (await client.reply(within=10.0)).body == b"%d" % TOTAL
        client.send(request(target))
        await client.head()
        received = 0
        while received < TOTAL:
            received += len(await client.chunk() if chunked else await client.reader.read(MIB))

        assert memory.peak() - before < 32 * MIB


async def test_requests_that_wait_cost_little_memory(tmp_path: Path) -> None:
    replica = Replica(hello)
    async with (
        serving(tmp_path, replica, queue={"maxRequests": HELD}, concurrency=32) as s,
        contextlib.AsyncExitStack() as endings,
    ):
        memory = Measured(s.process.pid)
        await s.get("/")
        await replica.refuse()
        replica.drop_connections()
        before = memory.now()

        clients = [await endings.enter_async_context(await s.connect()) for _ in range(HELD)]
        for client in clients:
            client.send(request("/held", method="POST", body=bytes(KEPT)))
        async with asyncio.timeout(10):
            while await held(s) != (HELD, HELD * KEPT):
                await asyncio.sleep(0.05)
        each = (memory.now() - before) / HELD
        await replica.start()
        for client in clients:
            reply = await client.reply(within=10.0)
            assert reply.status == 200, reply.body

        assert each < 12 * 1024


async def held(s: Serving) -> tuple[int, int]:
    """(requests, bytes) that wait."""
    status = (await s.ask_admin("/api/endpoints/m")).json()
    return status["held"], status["held_bytes"]
