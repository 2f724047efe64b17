"""What may wait, how much and how long: each bound, and what is said at it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.replica import Behaviour, Talk, hello
from tests.stage import Stage, request, stage
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.rawclient import RawClient

BODY = b"x" * 4096


def busy_until(release: asyncio.Event) -> Behaviour:
    """Answers every request with its own body, but /first only once told."""

    async def behave(talk: Talk) -> None:
        if talk.heard.target == b"/first":
            await release.wait()
        await talk.answer(200, await talk.body())

    return behave


async def held(s: Stage, body: bytes, *, count: int) -> list[RawClient]:
    """Requests that wait in line, in order."""
    already, clients = s.waiting, []
    for number in range(count):
        clients.append(await s.send(request(f"/{number}", method="POST", body=body)))
        await s.until_in_line(already + number + 1)
    return clients


async def test_the_line_is_bounded_in_requests() -> None:
    async with stage(ready=False, queue={"maxRequests": 2}) as s:
        clients = await held(s, b"", count=2)
        refused = await s.get()

        assert (refused.status, refused.why) == (503, "queue_full")
        assert 1 <= int(refused.get("retry-after") or 0) <= 60
        assert "queue.maxRequests" in refused.json()["detail"]

        await clients.pop().close()
        await s.until_held(1)
        clients += await held(s, b"", count=1)
        await s.replica.start()
        assert [(await client.reply()).status for client in clients] == [200, 200]


async def test_the_line_is_bounded_in_bytes() -> None:
    async with stage(ready=False, queue={"maxBytes": "10KiB"}) as s:
        clients = await held(s, BODY, count=2)
        refused = await s.post(BODY)

        assert (refused.status, refused.why) == (503, "queue_full")
        assert "queue.maxBytes" in refused.json()["detail"]
        assert s.live.gate.held_bytes == 2 * len(BODY)
        await s.replica.start()
        assert [(await client.reply()).status for client in clients] == [200, 200]


async def test_a_body_that_grows_beyond_the_bound_is_refused_as_it_comes() -> None:
    async with stage(ready=False, queue={"maxBytes": "10KiB"}) as s:
        client = await s.send(b"POST / HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            client.send(b"1000\r\n%b\r\n" % BODY)
        refused = await client.reply()

        assert (refused.status, refused.why) == (503, "queue_full")
        assert refused.get("connection") == b"close"
        assert await client.ended() == "eof"


async def test_bodies_wait_in_the_store_while_nothing_is_ready() -> None:
    async with stage(ready=False) as s:
        clients = await held(s, BODY, count=3)

        assert s.proxy.store.bytes_kept == 3 * len(BODY)
        assert s.proxy.held_memory.used == 0
        await s.replica.start()
        for client in clients:
            await client.reply()
        assert [bytes(heard.body) for heard in s.replica.requests] == [BODY] * 3


async def at_rest(measure: Callable[[], int], *, still: float = 0.2) -> int:
    """What it is once it has not changed for so long: that no more is taken in has no other sign.
    Seconds."""
    loop = asyncio.get_running_loop()
    last, since = measure(), loop.time()
    while loop.time() - since < still:
        await asyncio.sleep(0.02)
        if (now := measure()) != last:
            last, since = now, loop.time()
    return last


async def test_bodies_wait_in_memory_at_a_busy_replica_and_then_in_the_store() -> None:
    release = asyncio.Event()
    server = {"heldMemory": "8KiB"}
    async with stage(busy_until(release), concurrency=1, server=server) as s:
        first = await s.send(request("/first"))
        await s.replica.heard()
        bodies = [bytes([letter]) * 4096 for letter in b"abcd"]
        clients = [client for body in bodies for client in await held(s, body, count=1)]

        assert s.proxy.held_memory.used == 2 * 4096
        assert s.proxy.store.bytes_kept == 2 * 4096
        release.set()
        await first.reply()
        assert [(await client.reply()).body for client in clients] == bodies


async def test_a_full_store_is_made_up_for_by_memory_as_far_as_it_goes() -> None:
    config = {"store": {"maxBytes": "4KiB"}}
    async with stage(ready=False, server={"heldMemory": "4KiB"}, config=config) as s:
        clients = await held(s, BODY, count=2)
        refused = await s.post(BODY)
        assert (s.proxy.store.bytes_kept, s.proxy.held_memory.used) == (4096, 4096)

        assert (refused.status, refused.why) == (503, "store_unavailable")
        assert refused.get("retry-after") is not None
        await s.replica.start()
        assert [(await client.reply()).status for client in clients] == [200, 200]


async def test_a_large_body_stays_in_its_socket_until_its_turn() -> None:
    body = bytes(range(256)) * 40_000
    async with stage(ready=False, queue={"bufferBytes": "64KiB"}) as s:
        client = await s.send(request(method="POST", body=body))
        await s.until_in_line(1)
        await at_rest(client.writer.transport.get_write_buffer_size)

        assert s.live.gate.held_bytes < 1_000_000
        assert s.proxy.store.bytes_kept == 0
        await s.replica.start()
        assert (await client.reply()).status == 200
        assert bytes(s.replica.requests[0].body) == body


async def test_a_chunked_body_too_large_to_keep_goes_on_where_it_stopped() -> None:
    body = bytes(range(256)) * 10_000
    async with stage(ready=False, queue={"bufferBytes": "64KiB"}) as s:
        client = await s.send(b"POST / HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"%x\r\n%b\r\n0\r\nX-Sum: 1\r\n\r\n" % (len(body), body))
        await s.until_in_line(1)
        await s.replica.start()

        assert (await client.reply()).status == 200
        assert bytes(s.replica.requests[0].body) == body
        assert s.replica.requests[0].trailers == [b"X-Sum: 1"]


@pytest.mark.parametrize(
    ("limits", "raw"),
    [
        ({"requestLine": "1KiB"}, b"GET /%b HTTP/1.1\r\nHost: m\r\n\r\n" % (b"x" * 2000)),
        ({"headerBytes": "1KiB"}, b"GET / HTTP/1.1\r\nHost: m\r\nA: %b\r\n\r\n" % (b"x" * 2000)),
        ({"headers": 10}, b"GET / HTTP/1.1\r\nHost: m\r\n%b\r\n" % (b"A: x\r\n" * 10)),
        ({"requestLine": "1KiB"}, b"GET /" + b"x" * 2000),
    ],
)
async def test_a_head_beyond_its_limits_is_refused(limits: dict[str, object], raw: bytes) -> None:
    async with stage(server={"limits": limits}) as s:
        client = await s.send(raw)
        reply = await client.reply()

        assert (reply.status, reply.why) == (431, "headers_too_large")
        assert reply.get("connection") == b"close"
        assert await client.ended() == "eof"


async def test_a_head_that_does_not_arrive_in_time_is_told_so() -> None:
    async with stage(server={"limits": {"headTimeout": "150ms"}}) as s:
        client = await s.send(b"GET / HTTP/1.1\r\nHo")

        reply = await client.reply(within=2.0)

        assert (reply.status, reply.why) == (408, "request_timeout")


@pytest.mark.parametrize("ready", [True, False])
async def test_a_body_that_stops_arriving_is_told_so(ready: bool) -> None:
    async def behave(talk: Talk) -> None:
        await talk.gone()

    async with stage(behave, ready=ready, server={"limits": {"bodyIdle": "150ms"}}) as s:
        client = await s.send(b"POST / HTTP/1.1\r\nHost: m\r\nContent-Length: 9\r\n\r\nabc")

        reply = await client.reply()

        assert (reply.status, reply.why) == (408, "request_timeout")


async def test_a_body_that_waits_in_its_socket_is_not_late() -> None:
    limits = {"limits": {"bodyIdle": "150ms"}}
    async with stage(ready=False, server=limits, queue={"bufferBytes": "1KiB"}) as s:
        client = await s.send(request(method="POST", body=b"x" * 5000))
        await s.until_in_line(1)
        await asyncio.sleep(0.4)  # over its time: that nothing is told then has no sign of its own
        await s.replica.start()

        assert (await client.reply()).status == 200


async def test_without_keep_alive_each_answer_closes_its_connection() -> None:
    async with stage(server={"limits": {"keepAlive": 0}}) as s:
        client = await s.send(request() + request())
        reply = await client.reply()

        assert (reply.status, reply.get("connection")) == (200, b"close")
        assert await client.ended() == "eof"
        assert len(s.replica.requests) == 1


async def test_a_connection_that_rests_too_long_is_closed() -> None:
    async with stage(server={"limits": {"keepAlive": "150ms"}}) as s:
        client = await s.send(request())
        await client.reply()

        assert await client.ended() == "eof"


async def test_connections_are_bounded() -> None:
    async with stage(server={"limits": {"connections": 2}}) as s:
        first, second = await s.connect(), await s.connect()
        await eventually(lambda: s.proxy.connections == 2)
        third = await s.connect()
        await third.ended()
        await first.close()
        await eventually(lambda: s.proxy.connections == 1)
        fourth = await s.send(request())

        assert (await fourth.reply()).status == 200
        second.send(request())
        assert (await second.reply()).status == 200


async def test_never_more_than_concurrency_at_a_replica() -> None:
    async def behave(talk: Talk) -> None:
        await asyncio.sleep(0.01)
        await hello(talk)

    async with stage(behave, concurrency=3, replicas=2) as s:
        clients = [await s.send(request(f"/{number}")) for number in range(60)]
        for client in clients:
            assert (await client.reply()).status == 200

        assert max(replica.most_in_flight for replica in s.replicas) == 3


async def test_a_pipelining_client_that_does_not_read_is_not_buffered_for() -> None:
    written = 0

    async def behave(talk: Talk) -> None:
        nonlocal written
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        talk.send(b"x" * 100_000)
        await talk.drain()
        written += 100_000

    async with stage(behave) as s:
        client = await s.connect(buffer=1)
        client.send(request() * 500)
        await eventually(lambda: written)
        await at_rest(lambda: written)

        assert written < 20_000_000  # what kernels buffer, and a little of ours


async def closes_behind_it(talk: Talk) -> None:
    """So that whoever comes next has to connect first."""
    talk.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 12000\r\n\r\n")
    talk.send(b"x" * 12_000)
    await talk.drain()
    await talk.close()


@pytest.mark.usefixtures("each_write")
async def test_nor_is_it_for_an_answer_that_has_begun_when_it_was_found_not_to_read() -> None:
    written, size = 0, 50_000_000

    async def behave(talk: Talk) -> None:
        nonlocal written
        (connection,) = s.proxy._connections
        if not connection._full:
            await closes_behind_it(talk)
            return
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while written < size:
            talk.send(b"x" * 100_000)
            await talk.drain()
            written += 100_000

    async with stage(behave) as s:
        client = await s.connect(buffer=1)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(request() * 2000)
        (connection,) = s.proxy._connections
        await eventually(lambda: connection._full, within=10.0)
        await at_rest(lambda: written)

        assert connection._transport.get_write_buffer_size() < 1_000_000
        assert written < 20_000_000  # what kernels buffer
        client.reset()


@pytest.mark.parametrize("held_first", [False, True])
async def test_an_upload_to_a_replica_that_does_not_read_is_not_buffered(held_first: bool) -> None:
    release = asyncio.Event()

    async def behave(talk: Talk) -> None:
        await release.wait()
        await talk.answer(200, b"%d" % len(await talk.body()))

    size = 50_000_000
    async with stage(behave, ready=not held_first) as s:
        client = await s.connect()
        client.send(request(method="POST", body=b"x" * size))
        if held_first:
            await s.until_in_line(1)
            await s.replica.start()
        await s.replica.heard()
        left = await at_rest(client.writer.transport.get_write_buffer_size)

        assert left > size // 2  # what kernels buffer, and a little of ours
        release.set()
        assert (await client.reply()).body == b"%d" % size
