"""A request like one before it goes straight; whatever then becomes of it, it ends as any other.

Each of these is played to an activator that has answered the same request before, so that the next
one takes the short way; a scenario that turned out to be played on the long one fails.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from activator.aiokit.tasks import Tasks
from activator.proxy.handler import Exchange
from activator.proxy.straight import Straight
from activator.telemetry.requests import RequestRecord
from tests.integration.proxy.ways import BEFORE, MODEL, Ways, chat, completes, count, warmed
from tests.leftovers import collected
from tests.replica import hello, says
from tests.stage import NAME, request, stage
from tests.support import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rawclient import Reply
    from tests.replica import Talk

pytestmark = pytest.mark.usefixtures("each_write")


# --- it goes straight


async def test_the_answer_is_the_same_and_so_is_what_the_replica_gets(ways: Ways) -> None:
    async with stage() as s:
        client = await s.connect()
        replies: list[Reply] = []
        for _ in range(BEFORE + 2):
            client.send(request("/x?y", headers={"Accept": "text/plain"}))
            replies.append(await client.reply())
        assert (ways.whole, ways.became) == (2, 0)

        def known(fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
            its_own = {b"x-request-id", b"traceparent", b"server-timing"}
            return [field for field in fields if field[0].lower() not in its_own]

        first, *others = replies
        for other in others:
            assert (other.status, other.body) == (first.status, first.body)
            assert known(other.fields) == known(first.fields)
            assert {name for name, _ in other.fields} == {name for name, _ in first.fields}
        heard, *more = s.replica.requests
        for each in more:
            assert (each.method, each.target) == (heard.method, heard.target)
            assert known(each.fields) == known(heard.fields)
        ids = [reply.get("x-request-id") for reply in replies]
        assert len(set(ids)) == len(ids)
        assert [each.get("x-request-id") for each in s.replica.requests] == ids
        assert s.replica.connections == 1


async def test_metrics_and_lines_are_told_of_it(
    ways: Ways, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "activator.requests")
    async with stage() as s:
        client = await warmed(s)
        client.send(request(headers={"X-Unlike": "1"}) + request())
        for _ in range(2):
            await client.reply()

        assert ways.whole == 1
        lines: list[Any] = [one for one in caplog.records if isinstance(one, RequestRecord)]
        assert len(lines) == BEFORE + 2
        for line in lines:
            assert (line.status, line.reason, line.attempts) == (200, "", 1)
            assert (line.bytes_in, line.bytes_out, line.held) == (0, len(b"hello"), 0)
            assert (line.endpoint, line.remote) == (NAME, "127.0.0.1")
            assert line.replica == next(iter(s.live.replicas))
            assert 0 < line.seconds < 5
        assert count(s) == {(200, ""): BEFORE + 2}


async def test_a_pipeline_is_answered_and_logged_in_its_order(
    ways: Ways, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "activator.requests")
    async with stage() as s:
        client = await warmed(s)
        client.send(request() * 3 + request("/refused", method="TRACE") + request())
        statuses = [(await client.reply()).status for _ in range(5)]

        assert statuses == [200, 200, 200, 405, 200]
        assert ways.whole == 4
        lines: list[Any] = [one for one in caplog.records if isinstance(one, RequestRecord)]
        assert [line.status for line in lines[BEFORE:]] == statuses


async def test_its_key_is_charged(ways: Ways, tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    path.write_text(f"me:{sha256(b'secret').hexdigest()}\n")
    config = {"auth": {"apiKeysFile": str(path)}}
    raw = request(headers={"Authorization": "Bearer secret"})
    async with stage(config=config) as s:
        client = await warmed(s, raw)
        client.send(raw)
        await client.reply()

        assert ways.whole == 1
        use = s.live.keys.read(now=s.proxy.clock())["me"]
        assert use.requests == BEFORE + 1
        ended = s.live.keys.read(now=s.proxy.clock())["me"]
        assert ended.slot_seconds == use.slot_seconds > 0  # none is open


async def test_a_head_with_an_id_of_its_own_goes_straight_under_that(ways: Ways) -> None:
    async with stage() as s:
        client = await s.connect()
        for number in range(BEFORE + 2):
            client.send(request(f"/x?{number}", headers={"X-Request-Id": f"mine-{number}"}))
            assert (await client.reply()).get("x-request-id") == b"mine-%d" % number

        assert ways.whole == 2
        last = s.replica.requests[-1]
        assert last.target == b"/x?%d" % (BEFORE + 1)
        assert last.get("x-request-id") == b"mine-%d" % (BEFORE + 1)


async def test_who_closes_afterwards_is_told_so(ways: Ways) -> None:
    raw = request(headers={"Connection": "close"})
    async with stage() as s:
        for _ in range(BEFORE + 1):
            client = await s.send(raw)
            reply = await client.reply()
            assert (reply.status, reply.get("connection")) == (200, b"close")
            assert await client.ended() == "eof"

        assert ways.whole == 1


async def test_a_client_that_takes_its_last_answer_slowly_gets_all_of_it(ways: Ways) -> None:
    body = b"x" * (48 << 10)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    raw = request(headers={"Connection": "close"})
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    async with stage(says(answer)) as s:
        for _ in range(BEFORE):
            assert (await s.ask(raw)).body == body
        client = await s.connect(buffer=1 << 10)
        reader: Any = client.writer.transport
        reader.pause_reading()
        await eventually(lambda: s.proxy.connections == 1)
        (connection,) = s.proxy._connections
        connection._transport.set_write_buffer_limits(0)
        sock = connection._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        client.send(raw)
        await eventually(lambda: count(s)[200, ""] == BEFORE + 1)
        assert connection._full
        reader.resume_reading()
        reply = await client.reply()

        assert (reply.body, reply.get("connection")) == (body, b"close")
        assert ways.whole == 1
    assert told == []


async def test_an_activator_that_ends_answers_it_and_closes(ways: Ways) -> None:
    async with stage() as s:
        client = await warmed(s)
        gate = asyncio.Event()

        async def waits(talk: Talk) -> None:
            await gate.wait()
            await hello(talk)

        s.replica.behave = waits
        client.send(request())
        await s.replica.heard(BEFORE + 1)
        stopping = Tasks("test").spawn(s.stop(grace=5), name="stop")
        await eventually(lambda: s.proxy.draining)
        gate.set()
        reply = await client.reply()
        await stopping

        assert (reply.status, reply.get("connection")) == (200, b"close")
        assert (ways.whole, ways.became) == (1, 0)


# --- with a body


async def echoes(talk: Talk) -> None:
    await talk.answer(200, await talk.body())


def post(body: bytes) -> bytes:
    return request("/infer", method="POST", body=body)


async def test_a_body_that_came_with_its_head_goes_along(ways: Ways) -> None:
    async with stage(echoes) as s:
        client = await s.connect()
        for number in range(1, BEFORE + 3):
            client.send(post(b"x" * number))
            assert (await client.reply()).body == b"x" * number

        assert (ways.whole, ways.became) == (2, 0)
        assert [bytes(heard.body) for heard in s.replica.requests] == [
            b"x" * number for number in range(1, BEFORE + 3)
        ]


async def test_a_body_that_comes_later_is_passed_on_as_it_comes(ways: Ways) -> None:
    async with stage(echoes) as s:
        client = await warmed(s, post(b"hello"))
        whole = post(b"hello")
        for size in (len(whole) - 5, len(whole) - 2):
            client.send(whole[:size])
            await s.replica.heard(len(s.replica.requests) + 1)
            client.send(whole[size:])
            assert (await client.reply()).body == b"hello"

        assert ways.whole == 0


async def test_a_body_that_was_sent_is_not_sent_again(ways: Ways) -> None:
    async with stage(echoes, replicas=2) as s:
        client = await warmed(s, post(b"hello"), times=4 * BEFORE)
        went, heard = ways.whole, sum(len(replica.requests) for replica in s.replicas)
        assert went
        for replica in s.replicas:
            replica.behave = resets_after_the_body
        client.send(post(b"hello"))

        assert (await client.reply()).status == 502
        assert sum(len(replica.requests) for replica in s.replicas) == heard + 1
        assert ways.became >= 1


async def resets_after_the_body(talk: Talk) -> None:
    await talk.body()
    talk.reset()


@pytest.mark.usefixtures("each_store")
async def test_a_body_is_held_where_there_is_no_slot_for_it(ways: Ways) -> None:
    async with stage(echoes) as s:
        client = await warmed(s, post(b"hello"))
        s.live.gate.pause()
        client.send(post(b"other"))
        await s.until_held(1)
        s.live.gate.resume()

        assert (await client.reply()).body == b"other"
        assert ways.became >= 1


async def test_a_body_goes_over_a_new_connection_where_there_is_none(ways: Ways) -> None:
    async with stage(echoes) as s:
        client = await warmed(s, post(b"hello"))
        s.replica.drop_connections()
        (live,) = s.live.replicas.values()
        pool: Any = live.pool
        await eventually(lambda: not pool.resting)
        client.send(post(b"other"))

        assert (await client.reply()).body == b"other"
        assert (ways.whole, ways.became) == (0, 1)


# --- it cannot


@pytest.mark.usefixtures("each_store")
async def test_without_a_slot_it_waits_for_its_turn(ways: Ways) -> None:
    async with stage(concurrency=1) as s:
        clients = [await warmed(s)] + [await s.connect() for _ in range(3)]
        gate = asyncio.Event()

        async def waits(talk: Talk) -> None:
            await gate.wait()
            await hello(talk)

        s.replica.behave = waits
        for number, client in enumerate(clients):
            client.send(request())
            if number:
                await s.until_in_line(number)
            else:
                await s.replica.heard(BEFORE + 1)
        gate.set()
        for client in clients:
            assert (await client.reply()).status == 200

        assert s.replica.most_in_flight == 1
        assert ways.became >= 3


async def test_without_a_replica_it_is_held(ways: Ways) -> None:
    async with stage() as s:
        client = await warmed(s)
        s.live.gate.pause()
        client.send(request())
        await s.until_held(1)
        s.live.gate.resume()

        assert (await client.reply()).status == 200
        assert (ways.whole, ways.became) == (0, 1)


async def test_without_a_connection_one_is_opened(ways: Ways) -> None:
    async with stage() as s:
        client = await warmed(s)
        s.replica.drop_connections()
        (live,) = s.live.replicas.values()
        pool: Any = live.pool
        await eventually(lambda: not pool.resting)
        client.send(request())

        assert (await client.reply()).status == 200
        assert (ways.whole, ways.became) == (0, 1)
        assert s.replica.connections == 2


# --- it is over


@pytest.mark.usefixtures("each_store")
@pytest.mark.parametrize("is_chat", [False, True])
async def test_nothing_of_it_is_left_to_be_collected(*, is_chat: bool) -> None:
    """Nor of those that have waited for it."""
    raw = chat("x") if is_chat else request()
    endpoint = MODEL if is_chat else {}
    async with stage(completes if is_chat else hello, concurrency=1, **endpoint) as s:
        clients = [await warmed(s, raw) for _ in range(3)]
        with collected(Straight, Exchange) as left:
            for _ in range(4):
                for client in clients:
                    client.send(raw)
                for client in clients:
                    assert (await client.reply()).status == 200
        assert not left
        assert sum(s.live.metrics.waits.counts) > 0
