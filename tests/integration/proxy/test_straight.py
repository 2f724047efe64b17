"""A request like one before it goes straight; whatever then becomes of it, it ends as any other.

Each of these is played to an activator that has answered the same request before, so that the next
one takes the short way; a scenario that turned out to be played on the long one fails.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import socket
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from activator.aiokit.tasks import Tasks
from activator.proxy.handler import Exchange
from activator.proxy.spool import IN_MEMORY
from activator.proxy.straight import Straight
from activator.telemetry.requests import RequestRecord
from tests.answers import chunks, hint, pieces, until_close
from tests.calls import calls
from tests.replica import hello, says
from tests.stage import NAME, request, stage
from tests.support import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rawclient import RawClient, Reply
    from tests.replica import Behaviour, Talk
    from tests.stage import Stage

pytestmark = pytest.mark.usefixtures("each_write")

BEFORE = 2
"""Requests that a head needs: once may be never again, twice is kept."""


class Ways:
    """How many requests went straight, and how many of these became something else."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._count = calls(patch, Straight, "whole", "become")

    @property
    def whole(self) -> int:
        return self._count["whole"]

    @property
    def became(self) -> int:
        return self._count["become"]


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Ways:
    return Ways(monkeypatch)


async def warmed(s: Stage, raw: bytes = request(), *, times: int = BEFORE) -> RawClient:
    """A client that has been answered this request, and whose next one is to go straight."""
    client = await s.connect()
    for _ in range(times):
        client.send(raw)
        assert (await client.reply()).status == 200
    return client


def count(s: Stage) -> dict[tuple[int | str, str], int]:
    return dict(s.live.metrics.requests)


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


# --- something else comes back


@pytest.mark.parametrize(
    "behave",
    [
        pieces,
        chunks,
        until_close,
        hint,
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Never: before\r\n\r\nhello"),
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nKeep-Alive: timeout=9\r\n\r\nhello"),
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"),
    ],
    ids=["pieces", "chunks", "until close", "a hint", "a new head", "Keep-Alive", "close"],
)
async def test_an_answer_in_whichever_form(ways: Ways, behave: Behaviour) -> None:
    async with stage() as s:
        await warmed(s)
        s.replica.behave = behave
        for _ in range(3):
            reply = await s.get()  # anew each time: the end of the connection may end an answer
            assert (reply.status, reply.body) == (200, b"hello")

        assert ways.whole + ways.became >= 3
        assert count(s) == {(200, ""): BEFORE + 3}


@pytest.mark.parametrize("status", [204, 304, 404, 500])
async def test_an_answer_with_whichever_status(ways: Ways, status: int) -> None:
    async with stage() as s:
        client = await warmed(s)
        length = b"" if status in (204, 304) else b"Content-Length: 0\r\n"
        s.replica.behave = says(b"HTTP/1.1 %d X\r\n%b\r\n" % (status, length))
        for _ in range(4):
            client.send(request())
            assert (await client.reply()).status == status

        assert ways.whole >= 1
        assert count(s) == {(200, ""): BEFORE, (status, ""): 4}


async def test_what_follows_an_answer_is_nobodys(ways: Ways) -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    async with stage(says(raw + b"hello")) as s:
        client = await warmed(s)
        s.replica.behave = says(raw + b"hello" + raw + b"other")
        client.send(request())

        assert (await client.reply()).body == b"hello"
        assert ways.became == 1
        s.replica.behave = says(raw + b"hello")
        client.send(request())
        assert (await client.reply()).body == b"hello"
        assert s.replica.connections == 2


# --- it goes wrong


async def resets(talk: Talk) -> None:
    talk.reset()


async def closes(talk: Talk) -> None:
    await talk.close()


