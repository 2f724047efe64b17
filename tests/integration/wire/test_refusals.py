"""What is no request is answered 400, the connection closed, and the service never hears of it."""

from __future__ import annotations

import asyncio

import pytest

from activator.wire.heads import HeadLimits
from activator.wire.server import ServerLimits
from tests.rawclient import RawClient, Reply
from tests.service import House, RecordingService, listening
from tests.unit.wire.corpus import REFUSED_BODIES, REFUSED_HEADS, Refused

AT_ONCE = 32
"""Connections that a test has open at a time."""


async def refusal(house: House, *pieces: bytes) -> Reply:
    """The answer to these reads, after which the connection has ended."""
    client = await RawClient.connect(*house.address)
    try:
        for piece in pieces:
            client.send(piece)
            await asyncio.sleep(0)
        reply = await client.reply()
        assert reply.get("connection") == b"close"
        assert await client.ended() == "eof"
        return reply
    finally:
        await client.close()


async def refuse_all(cases: tuple[Refused, ...], *, before: bytes = b"") -> RecordingService:
    service = RecordingService()
    gate = asyncio.Semaphore(AT_ONCE)

    async def send(case: Refused) -> tuple[str, int]:
        async with gate:
            client = await RawClient.connect(*house.address)
            try:
                if before:
                    client.send(before + case.message)
                    assert (await client.reply()).status == 200
                    reply = await client.reply()
                    assert await client.ended() == "eof"
                else:
                    reply = await refusal(house, case.message)
                return case.why, reply.status
            finally:
                await client.close()

    async with listening(service) as house:
        answers = await asyncio.gather(*map(send, cases))
    assert [why for why, status in answers if status != 400] == []
    assert len(service.refusals) == len(cases)
    return service


async def test_no_head_of_the_corpus_gets_past_the_connection() -> None:
    service = await refuse_all(REFUSED_HEADS)
    assert service.heard == []


async def test_no_body_of_the_corpus_that_comes_with_its_head_gets_past_the_connection() -> None:
    service = await refuse_all(REFUSED_BODIES)
    assert service.heard == []


async def test_what_follows_a_good_request_is_held_to_the_same() -> None:
    good = b"GET /good HTTP/1.1\r\nHost: a\r\n\r\n"
    service = await refuse_all(REFUSED_HEADS, before=good)
    assert {heard.head.target for heard in service.heard} == {b"/good"}
    assert len(service.heard) == len(REFUSED_HEADS)


async def test_a_body_that_turns_bad_is_broken_off_and_answered() -> None:
    async with listening(RecordingService()) as house:
        for case in REFUSED_BODIES:
            client = await house.client()
            head, _, body = case.message.partition(b"\r\n\r\n")
            client.send(head + b"\r\n\r\n")
            heard = await house.service.hears(len(house.service.heard) + 1)
            client.send(body)
            reply = await client.reply()
            assert (reply.status, reply.get("connection")) == (400, b"close"), case.why
            assert await client.ended() == "eof"
            assert heard.error is not None
            assert not heard.whole
            await client.close()


async def test_a_refusal_says_what_is_wrong() -> None:
    async with listening(RecordingService()) as house:
        reply = await refusal(house, b"GET / HTTP/1.1\r\n\r\n")
        assert reply.body == b"The request is malformed: no Host"


async def test_what_follows_a_refused_request_is_thrown_away() -> None:
    async with listening(RecordingService()) as house:
        await refusal(house, b"GET / HTTP/2.0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert house.service.heard == []


async def test_a_wrong_byte_is_refused_before_its_head_has_ended() -> None:
    async with listening(RecordingService()) as house:
        assert (await refusal(house, b"GET / HTTP/1.1\nHost: a")).status == 400
        assert (await refusal(house, b"GET / HTTP/1.1\r\nHost: a", b"\x00")).status == 400


TIGHT = ServerLimits(head=HeadLimits(line=100, total=200, fields=5))


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 100 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /" + b"a" * 100,
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 200 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 300,
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 5 + b"\r\n",
    ],
    ids=["line", "unfinished line", "fields", "unfinished fields", "count"],
)
async def test_a_head_beyond_its_limits_is_431(head: bytes) -> None:
    async with listening(RecordingService(), limits=TIGHT) as house:
        assert (await refusal(house, head)).status == 431
        assert house.service.heard == []


async def test_a_head_of_64_kib_may_come_byte_by_byte() -> None:
    fields = b"".join(b"X-%03d: %b\r\n" % (i, b"x" * 500) for i in range(120))
    head = b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n"
    async with listening(RecordingService()) as house:
        client = await house.client()
        for at in range(0, len(head), 97):
            client.send(head[at : at + 97])
            await client.drain()
            await asyncio.sleep(0)
        assert (await client.reply()).status == 200
        assert len(house.service.heard[0].head.fields) == 121
