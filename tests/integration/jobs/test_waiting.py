"""`Prefer: wait=N` and `Idempotency-Key`: clients that wait for a job."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from activator.proxy import talk as talks
from activator.wire import accepted
from tests.rawclient import Cut
from tests.stage import request, stage
from tests.support import eventually

if TYPE_CHECKING:
    from tests.rawclient import Reply
    from tests.replica import Talk

pytestmark = pytest.mark.usefixtures("each_store")

LARGE = 24 << 20
"""Bytes: more than the buffers on the way take."""
KEY = {"Idempotency-Key": "k-1"}


async def echo(talk: Talk) -> None:
    await talk.answer(200, b"out:" + await talk.body())


class Gated:
    """Answers when the test lets it."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.left = 0

    async def __call__(self, talk: Talk) -> None:
        body = await talk.body()
        while not self.open.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.01):
                    if not await talk.reader.read(1):
                        self.left += 1
                        return
        await talk.answer(200, b"out:" + body)


def keyed(body: bytes = b"in", key: str = "k-1", **more: str) -> bytes:
    return request("/v1", method="POST", headers={"Idempotency-Key": key, **more}, body=body)


async def test_who_prefers_to_wait_gets_the_answer_if_it_comes_in_time() -> None:
    async with stage(echo) as s:
        reply = await s.post(b"in", headers={"Prefer": "wait=5"})
        assert (reply.status, reply.body) == (200, b"out:in")
        assert len(s.replica.requests) == 1


async def large(talk: Talk) -> None:
    await talk.answer(200, b"x" * LARGE)


async def test_who_takes_nothing_of_the_answer_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(talks, "STUCK", 0.05)
    async with stage(large) as s:
        client = await s.send(keyed())
        assert (await client.head()).status == 200
        await eventually(lambda: not s.proxy.connections)
        assert s.live.metrics.requests == {(499, "client_left"): 1}


async def test_who_takes_the_answer_slowly_gets_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []

    def more(_: object) -> int:
        looks.append(len(looks))
        return looks[-1]

    monkeypatch.setattr(talks, "STUCK", 0.001)
    monkeypatch.setattr(accepted, "taken_by", more)
    async with stage(large) as s:
        client = await s.send(keyed())
        assert (await client.head()).status == 200
        await eventually(lambda: len(looks) > 5)
        assert len(await client.exactly(LARGE)) == LARGE


async def test_who_has_waited_long_enough_gets_the_address_of_the_same_job() -> None:
    gate = Gated()
    async with stage(gate) as s:
        reply = await s.post(b"in", headers={"Prefer": "respond-async, wait=1"})
        assert (reply.status, reply.get("preference-applied")) == (202, b"wait=1")
        gate.open.set()
        job = reply.json()
        async with asyncio.timeout(5):
            while (answer := await s.get(job["links"]["result"])).status == 409:
                await asyncio.sleep(0.01)
        assert answer.body == b"out:in"
        assert len(s.replica.requests) == 1


async def test_a_client_that_waits_without_a_key_and_leaves_is_out_within_a_second() -> None:
    gate = Gated()
    async with stage(gate) as s:
        client = await s.send(
            request("/", method="POST", headers={"Prefer": "wait=60"}, body=b"in")
        )
        await s.replica.heard(1)
        await client.close()
        await eventually(lambda: gate.left == 1, within=1.0)


async def test_the_same_key_joins_the_job_that_runs_and_later_its_answer() -> None:
    gate = Gated()
    async with stage(gate) as s:
        first, second = await s.send(keyed()), await s.send(keyed())
        await s.replica.heard(1)
        gate.open.set()
        replies = [await client.reply() for client in (first, second)]
        replies.append(await s.ask(keyed()))
        assert [reply.body for reply in replies] == [b"out:in"] * 3
        assert len(s.replica.requests) == 1


async def test_another_body_under_the_same_key_is_refused() -> None:
    async with stage(echo) as s:
        assert (await s.ask(keyed())).status == 200
        other = await s.ask(keyed(b"other"))
        assert (other.status, other.why) == (422, "key_reuse")


async def test_a_key_covers_one_caller_one_method_and_one_target() -> None:
    async with stage(echo) as s:
        for raw in (
            keyed(),
            keyed(Authorization="Bearer a"),
            keyed(Authorization="Bearer b"),
            request("/v2", method="POST", headers=KEY, body=b"in"),
            request("/v1", method="PUT", headers=KEY, body=b"in"),
            keyed(key="k-2"),
        ):
            assert (await s.ask(raw)).status == 200
        assert len(s.replica.requests) == 6


async def test_a_stream_is_joined_from_its_beginning_while_it_runs() -> None:
    on = asyncio.Event()

    async def stream(talk: Talk) -> None:
        await talk.body()
        talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        await on.wait()
        talk.send(b"3\r\ntwo\r\n0\r\n\r\n")

    async with stage(stream) as s:
        first = await s.send(keyed())
        await first.head()
        assert await first.chunk() == b"one"
        second = await s.send(keyed())
        await second.head()
        assert await second.chunk() == b"one"
        on.set()
        for client in (first, second):
            assert await client.chunk() == b"two"
            assert await client.chunk() == b""
        assert len(s.replica.requests) == 1


