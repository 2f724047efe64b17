"""A request that waited goes out whole over the connection that the one before it has left, and
whatever becomes of it then, it ends as any other.

Each of these is played behind another one that has the only slot; a scenario that turned out to be
played on the long way fails.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from activator.proxy.sent import Sent
from activator.telemetry.requests import RequestRecord
from activator.upstream.pool import Pool
from tests.answers import chunks, hint, pieces, until_close
from tests.calls import calls
from tests.replica import hello, says
from tests.stage import request, stage
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.rawclient import RawClient
    from tests.replica import Behaviour, Talk
    from tests.stage import Stage

POST = request("/x?y", method="POST", body=b"x" * 5000)


class Ways:
    """How many requests were sent whole, and to how many of these something else happened than a
    whole answer."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._count = calls(patch, Sent, "__init__", "whole", "in_steps", "abort")

    @property
    def sent(self) -> int:
        return self._count["__init__"]

    @property
    def whole(self) -> int:
        return self._count["whole"]

    @property
    def other(self) -> int:
        return self._count["in_steps"] + self._count["abort"]


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Ways:
    return Ways(monkeypatch)


@asynccontextmanager
async def behind(s: Stage, *raws: bytes) -> AsyncIterator[list[RawClient]]:
    """Clients whose requests wait, in this order, until this ends."""
    gate = asyncio.Event()

    async def runs(talk: Talk) -> None:
        await gate.wait()
        await hello(talk)

    behave, s.replica.behave = s.replica.behave, runs
    heard = len(s.replica.requests)
    first = await s.send(request("/first"))
    await s.replica.heard(heard + 1)
    s.replica.behave = behave
    clients = []
    for number, raw in enumerate(raws, 1):
        clients.append(await s.send(raw))
        await s.until_in_line(number)
    yield clients
    gate.set()
    assert (await first.reply()).status == 200


def count(s: Stage) -> dict[tuple[int | str, str], int]:
    return dict(s.live.metrics.requests)


# --- its answer comes whole


