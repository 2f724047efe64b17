"""`Idempotency-Key` over two activators that share a store: either may be asked."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from tests import stage as stages
from tests.integration.jobs.test_waiting import keyed
from tests.redis_server import fresh_prefix, shared_server
from tests.stage import Stage, stage
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.replica import Behaviour, Talk


@contextlib.asynccontextmanager
async def two(behave: Behaviour) -> AsyncIterator[tuple[Stage, Stage]]:
    """Two activators in front of one replica, which is the first one's."""
    shared = {"url": shared_server().url, "prefix": fresh_prefix(), "timeout": "2s"}
    before = stages.store.set(shared)
    try:
        async with stage(behave) as one:
            endpoints = one.config["endpoints"]
            config = {"store": shared, "endpoints": endpoints}
            async with stage(ready=False, config=config, checked=False) as other:
                await other.until_warm()
                yield one, other
                await other.at_rest()
    finally:
        stages.store.reset(before)


async def test_a_stream_is_joined_from_either_while_it_runs_and_afterwards() -> None:
    on = asyncio.Event()

    async def stream(talk: Talk) -> None:
        await talk.body()
        talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        await on.wait()
        talk.send(b"3\r\ntwo\r\n0\r\n\r\n")

    async with two(stream) as (one, other):
        clients = [await each.send(keyed()) for each in (one, other)]
        for client in clients:
            assert (await client.head()).status == 200
            assert await client.chunk() == b"one"
        on.set()
        for client in clients:
            assert [await client.chunk(), await client.chunk()] == [b"two", b""]
        for each in (other, one):
            assert (await each.ask(keyed())).body == b"onetwo"
            conflict = await each.ask(keyed(b"another"))
            assert (conflict.status, conflict.why) == (422, "key_reuse")
        assert len(one.replica.requests) == 1


async def test_who_joins_elsewhere_keeps_the_job_when_the_first_client_leaves() -> None:
    on = asyncio.Event()

    async def waits(talk: Talk) -> None:
        body = await talk.body()
        await on.wait()
        await talk.answer(200, b"out:" + body)

    async with two(waits) as (one, other):
        first = await one.send(keyed())
        await one.replica.heard(1)
        second = await other.send(keyed())
        await eventually(lambda: other.proxy.waiting)
        await first.close()
        await eventually(lambda: not one.proxy.waiting)
        on.set()
        assert (await second.reply()).body == b"out:in"
        assert len(one.replica.requests) == 1
