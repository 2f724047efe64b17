"""Whoever takes something of what was written is waited for; whoever takes nothing is not."""

from __future__ import annotations

import asyncio
import socket

import pytest

from activator.aiokit.taking import taken, unsent

MOMENT = 0.001


class Reader:
    """Takes so much between one look and the next, and then no more."""

    def __init__(self, *takes: int) -> None:
        self._takes = list(takes)
        self.taken = 0
        self.looks = 0

    def so_far(self) -> int:
        self.looks += 1
        if self.looks > 1 and self._takes:
            self.taken += self._takes.pop(0)
        return self.taken


async def test_who_takes_nothing_is_not_waited_for() -> None:
    reader = Reader()

    with pytest.raises(TimeoutError):
        await taken(asyncio.Event().wait(), reader.so_far, silence=MOMENT)

    assert reader.looks == 2


async def test_who_takes_little_is_waited_for_until_nothing_is_taken() -> None:
    reader = Reader(1, 2, 1)

    with pytest.raises(TimeoutError):
        await taken(asyncio.Event().wait(), reader.so_far, silence=MOMENT)

    assert reader.looks == 5


async def test_it_ends_with_what_is_waited_for_and_looks_no_more() -> None:
    reader, room = Reader(*[1] * 50), asyncio.Event()
    asyncio.get_running_loop().call_later(5 * MOMENT, room.set)

    await taken(room.wait(), reader.so_far, silence=MOMENT)

    looks = reader.looks
    await asyncio.sleep(5 * MOMENT)
    assert reader.looks == looks


async def test_what_is_written_first_is_no_sign_that_nothing_is_taken() -> None:
    reader = Reader(1)
    reader.taken = 100

    async def writes() -> None:
        reader.taken = 0
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await taken(writes(), reader.so_far, silence=MOMENT)

    assert reader.looks == 3


async def test_an_error_comes_through_as_it_is() -> None:
    async def breaks() -> None:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await taken(breaks(), lambda: 0, silence=MOMENT)


async def test_what_the_kernel_keeps_is_unsent_as_well() -> None:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    transport.write(b"x" * 1000)
    before = unsent(transport)
    assert not transport.get_write_buffer_size()
    assert before >= 1000

    transport.write(b"x" * (8 << 20))
    full = unsent(transport)
    assert full > before
    assert transport.get_write_buffer_size() > 0
    while True:
        try:
            theirs.recv(1 << 20)
        except BlockingIOError:
            break
    assert unsent(transport) < full

    transport.abort()
    theirs.close()
    await asyncio.sleep(0)
    assert unsent(transport) == 0
