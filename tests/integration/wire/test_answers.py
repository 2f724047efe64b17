"""Answers: how they are framed, which may come early, how a connection ends and how it breaks."""

from __future__ import annotations

import asyncio

import pytest

from activator.wire.heads import CHUNKED, UNTIL_CLOSE
from tests.rawclient import Cut, RawClient
from tests.service import Heard, RecordingService, listening
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("each_write")

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
GET_1_0 = b"GET / HTTP/1.0\r\n"


def streaming(length: int, *pieces: bytes) -> RecordingService:
    def act(heard: Heard) -> None:
        heard.begin(length=length)
        for piece in pieces:
            heard.connection.send(piece)
        heard.connection.finish([(b"x-sum", b"1", b"X-Sum: 1")])

    return RecordingService(once_whole=act)


# --- framing ------------------------------------------------------------------------------------


async def test_a_body_of_unknown_length_is_chunked_with_its_trailers() -> None:
    async with listening(streaming(CHUNKED, b"one", b"", b"two")) as house:
        client = await house.client()
        client.send(GET + GET)
        for _ in range(2):
            reply = await client.reply()
            assert (reply.chunks, reply.trailers) == ([b"one", b"two"], [b"X-Sum: 1"])
            assert reply.get("connection") is None


async def test_http_1_0_gets_no_chunks_but_the_end_of_the_connection() -> None:
    async with listening(streaming(CHUNKED, b"one", b"two")) as house:
        client = await house.client()
        client.send(GET_1_0 + b"Connection: keep-alive\r\n\r\n")
        reply = await client.reply()
        assert reply.get("transfer-encoding") is None
        assert (reply.get("connection"), reply.body) == (b"close", b"onetwo")


async def test_a_body_until_the_close_is_passed_on_as_such() -> None:
    async with listening(streaming(UNTIL_CLOSE, b"one", b"two")) as house:
        client = await house.client()
        client.send(GET)
        reply = await client.reply()
        assert (reply.get("connection"), reply.body) == (b"close", b"onetwo")


@pytest.mark.parametrize(
    ("request_head", "option"),
    [
        (GET, None),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"close"),
        (GET_1_0 + b"\r\n", b"close"),
        (GET_1_0 + b"Connection: keep-alive\r\n\r\n", b"keep-alive"),
    ],
    ids=["1.1", "1.1 close", "1.0", "1.0 keep-alive"],
)
async def test_a_connection_is_kept_or_closed_as_the_client_asks(
    request_head: bytes, option: bytes | None
) -> None:
    async with listening(RecordingService()) as house:
        client = await house.client()
        client.send(request_head)
        reply = await client.reply()
        assert reply.get("connection") == option
        if option == b"close":
            assert await client.ended() == "eof"
        else:
            client.send(GET)
            assert (await client.reply()).status == 200


async def test_a_service_that_drains_says_so_and_closes_in_good_order() -> None:
    async with listening(RecordingService()) as house:
        house.service.draining = True
        client = await house.client()
        client.send(GET)
        assert (await client.reply()).get("connection") == b"close"
        client.send(GET)  # it had not read the answer yet: no reset may destroy that
        assert await client.ended() == "eof"
        assert len(house.service.heard) == 1


# --- expectations and interim answers -----------------------------------------------------------

EXPECTING = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"


async def test_100_is_sent_once_and_only_to_a_client_that_waits_for_it() -> None:
    def ask(heard: Heard) -> None:
        heard.connection.send_continue()
        heard.connection.send_continue()

    async with listening(RecordingService(at_head=ask)) as house:
        client = await house.client()
        client.send(EXPECTING)
        assert (await client.head()).status == 100
        client.send(b"hello")
        assert (await client.reply()).body == b"POST / hello"
        client.send(EXPECTING.replace(b"Expect", b"Unexpected") + b"hello")
        reply = await client.reply()
        assert (reply.body, reply.interim) == (b"POST / hello", [])


async def test_100_is_not_sent_behind_an_answer_nor_for_a_body_that_is_here() -> None:
    def late(heard: Heard) -> None:
        heard.begin(length=CHUNKED)
        heard.connection.send_continue()
        heard.connection.finish()

    async with listening(RecordingService(at_head=late)) as house:
        client = await house.client()
        client.send(EXPECTING)
        assert (await client.reply()).body == b""
    here = RecordingService(at_head=lambda heard: heard.connection.send_continue())
    async with listening(here) as house:
        client = await house.client()
        client.send(EXPECTING + b"hello")
        reply = await client.reply()
        assert (reply.body, reply.interim) == (b"POST / hello", [])