@pytest.mark.usefixtures("each_store")
async def test_the_answer_is_the_same_and_so_is_what_the_replica_gets(ways: Ways) -> None:
    raw = request("/x?y", method="POST", headers={"TE": "trailers"}, body=b"x" * 5000)
    async with stage(concurrency=1) as s:
        at_once = await s.ask(raw)
        async with behind(s, *[raw] * 3) as clients:
            pass
        replies = [await client.reply() for client in clients]

        assert (ways.sent, ways.whole) == (3, 3)
        its_own = {b"x-request-id", b"traceparent", b"server-timing"}

        def known(fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
            return [field for field in fields if field[0].lower() not in its_own]

        for reply in replies:
            assert (reply.status, reply.body) == (200, b"hello")
            assert known(reply.fields) == known(at_once.fields)
            timing = reply.get("server-timing") or b""
            assert timing.startswith(b"queue;dur=")
            assert not timing.startswith(b"queue;dur=0,")
        heard, _, *held = s.replica.requests
        for each in held:
            assert (each.method, each.target, bytes(each.body)) == (b"POST", b"/x?y", b"x" * 5000)
            assert known(each.fields) == known(heard.fields)
        ids = [each.get("x-request-id") for each in held]
        assert ids == [reply.get("x-request-id") for reply in replies]
        assert len(set(ids)) == 3
        assert s.replica.connections == 1


async def test_metrics_and_lines_are_told_of_it(
    ways: Ways, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "activator.requests")
    async with stage(concurrency=1) as s:
        await s.ask(POST)  # an answer's head is known once it has come again
        async with behind(s, POST) as (client,):
            pass
        await client.reply()

        assert ways.whole == 1
        lines: list[Any] = [one for one in caplog.records if isinstance(one, RequestRecord)]
        line = lines[-1]
        assert (line.status, line.reason, line.attempts) == (200, "", 1)
        assert (line.bytes_in, line.bytes_out) == (5000, len(b"hello"))
        assert line.replica == next(iter(s.live.replicas))
        assert 0 < line.held <= line.seconds < 5
        assert count(s) == {(200, ""): 3}


async def test_who_waited_for_a_start_is_told_so(ways: Ways) -> None:
    async with stage(ready=False, concurrency=1) as s:
        clients = []
        for number in range(5):
            clients.append(await s.send(POST))
            await s.until_in_line(number + 1)
        await s.replica.start()

        for client in clients:
            reply = await client.reply()
            assert reply.get("x-activator-cold-start") == b"true"
            assert b"activate;dur=0," not in (reply.get("server-timing") or b"")
        assert ways.sent == 4  # the first had to open the connection
        assert ways.whole >= 2


async def test_a_pipeline_is_answered_and_logged_in_its_order(
    ways: Ways, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "activator.requests")
    async with stage(concurrency=1) as s:
        await s.ask(POST)
        async with behind(s, POST + request("/refused", method="TRACE") + POST) as (client,):
            pass
        statuses = [(await client.reply()).status for _ in range(3)]

        assert statuses == [200, 405, 200]
        assert ways.whole == 1
        lines: list[Any] = [one for one in caplog.records if isinstance(one, RequestRecord)]
        assert [line.status for line in lines[-3:]] == statuses


async def test_who_closes_afterwards_is_told_so(ways: Ways) -> None:
    async with stage(concurrency=1) as s:
        await s.ask(request())
        async with behind(s, request(headers={"Connection": "close"})) as (client,):
            pass
        reply = await client.reply()

        assert (reply.status, reply.get("connection")) == (200, b"close")
        assert await client.ended() == "eof"
        assert ways.whole == 1


async def test_its_key_is_charged(ways: Ways, tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    path.write_text(f"me:{sha256(b'secret').hexdigest()}\n")
    raw = request(headers={"Authorization": "Bearer secret"})
    async with stage(concurrency=1, config={"auth": {"apiKeysFile": str(path)}}) as s:
        client = await s.send(raw * 2)
        for _ in range(2):
            await client.reply()
        waiting = await s.send(raw)
        await waiting.reply()
        before = s.live.keys.read(now=s.proxy.clock())["me"]
        assert before.requests == 3
        gate = asyncio.Event()

        async def runs(talk: Talk) -> None:
            await gate.wait()
            await hello(talk)

        s.replica.behave = runs
        client.send(raw)
        await s.replica.heard(4)
        waiting.send(raw)
        await s.until_in_line(1)
        gate.set()
        for each in (client, waiting):
            await each.reply()

        assert ways.whole == 1
        use = s.live.keys.read(now=s.proxy.clock())["me"]
        again = s.live.keys.read(now=s.proxy.clock())["me"]
        assert use.requests == 5
        assert again.slot_seconds == use.slot_seconds > before.slot_seconds  # none is open


# --- it takes more


@pytest.mark.parametrize(
    "raw",
    [
        request(method="HEAD"),
        request(method="POST", headers={"Transfer-Encoding": "chunked"}) + b"2\r\nhi\r\n0\r\n\r\n",
        request(method="POST", body=b"x" * 100_000),
    ],
    ids=["HEAD", "chunked", "large"],
)
async def test_what_does_not_go_whole_goes_all_the_same(ways: Ways, raw: bytes) -> None:
    async with stage(concurrency=1) as s:
        async with behind(s, raw) as (client,):
            pass

        reply = await client.reply(method=raw.split(b" ", 1)[0])
        assert reply.status == 200
        assert ways.sent == 0


async def test_without_a_connection_one_is_opened(
    ways: Ways, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(concurrency=1) as s:
        async with behind(s, POST) as (client,):
            monkeypatch.setattr(Pool, "take", lambda *_, **__: None)

        assert (await client.reply()).status == 200
        assert ways.sent == 0
        assert s.replica.connections == 2


# --- something else comes back


@pytest.mark.parametrize("raw", [request(), POST], ids=["GET", "POST"])
@pytest.mark.parametrize(
    "behave",
    [
        pieces,
        chunks,
        until_close,
        hint,
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Never: before\r\n\r\nhello"),
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"),
    ],
    ids=["pieces", "chunks", "until close", "a hint", "a new head", "close"],
)
async def test_an_answer_in_whichever_form(ways: Ways, behave: Behaviour, raw: bytes) -> None:
    async with stage(behave, concurrency=1) as s:
        async with behind(s, raw) as (client,):
            pass

        reply = await client.reply()
        assert (reply.status, reply.body) == (200, b"hello")
        assert (ways.sent, ways.other) == (1, 1)
        assert count(s) == {(200, ""): 2}


# --- it goes wrong


async def resets(talk: Talk) -> None:
    await talk.body()
    talk.reset()


async def never(talk: Talk) -> None:
    await talk.gone()


async def breaks_off(talk: Talk) -> None:
    await talk.body()
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")
    await talk.drain()
    talk.reset()


async def test_what_a_model_may_have_worked_on_is_not_sent_again(ways: Ways) -> None:
    async with stage(resets, concurrency=1, replicas=1) as s:
        async with behind(s, POST) as (client,):
            pass

        reply = await client.reply()
        assert (reply.status, reply.why) == (502, "upstream_unreachable")
        assert (ways.sent, ways.other) == (1, 1)
        assert len(s.replica.requests) == 2


async def test_what_may_be_repeated_is_sent_to_another(ways: Ways) -> None:
    raw = request(method="PUT", body=b"x" * 5000)
    async with stage(concurrency=1, replicas=2) as s:
        gates = [asyncio.Event(), asyncio.Event()]

        def until(gate: asyncio.Event) -> Behaviour:
            async def runs(talk: Talk) -> None:
                await gate.wait()
                await hello(talk)

            return runs

        for replica, gate in zip(s.replicas, gates, strict=True):
            replica.behave = until(gate)
        running = [await s.send(request()) for _ in range(2)]
        for replica in s.replicas:
            await replica.heard()
        s.replicas[0].behave, s.replicas[1].behave = resets, hello
        client = await s.send(raw)
        await s.until_in_line(1)
        gates[0].set()
        await s.replicas[0].heard(2)
        await s.until_in_line(1)
        gates[1].set()

        assert (await client.reply()).status == 200
        assert (ways.sent, ways.other) == (1, 1)
        assert s.replicas[1].requests[1].body == b"x" * 5000
        for each in running:
            assert (await each.reply()).status == 200


async def test_an_answer_that_breaks_off_is_broken_off(ways: Ways) -> None:
    async with stage(breaks_off, concurrency=1) as s:
        async with behind(s, POST) as (client,):
            pass
        await client.head()

        assert await client.ended() == "reset"
        assert ways.other == 1
        assert count(s)[200, "broken_off"] == 1


@pytest.mark.parametrize("setting", ["firstByte", "total"])
async def test_its_clocks_run(ways: Ways, setting: str) -> None:
    async with stage(never, concurrency=1, timeouts={setting: "300ms"}) as s:
        async with behind(s, POST) as (client,):
            pass
        reply = await client.reply()

        assert reply.status == 504
        assert f"timeouts.{setting}" in reply.json()["detail"]
        assert (ways.sent, ways.other) == (1, 1)
        await eventually(lambda: s.replica.open == 0)


@pytest.mark.usefixtures("each_store")
@pytest.mark.parametrize("leave", ["fin", "rst"])
async def test_a_client_that_leaves_is_noticed(ways: Ways, leave: str) -> None:
    async with stage(never, concurrency=1) as s:
        async with behind(s, POST) as (client,):
            pass
        await s.replica.heard(2)
        assert ways.sent == 1
        (client.half_close if leave == "fin" else client.reset)()

        await eventually(lambda: s.replica.open == 0)
        await eventually(lambda: count(s).get((499, "client_left")) == 1)
        assert ways.other == 1


async def test_a_replica_that_is_stopped_takes_none_with_it(ways: Ways) -> None:
    async with stage(never, concurrency=1) as s:
        async with behind(s, POST) as (client,):
            pass
        await s.replica.heard(2)
        (live,) = s.live.replicas.values()
        live.pool.abort()

        assert (await client.reply()).status == 502
        assert ways.other == 1
