"""Slow clients meet a clock in every state in which they can keep us waiting."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from activator.wire import farewell
from activator.wire.server import PIPELINE_BYTES, ServerLimits
from tests.service import RecordingService, listening
from tests.support import eventually

if TYPE_CHECKING:
    from tests.rawclient import RawClient

SHORT = 0.15
LONG = 30.0
EXPECTING = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n"


def elapsed_since(start: float) -> float:
    return asyncio.get_running_loop().time() - start


def limits(*, head: float = LONG, body: float = LONG, keep: float = LONG) -> ServerLimits:
    return ServerLimits(head_timeout=head, body_idle=body, keep_alive=keep)


async def drip(client: RawClient, data: bytes, *, every: float) -> None:
    """Byte by byte, until all is sent or the other side will have no more."""
    for at in range(len(data)):
        if client.writer.is_closing() or client.reader.at_eof():
            return
        client.send(data[at : at + 1])
        await asyncio.sleep(every)


async def test_a_connection_that_asks_nothing_is_closed_without_a_word() -> None:
    async with listening(RecordingService(), limits=limits(head=SHORT)) as house:
        client = await house.client()
        assert await client.ended() == "eof"
        await eventually(lambda: not house.service.connections)
        assert house.service.refusals == []


async def test_a_head_that_does_not_end_is_408() -> None:
    async with listening(RecordingService(), limits=limits(head=SHORT)) as house:
        client = await house.client()
        client.send(b"GET / HTTP/1.1\r\nHost:")
        reply = await client.reply()
        assert (reply.status, reply.get("connection")) == (408, b"close")
        assert await client.ended() == "eof"


async def test_a_head_that_trickles_in_gains_no_time_by_it() -> None:
    async with listening(RecordingService(), limits=limits(head=SHORT)) as house:
        client = await house.client()
        start = asyncio.get_running_loop().time()
        trickle = asyncio.gather(drip(client, b"GET / HTTP/1.1\r\nX: " + b"x" * 300, every=0.01))
        assert (await client.reply()).status == 408
        assert elapsed_since(start) < 1.5
        assert await client.ended() == "eof"
        await client.close()
        await trickle


async def test_empty_lines_gain_no_time_either() -> None:
    async with listening(RecordingService(), limits=limits(head=SHORT)) as house:
        client = await house.client()
        start = asyncio.get_running_loop().time()
        trickle = asyncio.gather(drip(client, b"\r\n" * 150, every=0.01))
        # a line that comes while it is being closed makes the system break it off
        assert await client.ended() in {"eof", "reset"}
        assert elapsed_since(start) < 1.5
        await client.close()
        await trickle


async def test_a_second_head_has_the_clock_of_a_first() -> None:
    async with listening(RecordingService(), limits=limits(head=SHORT)) as house:
        client = await house.client()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.reply()).status == 200
        client.send(b"G")
        assert (await client.reply()).status == 408


async def test_a_connection_that_rests_is_closed_after_keep_alive() -> None:
    async with listening(RecordingService(), limits=limits(keep=SHORT)) as house:
        client = await house.client()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.reply()).status == 200
        start = asyncio.get_running_loop().time()
        assert await client.ended() == "eof"
        assert elapsed_since(start) >= SHORT - 0.03
        assert house.service.refusals == []


async def test_each_answer_begins_the_rest_anew() -> None:
    async with listening(RecordingService(), limits=limits(keep=0.5)) as house:
        client = await house.client()
        start = asyncio.get_running_loop().time()
        while elapsed_since(start) < 0.8:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await client.reply()).status == 200
            await asyncio.sleep(0.1)


async def test_a_body_that_stops_coming_is_408_and_the_handler_hears_of_it() -> None:
    async with listening(RecordingService(), limits=limits(body=SHORT)) as house:
        client = await house.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
        assert (await client.reply()).status == 408
        heard = house.service.heard[0]
        assert heard.error is not None
        assert heard.content == b"hello"
        assert await client.ended() == "eof"


async def test_a_body_that_keeps_coming_may_take_its_time() -> None:
    async with listening(RecordingService(), limits=limits(body=0.5)) as house:
        client = await house.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
        await drip(client, b"x" * 9, every=0.1)
        assert (await client.reply()).body == b"POST / " + b"x" * 9


async def test_a_body_that_we_do_not_read_has_no_clock() -> None:
    service = RecordingService(at_head=lambda heard: heard.connection.pause_body())
    async with listening(service, limits=limits(body=SHORT)) as house:
        client = await house.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n")
        heard = await service.hears()
        await asyncio.sleep(2 * SHORT)
        assert heard.error is None
        heard.connection.resume_body()
        client.send(b"helloworld")
        assert (await client.reply()).body == b"POST / helloworld"


async def test_a_body_behind_a_full_pipeline_that_we_do_not_read_has_no_clock() -> None:
    """Its pause changes nothing in the socket, which the pipeline's bound has paused before."""
    body = bytes(PIPELINE_BYTES * 4)
    upload = b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
    service = RecordingService(
        at_head=lambda heard: heard.connection.pause_body(),
        once_whole=lambda heard: None if heard.head.target == b"/a" else heard.answer(b"thanks"),
    )
    async with listening(service, limits=limits(body=SHORT, keep=SHORT)) as house:
        client = await house.client()
        client.send(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n" + upload + body)
        first = await service.hears()
        await eventually(lambda: len(house.hangups) == 1)  # it is no longer read
        first.answer(b"first")
        assert (await client.reply()).body == b"first"
        second = await service.hears(2)
        await asyncio.sleep(2 * SHORT)
        assert second.error is None
        second.connection.resume_body()
        assert (await client.reply()).body == b"thanks"
        assert second.content == body


async def test_a_client_that_waits_for_its_100_has_no_clock_until_it_is_sent() -> None:
    service = RecordingService(at_head=lambda heard: heard.connection.pause_body())
    async with listening(service, limits=limits(body=SHORT)) as house:
        client = await house.client()
        client.send(EXPECTING)
        heard = await service.hears()
        heard.connection.resume_body()
        await asyncio.sleep(2 * SHORT)
        assert heard.error is None
        heard.connection.send_continue()
        assert (await client.head()).status == 100
        assert (await client.reply()).status == 408
        assert heard.error is not None


async def test_a_client_that_does_not_wait_for_its_100_has_the_clock_of_others() -> None:
    for first, second in ((EXPECTING + b"hello", b""), (EXPECTING, b"hello")):
        async with listening(RecordingService(), limits=limits(body=SHORT)) as house:
            client = await house.client()
            client.send(first)
            await house.service.hears()
            client.send(second)
            assert (await client.reply()).status == 408
            assert house.service.heard[0].content == b"hello"


async def test_a_body_whose_answer_has_begun_has_no_clock() -> None:
    async with listening(RecordingService(), limits=limits(body=SHORT)) as house:
        client = await house.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
        heard = await house.service.hears()
        await eventually(lambda: heard.size == 5)
        heard.begin()
        await asyncio.sleep(2 * SHORT)
        client.send(b"wor")
        await eventually(lambda: heard.size == 8)
        await asyncio.sleep(2 * SHORT)
        assert heard.error is None
        heard.connection.send(b"early")
        heard.connection.finish()
        assert (await client.reply()).body == b"early"


async def test_an_answer_that_takes_long_has_no_clock_here() -> None:
    service = RecordingService(once_whole=lambda heard: None)
    all_short = limits(head=SHORT, body=SHORT, keep=SHORT)
    async with listening(service, limits=all_short) as house:
        client = await house.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
        heard = await service.hears()
        await asyncio.sleep(2 * SHORT)
        heard.answer(b"at last")
        assert (await client.reply()).body == b"at last"


async def test_clocks_may_be_off() -> None:
    async with listening(RecordingService(), limits=limits(head=0, body=0)) as house:
        client = await house.client()
        for part in (b"POST / HTTP/1.1\r\n", b"Host: a\r\nContent-Length: 2\r\n\r\n", b"a", b"b"):
            await asyncio.sleep(0.06)
            client.send(part)
        assert (await client.reply()).body == b"POST / ab"
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.reply()).status == 200