async def test_interim_answers_are_passed_but_not_to_http_1_0() -> None:
    def hint(heard: Heard) -> None:
        heard.connection.send_interim(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n")
        heard.answer(b"x")

    async with listening(RecordingService(once_whole=hint)) as house:
        client = await house.client()
        client.send(GET)
        assert [(i.status, i.get("link")) for i in (await client.reply()).interim] == [
            (103, b"</a>")
        ]
        client.send(GET_1_0 + b"\r\n")
        assert (await client.reply()).interim == []


# --- early answers ------------------------------------------------------------------------------


async def upload(client: RawClient, size: int) -> None:
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
    for _ in range(size >> 16):
        client.send(bytes(1 << 16))
        await client.drain()


@pytest.mark.parametrize("size", [10, 3 << 20], ids=["small", "large"])
async def test_an_answer_before_the_body_reaches_a_client_that_still_sends(size: int) -> None:
    answer = bytes(range(256)) * (size // 256)
    service = RecordingService(at_head=lambda heard: heard.answer(answer, status=413))
    async with listening(service) as house:
        client = await house.client()
        sending = asyncio.gather(upload(client, 8 << 20))
        await sending  # all of it, before a byte of the answer is looked at
        reply = await client.reply()
        assert (reply.status, reply.get("connection")) == (413, b"close")
        assert reply.body == answer
        assert await client.ended() == "eof"


async def test_an_answer_in_the_middle_of_a_paused_body_reaches_the_client() -> None:
    def refuse(heard: Heard) -> None:
        heard.connection.pause_body()
        asyncio.get_running_loop().call_later(0.02, heard.answer, b"no")

    async with listening(RecordingService(at_head=refuse)) as house:
        client = await house.client()
        await upload(client, 4 << 20)
        assert (await client.reply()).body == b"no"
        assert await client.ended() == "eof"


async def test_an_answer_that_begins_before_the_body_has_ended_says_that_it_is_the_last() -> None:
    service = RecordingService(
        at_head=lambda heard: heard.begin(), once_whole=lambda heard: heard.connection.finish()
    )
    async with listening(service) as house:
        client = await house.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
        assert (await client.head()).get("connection") == b"close"
        client.send(b"hello")
        assert await client.chunk() == b""
        await client.rest()
        assert service.heard[0].content == b"hello"


async def test_a_body_that_is_here_with_its_head_leaves_the_connection_usable() -> None:
    service = RecordingService(at_head=lambda heard: heard.answer(b"no", status=413))
    async with listening(service) as house:
        client = await house.client()
        for _ in range(2):
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
            reply = await client.reply()
            assert (reply.status, reply.get("connection")) == (413, None)


async def test_a_pause_does_not_outlive_the_request_it_was_meant_for() -> None:
    """A replica that answers without reading leaves its request paused for ever."""

    def act(heard: Heard) -> None:
        heard.connection.pause_body()
        heard.answer(heard.content)

    async with listening(RecordingService(once_whole=act)) as house:
        client = await house.client()
        for _ in range(3):
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
            await asyncio.sleep(0)
            client.send(b"hello")
            assert (await client.reply(within=1.0)).body == b"hello"


# --- endings ------------------------------------------------------------------------------------


async def test_a_broken_answer_is_a_reset_that_the_client_can_see() -> None:
    service = RecordingService(once_whole=lambda heard: heard.begin(length=CHUNKED))
    async with listening(service) as house:
        client = await house.client()
        client.send(GET)
        await client.head()
        heard = await service.hears()
        heard.connection.send(b"data")
        assert await client.chunk() == b"data"
        heard.connection.abort()
        with pytest.raises(Cut, match="reset"):
            await client.rest()
        assert not heard.left
        assert service.connections == set()


async def test_a_client_that_is_broken_off_hears_nothing_more_but_its_handler_does() -> None:
    service = RecordingService(once_whole=lambda heard: None)
    async with listening(service) as house:
        client = await house.client()
        client.send(GET)
        heard = await service.hears()
        heard.connection.break_off()
        assert heard.left
        assert service.connections == set()
        assert await client.ended() in ("eof", "reset")


async def test_only_a_connection_that_rests_is_closed_for_being_idle() -> None:
    service = RecordingService(once_whole=lambda heard: None)
    async with listening(service) as house:
        client = await house.client()
        await eventually(lambda: service.connections)
        (connection,) = service.connections
        assert connection.idle
        client.send(GET)
        heard = await service.hears()
        connection.close_if_idle()
        heard.answer(b"still here")
        assert (await client.reply()).body == b"still here"
        assert connection.idle
        connection.close_if_idle()
        assert await client.ended() == "eof"


async def test_a_connection_too_many_is_closed_at_once_and_not_counted() -> None:
    service = RecordingService(most=2)
    async with listening(service) as house:
        first, second = await house.client(), await house.client()
        await eventually(lambda: len(service.connections) == 2)
        third = await house.client()
        assert await third.ended(within=2.0) in ("eof", "reset")
        assert service.turned_away == 1
        await first.close()
        await eventually(lambda: len(service.connections) == 1)
        fourth = await house.client()
        for client in (second, fourth):
            client.send(GET)
            assert (await client.reply()).status == 200


async def test_answers_to_a_client_that_resets_at_any_moment_disturb_nobody() -> None:
    """Every write may be the one that finds the connection gone; nothing may be reported."""
    loop = asyncio.get_running_loop()

    def act(heard: Heard) -> None:
        def step(left: int) -> None:
            if heard.left:
                return
            if left:
                heard.connection.send(bytes(1000))
                loop.call_soon(step, left - 1)
            else:
                heard.connection.finish()

        heard.begin()
        step(12)

    async with listening(RecordingService(once_whole=act)) as house:
        for wait in range(30):
            client = await house.client()
            client.send(GET * 3 + b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx")
            for _ in range(wait):
                await asyncio.sleep(0)
            client.reset()
        await eventually(lambda: not house.service.connections)
