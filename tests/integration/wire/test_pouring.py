"""A large body is read into one buffer and told in pieces of it; nobody's bytes are read over."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from activator.wire.pouring import IN_A_TURN, JUG, LARGE, LENT
from tests.service import Heard, RecordingService, listening
from tests.support import eventually

if TYPE_CHECKING:
    from tests.rawclient import RawClient

BODY = random.Random(7).randbytes(LARGE)
HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def pour(heard: Heard) -> None:
    heard.connection.pour()


def lent(heard: Heard) -> list[bytes]:
    return [piece for piece in heard.pieces if isinstance(piece, memoryview)]


def say_size(heard: Heard) -> None:
    heard.answer(b"%d" % heard.size)


async def send(client: RawClient, data: bytes, *, by: int = 1 << 20) -> None:
    for at in range(0, len(data), by):
        client.send(data[at : at + by])
        await client.drain()


async def test_a_large_body_is_lent_and_whoever_keeps_a_piece_keeps_it_as_it_was() -> None:
    service = RecordingService(at_head=pour, once_whole=say_size)
    async with listening(service) as house:
        client = await house.client()

        await send(client, HEAD % len(BODY) + BODY + GET)

        assert (await client.reply()).body == b"%d" % len(BODY)
        assert (await client.reply()).body == b"0"
        heard = service.heard[0]
        assert lent(heard)
        assert min(map(len, lent(heard))) > LENT
        assert max(map(len, heard.pieces)) <= JUG
        assert heard.content == BODY


async def test_what_is_not_kept_needs_one_buffer() -> None:
    seen: set[int] = set()

    def look(heard: Heard) -> None:
        piece = heard.pieces[-1]
        if isinstance(piece, memoryview):
            seen.add(id(piece.obj))
            heard.pieces[-1] = bytes(piece)

    service = RecordingService(at_head=pour, at_piece=look, once_whole=say_size)
    async with listening(service) as house:
        client = await house.client()
        for _ in range(3):
            await send(client, HEAD % len(BODY) + BODY)
            assert (await client.reply()).body == b"%d" % len(BODY)

        assert seen == {id(house.kit.jug.content)}
        assert all(heard.content == BODY for heard in service.heard)


async def test_a_body_in_small_pieces_is_copied() -> None:
    service = RecordingService(at_head=pour, once_whole=say_size)
    async with listening(service) as house:
        client = await house.client()
        client.send(HEAD % 100_000)
        heard = await service.hears()
        for at in range(0, 100_000, 20_000):
            client.send(BODY[at : at + 20_000])
            await eventually(lambda: heard.size == at + 20_000)  # noqa: B023  # waited for here

        assert (await client.reply()).body == b"100000"
        assert lent(heard) == []
        assert heard.content == BODY[:100_000]


async def test_a_body_whose_length_nobody_knows_is_read_as_ever() -> None:
    service = RecordingService(at_head=pour, once_whole=say_size)
    async with listening(service) as house:
        client = await house.client()

        await send(client, CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY))

        assert (await client.reply()).body == b"%d" % len(BODY)
        assert lent(service.heard[0]) == []


@pytest.mark.parametrize("reads", range(IN_A_TURN - 1, IN_A_TURN + 2))
async def test_one_that_is_paused_about_when_its_turn_ends_is_not_read_on(reads: int) -> None:
    total = 16 << 20

    def count(heard: Heard) -> None:
        sizes.append(len(heard.pieces.pop()))
        if len(sizes) == reads:
            heard.connection.pause_body()

    sizes: list[int] = []
    service = RecordingService(at_head=pour, at_piece=count, once_whole=say_size)
    async with listening(service) as house:
        client = await house.client()
        client.send(HEAD % total + bytes(total))
        await eventually(lambda: len(sizes) == reads)
        heard = await service.hears()
        await asyncio.sleep(0.05)
        assert len(sizes) == reads

        heard.connection.resume_body()

        assert (await client.reply()).body == b"0"
        assert sum(sizes) == total


async def test_others_have_their_turn_between_reads() -> None:
    turns = 0

    def take_a_turn() -> None:
        nonlocal turns
        turns += 1
        soon()

    def soon() -> None:
        asyncio.get_running_loop().call_soon(take_a_turn)

    def look(heard: Heard) -> None:
        seen.append((turns, len(heard.pieces.pop())))
        time.sleep(0.001)  # the sender is faster: there is always more to read

    seen: list[tuple[int, int]] = []
    total = 32 << 20
    service = RecordingService(at_head=pour, at_piece=look, once_whole=say_size)
    async with listening(service) as house:
        with socket.create_connection(house.address) as client:
            soon()
            await asyncio.to_thread(client.sendall, HEAD % total + bytes(total))
            await eventually(lambda: service.heard[0].whole)

    reads = Counter(turn for turn, _ in seen)
    assert sum(size for _, size in seen) == total
    assert max(reads.values()) <= IN_A_TURN + 1  # the last of a body may be told in two


@pytest.mark.parametrize("size", [JUG, LARGE - 1])
async def test_an_answer_before_the_bodys_end_arrives_whole(size: int) -> None:
    def refuse(heard: Heard) -> None:
        if heard.size > size and not heard.connection.answering:
            heard.answer(b"no", status=413)

    service = RecordingService(at_head=pour, at_piece=refuse)
    async with listening(service) as house:
        client = await house.client()
        sent = HEAD % (64 << 20) + BODY * 2
        client.send(sent)

        reply = await client.reply()

        assert (reply.status, reply.body) == (413, b"no")
        await client.close()
        await eventually(lambda: not service.connections)


async def test_a_client_that_leaves_is_noticed() -> None:
    service = RecordingService(at_head=pour)
    async with listening(service) as house:
        client = await house.client()
        await send(client, HEAD % (2 * len(BODY)) + BODY)
        heard = await service.hears()
        await eventually(lambda: lent(heard))

        client.reset()

        await eventually(lambda: heard.left)
        await eventually(lambda: not service.connections)
