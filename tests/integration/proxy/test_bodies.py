"""Bodies pass unchanged to the byte, however they are framed and cut, and as they come."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.rawclient import Cut
from tests.stage import request, stage

if TYPE_CHECKING:
    from tests.rawclient import RawClient
    from tests.replica import Talk

pytestmark = pytest.mark.usefixtures("each_store")

BYTES = st.binary(max_size=40) | st.binary(min_size=1, max_size=40).map(lambda some: some * 5000)
CUTS = st.lists(st.integers(1, 70_000), max_size=6)
FRAMINGS = st.sampled_from(["length", "chunked"])


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """The same bytes in pieces of these sizes, the rest in one."""
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [piece for piece in [*pieces, data] if piece]


def chunked(pieces: list[bytes]) -> bytes:
    return b"".join(b"%X\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


async def send_in_pieces(client: RawClient, pieces: list[bytes]) -> None:
    for piece in pieces:
        client.send(piece)
        await client.drain()
        await asyncio.sleep(0)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=BYTES, framing=FRAMINGS, chunks=CUTS, pieces=CUTS)
async def test_a_requests_body_arrives_as_it_was_sent(
    body: bytes, framing: str, chunks: list[int], pieces: list[int]
) -> None:
    head = b"POST / HTTP/1.1\r\nHost: m\r\n"
    if framing == "length":
        raw = head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    else:
        raw = head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(cut(body, chunks))
    async with stage() as s:
        client = await s.connect()

        await send_in_pieces(client, cut(raw, pieces))
        reply = await client.reply()

        assert reply.status == 200
        heard = s.replica.requests[0]
        assert bytes(heard.body) == body
        kept = "content-length" if framing == "length" else "transfer-encoding"
        assert heard.get(kept) is not None


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=BYTES, framing=FRAMINGS | st.just("until close"), chunks=CUTS, pieces=CUTS)
async def test_an_answers_body_arrives_as_it_was_sent(
    body: bytes, framing: str, chunks: list[int], pieces: list[int]
) -> None:
    head = b"HTTP/1.1 200 OK\r\n"
    if framing == "length":
        raw = head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    elif framing == "chunked":
        raw = head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(cut(body, chunks))
    else:
        raw = head + b"\r\n" + body

    async def behave(talk: Talk) -> None:
        for piece in cut(raw, pieces):
            talk.send(piece)
            await talk.drain()
            await asyncio.sleep(0)
        if framing == "until close":
            await talk.close()

    async with stage(behave) as s:
        client = await s.send(request())

        reply = await client.reply()

        assert reply.body == body
        if framing == "until close":
            assert reply.get("connection") == b"close"


async def test_an_old_client_gets_a_chunked_answer_until_close() -> None:
    async def behave(talk: Talk) -> None:
        talk.begin_chunks()
        talk.chunk(b"one ")
        talk.chunk(b"two")
        talk.chunk(b"")

    async with stage(behave) as s:
        reply = await s.ask(b"GET / HTTP/1.0\r\nHost: m\r\n\r\n")

        assert reply.get("transfer-encoding") is None
        assert reply.body == b"one two"


async def test_an_old_client_is_kept_only_if_it_asks() -> None:
    async with stage() as s:
        client = await s.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\nHost: m\r\n\r\n")
        first = await client.reply()
        client.send(b"GET / HTTP/1.0\r\nHost: m\r\n\r\n")
        second = await client.reply()

        assert first.get("connection") == b"keep-alive"
        assert second.get("connection") == b"close"
        assert await client.ended() == "eof"


async def test_what_is_compressed_stays_as_it_is() -> None:
    body = gzip.compress(b"hello " * 100)

    async def behave(talk: Talk) -> None:
        await talk.answer(200, await talk.body(), fields=b"Content-Encoding: gzip\r\n")

    async with stage(behave) as s:
        reply = await s.post(body, headers={"Content-Encoding": "gzip", "Accept-Encoding": "gzip"})

        assert bytes(s.replica.requests[0].body) == reply.body == body
        assert reply.get("content-encoding") == b"gzip"


async def test_events_arrive_one_by_one_as_they_are_sent() -> None:
    arrived = asyncio.Event()

    async def behave(talk: Talk) -> None:
        talk.begin_chunks(fields=b"Content-Type: text/event-stream\r\n")
        for number in range(5):
            talk.chunk(b"data: %d\n\n" % number)
            await arrived.wait()
            arrived.clear()
        talk.chunk(b"")

    async with stage(behave) as s:
        client = await s.send(request())
        await client.head()
        for number in range(5):
            assert await client.chunk() == b"data: %d\n\n" % number
            arrived.set()
        assert await client.chunk() == b""


@pytest.mark.parametrize("framing", ["Content-Length: 6", "Transfer-Encoding: chunked"])
async def test_an_uploads_pieces_arrive_one_by_one_as_they_are_sent(framing: str) -> None:
    sent: asyncio.Queue[bytes] = asyncio.Queue()

    async def behave(talk: Talk) -> None:
        while piece := await talk.piece():
            sent.put_nowait(piece)
        await talk.answer()

    async with stage(behave) as s:
        client = await s.send(f"POST / HTTP/1.1\r\nHost: m\r\n{framing}\r\n\r\n".encode())
        for piece in (b"ab", b"cd", b"ef"):
            client.send(b"2\r\n%b\r\n" % piece if "chunked" in framing else piece)
            async with asyncio.timeout(5):
                assert await sent.get() == piece
        if "chunked" in framing:
            client.send(b"0\r\n\r\n")

        assert (await client.reply()).status == 200


async def test_trailers_pass_in_both_directions() -> None:
    async def behave(talk: Talk) -> None:
        await talk.body()
        talk.begin_chunks(fields=b"Trailer: X-Sum\r\n")
        talk.send(b"2\r\nok\r\n0\r\nX-Sum: 7\r\nx-two:  b\r\n\r\n")

    async with stage(behave) as s:
        reply = await s.ask(
            b"POST / HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\nTrailer: X-Check\r\n"
            b"TE: trailers\r\nConnection: TE\r\n\r\n3\r\nabc\r\n0\r\nX-Check: 9\r\n\r\n"
        )

        heard = s.replica.requests[0]
        assert heard.trailers == [b"X-Check: 9"]
        assert (heard.get("trailer"), heard.get("te")) == (b"X-Check", b"trailers")
        assert reply.trailers == [b"X-Sum: 7", b"x-two:  b"]
        assert reply.get("trailer") == b"X-Sum"


async def test_trailers_of_a_request_that_was_held_pass_too() -> None:
    async with stage(from_zero=True) as s:
        await s.ask(
            b"POST / HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n0\r\nX-Check: 9\r\n\r\n"
        )

        assert s.replica.requests[0].trailers == [b"X-Check: 9"]
        assert bytes(s.replica.requests[0].body) == b"abc"


async def test_a_final_answer_may_come_before_the_requests_body_has_ended() -> None:
    async def behave(talk: Talk) -> None:
        await talk.piece()
        talk.send(b"HTTP/1.1 413 Too Much\r\nContent-Length: 2\r\n\r\nno")
        await talk.gone()

    async with stage(behave) as s:
        client = await s.send(b"POST / HTTP/1.1\r\nHost: m\r\nContent-Length: 100000\r\n\r\nabc")
        reply = await client.reply()
        assert (reply.status, reply.body, reply.get("connection")) == (413, b"no", b"close")

        client.send(b"x" * 50_000)  # still sending: it must be able to read the answer
        await client.drain()
        assert await client.ended() == "eof"


async def test_an_answer_may_begin_while_the_requests_body_still_comes() -> None:
    async def behave(talk: Talk) -> None:
        talk.begin_chunks()
        while piece := await talk.piece():
            talk.chunk(piece.upper())
        talk.chunk(b"")

    async with stage(behave) as s:
        client = await s.send(b"POST / HTTP/1.1\r\nHost: m\r\nContent-Length: 6\r\n\r\n")
        await client.head()
        for piece in (b"ab", b"cd", b"ef"):
            client.send(piece)
            assert await client.chunk() == piece.upper()
        assert await client.chunk() == b""


async def test_a_malformed_body_is_broken_off_at_the_replica_and_refused_to_the_client() -> None:
    async def behave(talk: Talk) -> None:
        await talk.gone()

    async with stage(behave) as s:
        client = await s.send(
            b"POST / HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
        )
        await s.replica.heard()
        client.send(b"xyz\r\n")
        reply = await client.reply()

        assert (reply.status, reply.why) == (400, "bad_request")
        assert reply.get("connection") == b"close"


async def test_a_malformed_body_after_the_answer_has_begun_cuts_the_answer() -> None:
    async def behave(talk: Talk) -> None:
        talk.begin_chunks()
        talk.chunk(b"so far")
        await talk.gone()

    async with stage(behave) as s:
        client = await s.send(
            b"POST / HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
        )
        await client.head()
        await client.chunk()
        client.send(b"xyz\r\n")

        with pytest.raises(Cut):
            await client.chunk()