async def test_a_keyed_job_without_readers_runs_on_for_the_grace_and_can_be_joined() -> None:
    gate = Gated()
    async with stage(gate) as s:
        client = await s.send(keyed())
        await s.replica.heard(1)
        await client.close()
        await eventually(lambda: s.proxy.connections == 0)
        again = await s.send(keyed())
        gate.open.set()
        assert (await again.reply()).body == b"out:in"
        assert (gate.left, len(s.replica.requests)) == (0, 1)


async def test_a_keyed_job_that_nobody_reads_is_cancelled_after_the_grace() -> None:
    gate = Gated()
    async with stage(gate, config={"jobs": {"joinGrace": "200ms"}}) as s:
        client = await s.send(keyed())
        await s.replica.heard(1)
        await client.close()
        await eventually(lambda: gate.left == 1, within=4.0)


async def test_a_cut_answer_frees_the_key() -> None:
    seen = asyncio.Event()

    async def cut_once(talk: Talk) -> None:
        body = await talk.body()
        if len(talk.replica.requests) > 1:
            await talk.answer(200, b"out:" + body)
            return
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour")
        await talk.drain()
        await seen.wait()
        talk.writer.close()

    async with stage(cut_once) as s:
        client = await s.send(keyed())
        await client.head()
        seen.set()
        with pytest.raises(Cut):
            await client.exactly(9)
        assert (await s.ask(keyed())).body == b"out:in"


async def test_an_error_of_the_models_is_an_answer_and_keeps_the_key() -> None:
    async def fail(talk: Talk) -> None:
        await talk.body()
        await talk.answer(500, b"no")

    async with stage(fail) as s:
        assert [(await s.ask(keyed())).status for _ in range(2)] == [500, 500]
        assert len(s.replica.requests) == 1


async def test_a_keyed_request_that_waited_too_long_is_told_so() -> None:
    grace = {"jobs": {"joinGrace": "100ms"}}
    async with stage(echo, ready=False, queue={"timeout": "300ms"}, config=grace) as s:
        reply = await s.ask(keyed())
        assert (reply.status, reply.why) == (504, "queue_timeout")


async def test_a_key_that_is_none_is_refused() -> None:
    async with stage(echo) as s:
        assert (await s.ask(keyed(key="x" * 300))).status == 400


async def test_who_is_told_that_it_waited_too_long_has_given_its_place_up() -> None:
    gate = Gated()
    async with stage(gate, concurrency=1, queue={"timeout": "150ms"}) as s:
        busy = await s.send(keyed(key="other"))
        await s.replica.heard(1)
        late = await s.ask(keyed())
        assert (late.status, late.why) == (504, "queue_timeout")
        await eventually(lambda: s.live.gate.held == 0)
        gate.open.set()
        await busy.reply()
        again = await s.ask(keyed(b"another body"))
        assert (again.status, again.body) == (200, b"out:another body")
        assert len(s.replica.requests) == 2


async def test_who_joined_later_waits_on_when_the_first_has_waited_too_long() -> None:
    gate = Gated()
    async with stage(gate, concurrency=1, queue={"timeout": "500ms"}) as s:
        await s.send(keyed(key="other"))
        await s.replica.heard(1)
        first = await s.send(keyed())
        await s.until_in_line(1)
        second = await s.send(keyed(Prefer="wait=5"))
        assert (await first.reply()).why == "queue_timeout"
        gate.open.set()
        assert (await second.reply()).body == b"out:in"
        assert len(s.replica.requests) == 2


async def test_detached_jobs_take_no_place_that_a_client_could_wait_in() -> None:
    gate = Gated()
    async with stage(gate, concurrency=1, queue={"maxRequests": 2}) as s:
        await s.send(request("/first"))
        await s.replica.heard(1)
        for _ in range(2):
            assert (await s.post(b"job", headers={"Prefer": "respond-async"})).status == 202
        full = await s.post(b"job", headers={"Prefer": "respond-async"})
        assert (full.status, full.why) == (503, "queue_full")
        assert s.live.gate.held == 0
        waiting = [await s.send(request("/live")), await s.send(keyed())]
        await s.until_held(2)
        for raw in (request("/live"), keyed(key="k-2")):
            refused = await s.ask(raw)
            assert (refused.status, refused.why) == (503, "queue_full")
        gate.open.set()
        for client in waiting:
            assert (await client.reply()).status == 200
        await s.replica.heard(5)


async def test_what_a_recorded_request_waited_for_is_told_and_counted() -> None:
    async def slow(talk: Talk) -> None:
        await asyncio.sleep(0.1)
        await echo(talk)

    async with stage(slow, from_zero=True) as s:
        assert s.driver is not None
        s.driver.start_delay = 0.3
        reply = await s.ask(keyed())
        told = timing(reply)
        assert 250 <= told["activate"] <= 5000
        assert told["queue"] >= 0
        assert told["upstream"] >= 50
        joined = timing(await s.ask(keyed()))
        assert (joined["activate"], joined["queue"]) == (0, 0)
        assert s.live.metrics.overheads.total > 0


def timing(reply: Reply) -> dict[str, float]:
    """Milliseconds."""
    given = (reply.get("server-timing") or b"").decode()
    said = (part.partition(";dur=") for part in given.split(", "))
    return {name: float(value) for name, _, value in said}
