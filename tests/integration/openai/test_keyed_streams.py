"""Streams with an `Idempotency-Key` that wait: kept alive as others are, and recorded too."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.openai.support import CHAT, JSON, chat, client_of
from tests.integration.openai.test_sdk import MESSAGES, TEXTS, talks
from tests.replica import says
from tests.stage import request, stage
from tests.support import eventually

if TYPE_CHECKING:
    from tests.rawclient import RawClient
    from tests.replica import Talk
    from tests.stage import Stage

pytestmark = pytest.mark.usefixtures("each_store")

OPENAI: dict[str, Any] = {"dialect": "openai", "heartbeat": "50ms"}
KEY = {"Idempotency-Key": "k"}
EVENTS = b"Content-Type: text/event-stream\r\n"


async def send(s: Stage, **headers: str) -> RawClient:
    body = chat("m", stream=True)
    return await s.send(request(CHAT, method="POST", headers=JSON | KEY | headers, body=body))


async def after_comments(client: RawClient) -> bytes:
    while (chunk := await client.chunk()).startswith(b": "):
        pass
    return chunk


async def test_one_outlasts_a_timeout_and_is_the_same_for_who_asks_again() -> None:
    async with stage(talks, from_zero=True, **{**OPENAI, "heartbeat": "100ms"}) as s:
        assert s.driver is not None
        s.driver.start_delay = 1.5
        async with client_of(s, timeout=1.0, max_retries=0) as client:
            for _ in range(2):
                stream = await client.chat.completions.create(
                    model="m", messages=MESSAGES, stream=True, extra_headers=KEY
                )
                assert [part.choices[0].delta.content async for part in stream] == TEXTS
        assert len(s.replica.requests) == 1
        assert s.replica.requests[0].get_all("accept-encoding") == [b"identity"]


async def test_its_comments_tell_the_place_and_then_that_a_replica_has_it() -> None:
    hold = asyncio.Event()

    async def slow(talk: Talk) -> None:
        await talk.body()
        await hold.wait()
        talk.begin_chunks(fields=EVENTS)
        talk.chunk(b"data: 1\n\n")
        talk.chunk(b"")

    async with stage(slow, from_zero=True, **OPENAI) as s:
        assert s.driver is not None
        s.driver.start_delay = 0.3
        client = await send(s)
        head = await client.head()
        assert (head.status, head.get("x-accel-buffering")) == (200, b"no")
        assert (await client.chunk()).startswith(b": waiting for m, place 1 in line")
        async with asyncio.timeout(5):
            while await client.chunk() != b": a replica of m has it\n":
                pass
        hold.set()
        assert await after_comments(client) == b"data: 1\n\n"
        assert await client.chunk() == b""


async def test_what_goes_wrong_becomes_an_event() -> None:
    raw = b'{"error": {"message": "too long", "code": "context"}}'
    refuses = says(b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n%b" % (len(raw), raw))
    async with stage(refuses, from_zero=True, **OPENAI) as s:
        assert s.driver is not None
        s.driver.start_delay = 0.3
        client = await send(s)
        assert (await client.head()).status == 200
        event = json.loads((await after_comments(client)).removeprefix(b"data: "))
        assert event["error"]["code"] == "context"
        assert await client.chunk() == b""

    async with stage(ready=False, queue={"timeout": "200ms"}, **OPENAI) as s:
        client = await send(s, **{"Idempotency-Key": "another"})
        assert (await client.head()).status == 200
        event = json.loads((await after_comments(client)).removeprefix(b"data: "))
        assert event["error"]["code"] == "queue_timeout"
        assert await client.chunk() == b""


async def test_one_that_is_cut_between_two_events_ends_with_an_error() -> None:
    async def cuts(talk: Talk) -> None:
        await talk.body()
        talk.begin_chunks(fields=EVENTS)
        talk.chunk(b"data: 1\n\n")
        await talk.drain()
        await hold.wait()
        await talk.close()

    hold = asyncio.Event()
    async with stage(cuts, **OPENAI) as s:
        client = await send(s)
        await client.head()
        assert await after_comments(client) == b"data: 1\n\n"
        hold.set()
        assert b'"error"' in await client.chunk()
        assert await client.chunk() == b""


async def test_who_may_still_take_a_202_hears_nothing_before() -> None:
    async with stage(talks, ready=False, **OPENAI) as s:
        client = await send(s, Prefer="wait=1")
        assert (await client.reply()).status == 202
        await s.replica.start()


async def test_a_client_that_leaves_while_it_hears_signs_of_life_leaves_nothing_behind() -> None:
    async with stage(talks, ready=False, **OPENAI) as s:
        client = await send(s)
        await client.head()
        assert (await client.chunk()).startswith(b": waiting")
        await client.close()
        await eventually(lambda: not s.proxy.connections)
        await s.replica.start()  # its job goes on for a while without it
        await s.replica.heard()
