"""Requests on one connection are answered one after the other, in the order in which they came."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from activator.wire.server import PIPELINE_BYTES
from tests.service import Heard, RecordingService, listening
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("each_write")


def later(heard: Heard) -> None:
    asyncio.get_running_loop().call_soon(lambda: heard.answer(heard.content))


async def test_a_thousand_requests_in_one_write_are_answered_in_order() -> None:
    service = RecordingService(once_whole=lambda heard: heard.answer(heard.head.target))
    async with listening(service) as house:
        client = await house.client()
        client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % i for i in range(1000)))
        for i in range(1000):
            assert (await client.reply()).body == b"/%d" % i


async def test_a_thousand_requests_that_are_answered_later_are_answered_in_order() -> None:
    in_progress = 0

    def answer_later(heard: Heard) -> None:
        nonlocal in_progress
        in_progress += 1
        assert in_progress == 1, "the next request came before this one was answered"
        asyncio.get_running_loop().call_soon(answer, heard)

    def answer(heard: Heard) -> None:
        nonlocal in_progress
        in_progress -= 1
        heard.answer(heard.head.target)

    async with listening(RecordingService(once_whole=answer_later)) as house:
        client = await house.client()
        client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % i for i in range(1000)))
        for i in range(1000):
            assert (await client.reply()).body == b"/%d" % i


async def test_bodies_in_a_pipeline_belong_to_their_requests() -> None:
    requests = [
        b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (i, i) + b"x" * i
        if i % 2
        else b"POST /%d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" % i
        + (b"%x\r\n%b\r\n" % (i, b"y" * i) if i else b"")
        + b"0\r\n\r\n"
        for i in range(60)
    ]
    for act in (lambda heard: heard.answer(heard.content), later):
        async with listening(RecordingService(once_whole=act)) as house:
            client = await house.client()
            client.send(b"".join(requests))
            for _ in requests:
                await client.reply()
            assert [heard.size for heard in house.service.heard] == list(range(60))


async def test_a_large_upload_behind_a_request_that_waits_goes_on_once_that_is_answered() -> None:
    """What has come of it fills the pipeline's bound: reading stops, and must begin again."""
    body = bytes(PIPELINE_BYTES * 4)
    upload = b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
    service = RecordingService(
        once_whole=lambda heard: None if heard.head.target == b"/a" else heard.answer(b"thanks")
    )
    async with listening(service) as house:
        client = await house.client()
        client.send(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n" + upload + body)
        first = await service.hears()
        await eventually(lambda: len(house.hangups) == 1)  # it is no longer read
        first.answer(b"first")
        assert (await client.reply()).body == b"first"
        assert (await client.reply()).body == b"thanks"
        assert service.heard[1].content == body


async def test_a_large_head_behind_a_request_that_waits_goes_on_once_that_is_answered() -> None:
    fields = b"".join(b"X-%d: %b\r\n" % (i, b"x" * 1000) for i in range(63))
    second = b"GET /%b HTTP/1.1\r\nHost: a\r\n%b" % (b"b" * 10000, fields)
    assert len(second) > PIPELINE_BYTES
    service = RecordingService(
        once_whole=lambda heard: None if heard.head.target == b"/a" else heard.answer(b"second")
    )
    async with listening(service) as house:
        client = await house.client()
        client.send(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n" + second)
        first = await service.hears()
        await eventually(lambda: len(house.hangups) == 1)
        first.answer(b"first")
        assert (await client.reply()).body == b"first"
        client.send(b"\r\n")
        assert (await client.reply()).body == b"second"


async def test_a_connection_is_kept_between_requests_that_come_apart() -> None:
    async with listening(RecordingService()) as house:
        client = await house.client()
        for i in range(3):
            client.send(b"\r\n" * i + b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % i)
            assert (await client.reply()).body == b"GET /%d " % i
        assert len(house.service.connections) == 1


async def test_nothing_behind_a_last_request_is_looked_at() -> None:
    async with listening(RecordingService()) as house:
        client = await house.client()
        client.send(b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        client.send(b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n")
        reply = await client.reply()
        assert (reply.body, reply.get("connection")) == (b"GET /a ", b"close")
        assert await client.ended() == "eof"
        assert [heard.head.target for heard in house.service.heard] == [b"/a"]


async def test_a_request_cut_in_two_at_any_byte_is_one_request() -> None:
    """Through a real socket; all the other ways to cut it are tried on paper (unit/wire)."""
    stream = (
        b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\n0\r\nX: y\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n"
    )
    async with listening(RecordingService()) as house:

        async def cut(at: int) -> None:
            client = await house.client()
            for a, b in pairwise((0, at, len(stream))):
                client.send(stream[a:b])
                await client.drain()
                for _ in range(3):
                    await asyncio.sleep(0)
            assert (await client.reply()).body == b"POST /a hello"
            assert (await client.reply()).body == b"GET /b "
            await client.close()

        await asyncio.gather(*(cut(at) for at in range(1, len(stream))))
        assert {heard.size for heard in house.service.heard} == {0, 5}
