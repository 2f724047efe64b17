"""A client that leaves is out of line, or its replica hears of it, within a second."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.stage import Stage, request, stage
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.rawclient import RawClient
    from tests.replica import Talk

pytestmark = pytest.mark.usefixtures("each_store", "each_write")

GRACE = 1.0
"""Seconds that CONTRACT gives."""


def fin(client: RawClient) -> None:
    client.half_close()


def rst(client: RawClient) -> None:
    client.reset()


LEAVING = pytest.mark.parametrize("leave", [fin, rst])


async def gone_after(s: Stage, within: float = GRACE) -> None:
    await eventually(lambda: s.replica.open == 0, within=within)


# --- in flight


@LEAVING
async def test_while_an_answer_streams(leave: Callable[[RawClient], None]) -> None:
    async def behave(talk: Talk) -> None:
        talk.begin_chunks()
        talk.chunk(b"first")
        await talk.gone()

    async with stage(behave) as s:
        client = await s.send(request())
        await client.head()
        await client.chunk()

        leave(client)

        await gone_after(s)


@LEAVING
async def test_while_the_first_byte_is_waited_for(leave: Callable[[RawClient], None]) -> None:
    async def behave(talk: Talk) -> None:
        await talk.body()
        await talk.gone()

    async with stage(behave) as s:
        client = await s.send(request(method="POST", body=b"abc"))
        await s.replica.heard()

        leave(client)

        await gone_after(s)


@LEAVING
async def test_while_an_upload_is_in_progress(leave: Callable[[RawClient], None]) -> None:
    async def behave(talk: Talk) -> None:
        await talk.gone()

    async with stage(behave) as s:
        client = await s.send(b"POST / HTTP/1.1\r\nHost: m\r\nContent-Length: 1000\r\n\r\nabc")
        await eventually(lambda: s.replica.requests and s.replica.requests[0].body == b"abc")

        leave(client)

        await gone_after(s)


async def test_while_an_upload_is_paused_by_back_pressure() -> None:
    stay = asyncio.Event()

    async def behave(talk: Talk) -> None:
        await stay.wait()  # and read nothing
        await talk.gone()

    async with stage(behave) as s:
        client = await s.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: m\r\nContent-Length: 100000000\r\n\r\n")
        await fill(client)
        await s.replica.heard()
        assert len(s.app._hangups) == 1

        client.reset()

        await eventually(lambda: s.live.gate.in_flight == 0, within=GRACE)
        stay.set()
        await gone_after(s)


async def fill(client: RawClient) -> None:
    """Send until nothing more is taken."""
    transport, left = client.writer.transport, 0
    client.send(b"x" * 50_000_000)
    while left != (left := transport.get_write_buffer_size()):
        await asyncio.sleep(0.1)
    assert left


@LEAVING
async def test_while_its_answer_is_paused_because_it_does_not_read(
    leave: Callable[[RawClient], None],
) -> None:
    async def behave(talk: Talk) -> None:
        talk.begin_chunks()
        try:
            for _ in range(1000):
                talk.chunk(b"x" * 100_000)
                await talk.drain()
        finally:
            await talk.gone()

    async with stage(behave) as s:
        client = await s.send(request())
        await client.head()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await s.replica.heard()
        await asyncio.sleep(0.2)

        leave(client)

        await gone_after(s)


# --- held: out of line, and never at the replica


@LEAVING
async def test_held_without_a_body(leave: Callable[[RawClient], None]) -> None:
    async with stage(ready=False) as s:
        await leaves_the_line(s, request(), leave)


@LEAVING
async def test_held_with_its_body_read(leave: Callable[[RawClient], None]) -> None:
    async with stage(ready=False) as s:
        await leaves_the_line(s, request(method="POST", body=b"x" * 10_000), leave)


@LEAVING
async def test_held_with_its_body_read_at_a_busy_replica(
    leave: Callable[[RawClient], None],
) -> None:
    done = asyncio.Event()

    async def behave(talk: Talk) -> None:
        await done.wait()
        await talk.answer()

    async with stage(behave, concurrency=1) as s:
        first = await s.send(request("/first"))
        await s.replica.heard()
        client = await s.send(request(method="POST", body=b"x" * 10_000))
        await s.until_in_line(1)

        leave(client)

        await s.until_held(0, within=GRACE)
        done.set()
        await first.reply()
        assert [heard.target for heard in s.replica.requests] == [b"/first"]


@LEAVING
async def test_held_while_its_body_comes(leave: Callable[[RawClient], None]) -> None:
    async with stage(ready=False) as s:
        raw = b"POST / HTTP/1.1\r\nHost: m\r\nContent-Length: 1000\r\n\r\nhalf"
        await leaves_the_line(s, raw, leave, lined_up=False)


@LEAVING
async def test_held_with_its_body_left_in_the_socket(leave: Callable[[RawClient], None]) -> None:
    async with stage(ready=False, queue={"bufferBytes": "1KiB"}) as s:
        raw = b"POST / HTTP/1.1\r\nHost: m\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000
        await leaves_the_line(s, raw, leave)


@LEAVING
async def test_held_with_the_rest_of_a_chunked_body_left_in_the_socket(
    leave: Callable[[RawClient], None],
) -> None:
    async with stage(ready=False, queue={"bufferBytes": "1KiB"}) as s:
        raw = b"POST / HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n"
        raw += b"800\r\n%b\r\n" % (b"x" * 2048) * 3
        await leaves_the_line(s, raw, leave)


async def leaves_the_line(
    s: Stage, raw: bytes, leave: Callable[[RawClient], None], *, lined_up: bool = True
) -> None:
    client = await s.send(raw)
    await s.until_held(1)
    if lined_up:
        await s.until_in_line(1)

    leave(client)

    await s.until_held(0, within=GRACE)
    await s.replica.start()
    await s.until_warm()
    await s.get("/after")
    assert [heard.target for heard in s.replica.requests] == [b"/after"]


async def test_many_leave_and_the_others_keep_their_order() -> None:
    async def behave(talk: Talk) -> None:
        await talk.answer(200, talk.heard.target)

    async with stage(behave, ready=False, concurrency=1) as s:
        clients = []
        for number in range(40):
            clients.append(await s.send(request(f"/{number}")))
            await s.until_in_line(number + 1)
        for client in clients[::2]:
            client.reset()
        await s.until_held(20, within=GRACE)

        await s.replica.start()

        replies = [await client.reply() for client in clients[1::2]]
        expected = [b"/%d" % number for number in range(1, 40, 2)]
        assert [reply.body for reply in replies] == expected
        assert [heard.target for heard in s.replica.requests] == expected


async def test_the_start_goes_on_when_whoever_caused_it_leaves() -> None:
    async with stage(from_zero=True) as s:
        assert s.driver is not None
        s.driver.start_delay = 0.2
        client = await s.send(request())
        await eventually(lambda: s.driver and s.driver.calls)

        client.reset()

        await s.until_warm()
        assert s.replica.requests == []
