"""Replicas that break, dawdle or talk nonsense: what the client is told of it."""

from __future__ import annotations

import asyncio

import pytest

from tests.rawclient import Cut
from tests.replica import Talk, hello, says, says_and_closes
from tests.stage import request, stage
from tests.support import eventually

UNREACHABLE = (502, "upstream_unreachable")
TIMEOUT = (504, "upstream_timeout")
PROBE = {"path": "/ready", "interval": "10ms", "readyInterval": "20ms"}


# --- midway: the client can tell


@pytest.mark.parametrize("ending", ["close", "reset"])
@pytest.mark.parametrize(
    "began",
    [b"Content-Length: 100\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"],
    ids=["length", "chunked"],
)
async def test_an_answer_cut_midway_never_looks_complete(began: bytes, ending: str) -> None:
    async def behave(talk: Talk) -> None:
        talk.send(b"HTTP/1.1 200 OK\r\n" + began)
        await talk.drain()
        await seen.wait()
        if ending == "reset":
            talk.reset()
        else:
            await talk.close()

    seen = asyncio.Event()
    async with stage(behave) as s:
        client = await s.send(request())
        head = await client.head()
        chunked = head.get("transfer-encoding") is not None
        assert (await client.chunk() if chunked else await client.exactly(4)) == b"half"
        seen.set()

        with pytest.raises(Cut) as cut:
            await client.rest()

        assert cut.value.how == "reset"


async def test_a_close_delimited_answer_that_is_reset_is_reset() -> None:
    async def behave(talk: Talk) -> None:
        talk.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await talk.drain()
        await seen.wait()
        talk.reset()

    seen = asyncio.Event()
    async with stage(behave) as s:
        client = await s.send(request())
        await client.head()
        assert await client.exactly(4) == b"half"
        seen.set()

        with pytest.raises(Cut) as cut:
            await client.rest()

        assert cut.value.how == "reset"


async def test_nonsense_in_the_middle_of_a_body_cuts_the_answer() -> None:
    async def behave(talk: Talk) -> None:
        talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        await talk.drain()
        await seen.wait()
        talk.send(b"nonsense\r\n")

    seen = asyncio.Event()
    async with stage(behave) as s:
        client = await s.send(request())
        await client.head()
        assert await client.chunk() == b"half"
        seen.set()

        with pytest.raises(Cut):
            await client.rest()


async def test_nonsense_that_comes_with_the_head_is_no_answer_at_all() -> None:
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nnonsense\r\n"
    async with stage(says(raw)) as s:
        reply = await s.ask(request())

        assert (reply.status, reply.why) == UNREACHABLE


async def test_what_comes_behind_an_answer_is_not_taken_for_the_next_one() -> None:
    surplus = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + surplus

    async def behave(talk: Talk) -> None:
        await (says(raw) if talk.heard.target == b"/first" else hello)(talk)

    async with stage(behave) as s:
        client = await s.send(request("/first") + request("/second"))

        assert (await client.reply()).body == b"ok"
        assert (await client.reply()).body == b"hello"
        assert s.replica.connections == 2


# --- no answer at all


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nBad Name: x\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 99 Low\r\nContent-Length: 0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_answer_that_is_not_valid_http_is_a_502(raw: bytes, method: str) -> None:
    async with stage(says_and_closes(raw)) as s:
        reply = await s.get(method=method)

        assert (reply.status, reply.why) == UNREACHABLE
        assert len(s.replica.requests) == 1


# --- the clocks


async def test_a_replica_that_sends_no_first_byte_in_time_is_a_504() -> None:
    async def behave(talk: Talk) -> None:
        await talk.gone()

    async with stage(behave, timeouts={"firstByte": "150ms"}) as s:
        reply = await s.get()

        assert (reply.status, reply.why) == TIMEOUT
        assert "firstByte" in reply.json()["detail"]
        await eventually(lambda: s.replica.open == 0)


