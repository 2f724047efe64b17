"""The end of a connection, said to a peer that may have gone already."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from activator.aiokit.deadlines import Deadlines
from activator.wire import farewell
from activator.wire.farewell import Farewell


@pytest.mark.parametrize("resets", [True, False], ids=["reset", "closed"])
async def test_a_peer_that_has_gone_without_a_word_is_gone_for_us_too(resets: bool) -> None:
    loop = asyncio.get_running_loop()
    deadlines = Deadlines(loop)
    with socket.create_server(("127.0.0.1", 0)) as server:
        transport, _ = await loop.create_connection(asyncio.Protocol, *server.getsockname()[:2])
        peer, _ = server.accept()
    gone = asyncio.Event()
    farewell = Farewell(transport, deadlines=deadlines, gone=gone.set)
    if resets:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()

    farewell.linger()  # before the loop has had a chance to notice

    async with asyncio.timeout(5.0):
        await gone.wait()
    deadlines.close()


async def test_a_peer_that_takes_little_is_waited_for_until_it_takes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[int] = []

    def little(_: object) -> int:
        looks.append(min(len(looks), 4))
        return looks[-1]

    monkeypatch.setattr(farewell, "FLUSH_SILENCE", 0.01)
    monkeypatch.setattr(farewell, "taken_by", little)
    loop = asyncio.get_running_loop()
    deadlines = Deadlines(loop)
    gone = asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        transport, _ = await loop.create_connection(asyncio.Protocol, *server.getsockname()[:2])
        transport.write(bytes(16 << 20))  # more than fits between the two
        Farewell(transport, deadlines=deadlines, gone=gone.set).flush()
        async with asyncio.timeout(5.0):
            await gone.wait()
    assert looks == [0, 1, 2, 3, 4, 4]
    deadlines.close()