async def breaks_off(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")
    await talk.drain()
    talk.reset()


@pytest.mark.parametrize("ends", [resets, closes])
async def test_it_is_repeated_where_the_replica_ends_without_an_answer(
    ways: Ways, ends: Behaviour
) -> None:
    async with stage(replicas=2) as s:
        client = await warmed(s, times=4 * BEFORE)
        died = 0

        async def once(talk: Talk) -> None:
            nonlocal died
            died += 1
            await (ends(talk) if died == 1 else hello(talk))

        for replica in s.replicas:
            replica.behave = once
        client.send(request())

        assert (await client.reply()).status == 200
        assert died == 2
        assert ways.became == 1


@pytest.mark.parametrize(
    ("behave", "status"), [(says(b"what?\r\n\r\n"), 502), (says(b"HTTP/1.1 99 X\r\n\r\n"), 502)]
)
async def test_an_answer_that_is_none_is_said(ways: Ways, behave: Behaviour, status: int) -> None:
    async with stage() as s:
        client = await warmed(s)
        s.replica.behave = behave
        client.send(request())

        assert (await client.reply()).status == status
        assert ways.became >= 1


async def test_an_answer_that_breaks_off_is_broken_off(ways: Ways) -> None:
    async with stage() as s:
        client = await warmed(s)
        s.replica.behave = breaks_off
        client.send(request())
        await client.head()

        assert await client.ended() == "reset"
        assert ways.became == 1
        assert count(s)[200, "broken_off"] == 1


async def never(talk: Talk) -> None:
    await talk.gone()


@pytest.mark.parametrize("setting", ["firstByte", "total"])
async def test_its_clocks_run(ways: Ways, setting: str) -> None:
    async with stage(timeouts={setting: "300ms"}) as s:
        client = await warmed(s)
        s.replica.behave = never
        client.send(request())
        reply = await client.reply()

        assert reply.status == 504
        assert f"timeouts.{setting}" in reply.json()["detail"]
        assert ways.became == 1
        await eventually(lambda: s.replica.open == 0)


async def test_a_changed_clock_holds_for_the_next_one(ways: Ways) -> None:
    async with stage() as s:
        client = await warmed(s)
        s.config["endpoints"][0]["timeouts"] = {"firstByte": "200ms"}
        s.rewrite()
        await eventually(lambda: s.live.endpoint.timeouts.first_byte == 0.2)
        await warmed(s)
        s.replica.behave = never
        client.send(request())

        assert (await client.reply()).status == 504
        assert ways.became >= 1


@pytest.mark.usefixtures("each_store")
@pytest.mark.parametrize("leave", ["fin", "rst"])
async def test_a_client_that_leaves_is_noticed(ways: Ways, leave: str) -> None:
    async with stage() as s:
        client = await warmed(s)
        s.replica.behave = never
        client.send(request())
        await s.replica.heard(BEFORE + 1)
        (client.half_close if leave == "fin" else client.reset)()

        await eventually(lambda: s.replica.open == 0)
        await eventually(lambda: count(s).get((499, "client_left")) == 1)
        assert ways.became >= 1


async def test_a_replica_that_is_stopped_takes_none_with_it(ways: Ways) -> None:
    async with stage() as s:
        client = await warmed(s)
        s.replica.behave = never
        client.send(request())
        await s.replica.heard(BEFORE + 1)
        (live,) = s.live.replicas.values()
        s.replica.behave = hello
        live.pool.abort()

        assert (await client.reply()).status in (200, 502)
        assert ways.became == 1


# --- a chat, whose model says where it belongs

MODEL: dict[str, Any] = {"match": {"models": ["chat"]}, "dialect": "openai"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def chat(text: str) -> bytes:
    body = json.dumps({"model": "chat", "messages": [{"role": "user", "content": text}]}).encode()
    headers = {"Content-Type": "application/json"}
    return request("/v1/chat/completions", method="POST", headers=headers, body=body)


async def completes(talk: Talk) -> None:
    asked = json.loads(await talk.body())
    said = {"choices": [], "usage": USAGE, "said": asked["messages"][0]["content"]}
    await talk.answer(200, json.dumps(said).encode(), fields=b"Content-Type: application/json\r\n")


async def test_a_chat_goes_straight_with_its_body(ways: Ways) -> None:
    async with stage(completes, **MODEL) as s:
        client = await s.connect()
        for number in range(BEFORE + 3):
            client.send(chat("x" * number))
            reply = await client.reply()
            assert (reply.status, reply.json()["said"]) == (200, "x" * number)

        assert ways.whole >= 2
        tokens = {kind: n for (_, kind, _), n in s.live.metrics.tokens.items()}
        total = BEFORE + 3
        assert sorted(tokens.values()) == [3 * total, 4 * total]


async def test_a_chat_too_long_for_memory_comes_through(ways: Ways) -> None:
    long = "x" * (2 * IN_MEMORY)
    async with stage(completes, **MODEL) as s:
        client = await s.connect()
        for number in range(BEFORE + 3):
            client.send(chat("x" * number))
            assert (await client.reply()).status == 200
        went = ways.whole
        client.send(chat(long))

        assert (await client.reply()).json()["said"] == long
        assert ways.whole == went > 0


@pytest.mark.usefixtures("each_store")
@pytest.mark.parametrize("apart", [0, 5])
async def test_a_chat_goes_straight_whose_body_comes_later(ways: Ways, apart: int) -> None:
    """As of clients that write it after the head: in a read of its own, or in two."""
    async with stage(completes, **MODEL) as s:
        client = await s.connect()
        for number in range(BEFORE + 3):
            raw = chat("x" * number)
            begun = raw.index(b"\r\n\r\n") + 4 + apart
            client.send(raw[:begun])
            await eventually(lambda: s.proxy.busy == 1)
            client.send(raw[begun:])
            reply = await client.reply()
            assert (reply.status, reply.json()["said"]) == (200, "x" * number)

        assert ways.whole >= 2
        assert count(s) == {(200, ""): BEFORE + 3}


async def test_a_chat_that_was_sent_is_not_sent_again(ways: Ways) -> None:
    async with stage(completes, replicas=2, **MODEL) as s:
        client = await s.connect()
        for number in range(3 * BEFORE):
            client.send(chat("x" * number))
            assert (await client.reply()).status == 200
        went, heard = ways.whole, sum(len(replica.requests) for replica in s.replicas)
        assert went

        async def dies(talk: Talk) -> None:
            await talk.body()
            talk.reset()

        for replica in s.replicas:
            replica.behave = dies
        client.send(chat("y"))
        reply = await client.reply()

        assert reply.status == 502
        assert ways.became >= 1
        assert sum(len(replica.requests) for replica in s.replicas) == heard + 1


async def test_a_chat_that_is_answered_in_a_stream_is_passed_on(ways: Ways) -> None:
    event = b'data: {"choices":[],"usage":%b}\n\n' % json.dumps(USAGE).encode()

    async def streams(talk: Talk) -> None:
        await talk.body()
        talk.begin_chunks(fields=b"Content-Type: text/event-stream\r\n")
        for piece in (event, b"data: [DONE]\n\n", b""):
            talk.chunk(piece)
            await talk.drain()

    async with stage(completes, **MODEL) as s:
        client = await s.connect()
        for number in range(BEFORE + 3):
            client.send(chat("x" * number))
            assert (await client.reply()).status == 200
        assert ways.whole
        s.replica.behave = streams
        client.send(chat("y"))

        assert (await client.reply()).body == event + b"data: [DONE]\n\n"
        assert ways.became >= 1


# --- it is over


@pytest.mark.usefixtures("each_store")
@pytest.mark.parametrize("is_chat", [False, True])
async def test_nothing_of_it_is_left_to_be_collected(*, is_chat: bool) -> None:
    """Nor of those that have waited for it."""
    raw = chat("x") if is_chat else request()
    endpoint = MODEL if is_chat else {}
    async with stage(completes if is_chat else hello, concurrency=1, **endpoint) as s:
        clients = [await warmed(s, raw) for _ in range(3)]
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            for _ in range(4):
                for client in clients:
                    client.send(raw)
                for client in clients:
                    assert (await client.reply()).status == 200
            gc.collect()
            left = [one for one in gc.garbage if isinstance(one, (Straight, Exchange))]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
        assert not left
        assert sum(s.live.metrics.waits.counts) > 0
