"""Whoever does not read makes nobody grow: each direction is held back by its reader."""

from __future__ import annotations

import asyncio
import resource

import pytest

from tests.service import Heard, RecordingService, listening
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("each_write")

PIECE = bytes(1 << 16)
MOST_IN_KERNEL = 16 << 20
"""What the buffers of both sockets may take in, generously (tcp_wmem and tcp_rmem)."""


def peak() -> int:
    """The most memory that this process has ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


async def test_a_client_that_does_not_read_is_sent_no_more_until_it_does() -> None:
    total, sent = 64 << 20, 0

    def pour(heard: Heard) -> None:
        nonlocal sent
        if not heard.connection.answering:
            heard.begin(length=total)
        full = len(heard.room)
        while sent < total and heard.room[full:] == []:
            heard.connection.send(PIECE)
            sent += len(PIECE)
        if sent == total:
            heard.connection.finish()

    service = RecordingService(once_whole=pour, at_room=pour)
    async with listening(service) as house:
        client = await house.client()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        heard = await service.hears()
        await eventually(lambda: False in heard.room)
        assert sent < MOST_IN_KERNEL
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        size = 0
        await client.head()
        while size < total:
            size += len(await client.reader.read(1 << 20))
        assert (size, sent) == (total, total)
        assert heard.room[:2] == [False, True]


async def test_a_client_that_does_not_read_gets_no_further_requests_answered() -> None:
    answer = bytes(100_000)
    service = RecordingService(once_whole=lambda heard: heard.answer(answer))
    async with listening(service) as house:
        client = await house.client()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 1000)
        await service.hears()
        before = -1
        while before != len(service.heard):
            before = len(service.heard)
            await asyncio.sleep(0.05)
        assert before * len(answer) < MOST_IN_KERNEL
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for _ in range(1000):
            assert len((await client.reply()).body) == len(answer)


async def test_a_client_that_sends_requests_and_reads_nothing_is_not_read_for_ever() -> None:
    service = RecordingService(once_whole=lambda heard: heard.answer(bytes(1000)))
    async with listening(service) as house:
        client = await house.client()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 1000
        sent = 0
        while sent < 2 * MOST_IN_KERNEL and client.writer.transport.get_write_buffer_size() == 0:
            client.send(request)
            sent += len(request)
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.05)
        assert client.writer.transport.get_write_buffer_size() > 0
        assert len(service.heard) * 1000 < MOST_IN_KERNEL
        client.reset()
        await eventually(lambda: not service.connections, within=1.0)


async def test_a_body_that_is_paused_stays_with_its_client() -> None:
    service = RecordingService(at_piece=lambda heard: heard.connection.pause_body())
    async with listening(service) as house:
        client = await house.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (64 << 20))
        uploading = asyncio.gather(pour_into(client.writer, 64 << 20))
        heard = await service.hears()
        await eventually(lambda: heard.size > 0)
        await asyncio.sleep(0.05)
        assert heard.size <= 1 << 18  # one read of the loop
        before = peak()
        while not heard.whole:
            heard.connection.resume_body()
            heard.pieces.clear()
            await asyncio.sleep(0)
        await uploading
        assert peak() - before < 8 << 20
        assert (await client.reply()).status == 200


async def pour_into(writer: asyncio.StreamWriter, size: int) -> None:
    for _ in range(size // len(PIECE)):
        writer.write(PIECE)
        await writer.drain()


async def test_what_is_pipelined_is_taken_in_only_so_far() -> None:
    service = RecordingService(once_whole=lambda heard: None)
    async with listening(service) as house:
        client = await house.client()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        heard = await service.hears()
        flood = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n" * 10_000
        sent = 0
        while client.writer.transport.get_write_buffer_size() == 0:
            assert sent < 2 * MOST_IN_KERNEL
            client.send(flood)
            sent += len(flood)
            await asyncio.sleep(0.002)
        assert len(house.hangups) == 1
        assert not heard.left
        assert len(service.heard) == 1
        client.reset()
        await eventually(lambda: heard.left, within=1.0)