async def test_interim_answers_are_no_first_byte() -> None:
    async def behave(talk: Talk) -> None:
        for _ in range(20):
            talk.send(b"HTTP/1.1 102 Processing\r\n\r\n")
            await asyncio.sleep(0.02)
        await talk.gone()

    async with stage(behave, timeouts={"firstByte": "150ms"}) as s:
        reply = await s.get()

        assert (reply.status, reply.why) == TIMEOUT
        assert reply.interim[0].status == 102


async def test_an_answer_that_falls_silent_is_cut() -> None:
    async def behave(talk: Talk) -> None:
        talk.begin_chunks()
        for _ in range(4):  # each within the limit, together beyond it
            talk.chunk(b"x")
            await asyncio.sleep(0.1)
        await talk.gone()

    async with stage(behave, timeouts={"idle": "200ms"}) as s:
        client = await s.send(request())
        await client.head()
        for _ in range(4):
            assert await client.chunk() == b"x"

        with pytest.raises(Cut):
            await client.chunk()
        await eventually(lambda: s.replica.open == 0)


async def test_a_client_that_reads_slowly_is_not_the_replicas_silence() -> None:
    size = 30_000_000

    async def behave(talk: Talk) -> None:
        await talk.answer(200, b"x" * size)

    async with stage(behave, timeouts={"idle": "150ms"}, stall="150ms", probe=PROBE) as s:
        client = await s.send(request())
        await client.head()
        await asyncio.sleep(0.5)  # nothing is read

        assert s.live.replicas
        assert len(await client.exactly(size)) == size


async def test_a_replica_without_a_byte_for_too_long_is_taken_out_of_rotation() -> None:
    async def behave(talk: Talk) -> None:
        await talk.gone()

    async with stage(behave, stall="150ms", probe=PROBE) as s:
        client = await s.send(request())
        await s.until_cold()

        await client.close()
        await s.until_warm()


@pytest.mark.parametrize("begun", [False, True])
async def test_total_bounds_the_whole_run(begun: bool) -> None:
    async def behave(talk: Talk) -> None:
        if not begun:
            await talk.gone()
            return
        talk.begin_chunks()
        while True:
            talk.chunk(b"x")
            await asyncio.sleep(0.02)

    async with stage(behave, timeouts={"total": "200ms"}) as s:
        client = await s.send(request())
        if begun:
            with pytest.raises(Cut):
                await client.reply()
        else:
            reply = await client.reply()
            assert (reply.status, reply.why) == TIMEOUT
            assert "total" in reply.json()["detail"]
        await eventually(lambda: s.replica.open == 0)


async def test_waiting_does_not_eat_the_runs_time() -> None:
    async def behave(talk: Talk) -> None:
        await asyncio.sleep(0.2)
        await hello(talk)

    clocks = {"total": "300ms", "firstByte": "300ms"}
    async with stage(behave, ready=False, timeouts=clocks) as s:
        client = await s.send(request())
        await s.until_in_line(1)
        await asyncio.sleep(0.3)
        await s.replica.start()

        assert (await client.reply()).body == b"hello"


async def test_waiting_is_bounded_by_the_queues_timeout() -> None:
    async with stage(ready=False, queue={"timeout": "200ms"}) as s:
        reply = await s.get()

        assert (reply.status, reply.why) == (504, "queue_timeout")
        assert 1 <= int(reply.get("retry-after") or 0) <= 60
        assert "no replica is ready" in reply.json()["detail"]


async def test_waiting_for_a_slot_is_bounded_by_the_queues_timeout_too() -> None:
    async def behave(talk: Talk) -> None:
        await asyncio.sleep(0.4)
        await hello(talk)

    async with stage(behave, concurrency=1, queue={"timeout": "200ms"}) as s:
        first = await s.send(request())
        await s.replica.heard()
        reply = await s.get()

        assert (reply.status, reply.why) == (504, "queue_timeout")
        assert "every slot is taken" in reply.json()["detail"]
        assert (await first.reply()).body == b"hello"
