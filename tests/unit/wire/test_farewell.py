"""The end of a connection, said to a peer that may have gone already."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from activator.aiokit.deadlines import Deadlines
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
