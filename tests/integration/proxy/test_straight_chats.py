"""A chat, whose model says where it belongs, goes straight as well: its body along with it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from activator.proxy.spool import IN_MEMORY
from tests.integration.proxy.ways import BEFORE, MODEL, USAGE, Ways, chat, completes, count
from tests.stage import stage
from tests.support import eventually

if TYPE_CHECKING:
    from tests.replica import Talk

pytestmark = pytest.mark.usefixtures("each_write")


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