async def test_a_client_that_never_stops_sending_what_nobody_wants_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(farewell, "LINGER_TOTAL", 2 * SHORT)
    service = RecordingService(at_head=lambda heard: heard.answer(b"no", status=413))
    async with listening(service) as house:
        client = await house.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        assert (await client.reply()).status == 413
        start = asyncio.get_running_loop().time()
        while service.connections:
            assert elapsed_since(start) < 2.0
            client.send(b"x")
            await asyncio.sleep(0.01)
        assert elapsed_since(start) >= 2 * SHORT - 0.03


async def test_a_client_that_neither_sends_nor_closes_after_an_early_answer_is_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(farewell, "LINGER_SILENCE", SHORT)
    service = RecordingService(at_head=lambda heard: heard.answer(b"no", status=413))
    async with listening(service) as house:
        client = await house.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n")
        assert (await client.reply()).status == 413
        await eventually(lambda: not service.connections, within=2.0)


@pytest.mark.parametrize("last", [b"", b"Connection: close\r\n"], ids=["kept", "last"])
async def test_a_client_that_does_not_take_its_answer_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, last: bytes
) -> None:
    monkeypatch.setattr(farewell, "FLUSH_SILENCE", SHORT)
    monkeypatch.setattr(farewell, "LINGER_SILENCE", SHORT)
    service = RecordingService(once_whole=lambda heard: heard.answer(bytes(16 << 20)))
    async with listening(service, limits=limits(keep=SHORT)) as house:
        client = await house.client()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % last)
        await service.hears()
        await eventually(lambda: not service.connections, within=2.0)


async def test_a_client_that_takes_its_last_answer_slowly_gets_all_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(farewell, "FLUSH_SILENCE", SHORT)
    answer = bytes(12 << 20)
    service = RecordingService(once_whole=lambda heard: heard.answer(answer))
    async with listening(service, limits=limits(keep=SHORT)) as house:
        client = await house.client()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        size = 0
        while data := await client.reader.read(1 << 20):
            size += len(data)
            await asyncio.sleep(0.01)
        assert size > len(answer)
