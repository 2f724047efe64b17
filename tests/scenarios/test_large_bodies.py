"""Large bodies come through unchanged, whoever is slow; a request's from where it was read."""

from __future__ import annotations

import asyncio
import random
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from activator.wire.pouring import JUG, LARGE
from tests.replica import deaf
from tests.stage import request, stage
from tests.support import eventually

if TYPE_CHECKING:
    from tests.rawclient import RawClient
    from tests.replica import Talk
    from tests.stage import Stage

BODY = random.Random(11).randbytes(LARGE + (12 << 20) + 17)
DIGEST = sha256(BODY).digest()
POST = b"POST / HTTP/1.1\r\nHost: m\r\nContent-Length: %d\r\n\r\n" % len(BODY)
PIECE = 1 << 20
PAUSE = 0.01
"""Seconds a slow reader takes for each MiB: what it has not taken lies in the proxy meanwhile."""


def jug(s: Stage) -> int:
    """Bytes of what is read into."""
    proxy: Any = s.proxy
    return len(proxy._kit.jug.content)


def nothing_stands_in(s: Stage) -> bool:
    """Every connection is told by its transport itself, as before a large body."""
    proxy: Any = s.proxy
    pools: list[Any] = [each.pool for each in s.live.replicas.values()]
    connections = [*proxy._connections, *(one for pool in pools for one in pool._open)]
    return all(one._transport.get_protocol() is one for one in connections)


async def send(client: RawClient, data: bytes) -> None:
    for at in range(0, len(data), PIECE):
        client.send(data[at : at + PIECE])
        await client.drain()


def digest_of_requests(*, pause: float) -> Any:
    async def behave(talk: Talk) -> None:
        seen, left = sha256(), int(talk.heard.get("content-length") or 0)
        while left:
            data = await talk.reader.read(min(left, PIECE))
            seen.update(data)
            left -= len(data)
            if pause:
                await asyncio.sleep(pause * len(data) / PIECE)
        talk.heard.whole = True
        await talk.answer(200, seen.digest())

    return behave


@pytest.mark.parametrize("pause", [0.0, PAUSE], ids=["fast", "slow"])
async def test_a_request_reaches_its_replica_unchanged(pause: float) -> None:
    async with stage(digest_of_requests(pause=pause)) as s:
        client = await s.connect()

        for _ in range(2):
            await send(client, POST + BODY)
            assert (await client.reply()).body == DIGEST

        await send(client, POST + BODY + request("/next"))
        assert (await client.reply()).body == DIGEST
        assert (await client.reply()).body == sha256().digest()
        assert jug(s) == JUG
        assert nothing_stands_in(s)


@pytest.mark.parametrize("pause", [0.0, PAUSE], ids=["fast", "slow"])
async def test_an_answer_reaches_its_client_unchanged(pause: float) -> None:
    async def behave(talk: Talk) -> None:
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY))
        for at in range(0, len(BODY), PIECE):
            talk.send(BODY[at : at + PIECE])
            await talk.drain()

    async with stage(behave) as s:
        client = await s.connect()
        for _ in range(2):
            client.send(request())
            await client.head()
            seen, left = sha256(), len(BODY)
            while left:
                data = await client.reader.read(min(left, PIECE))
                assert data
                seen.update(data)
                left -= len(data)
                if pause:
                    await asyncio.sleep(pause * len(data) / PIECE)
            assert seen.digest() == DIGEST
        assert jug(s) == 0
        assert nothing_stands_in(s)
        assert {heard.connection for heard in s.replica.requests} == {0}


async def test_two_at_once_do_not_get_each_others_bytes() -> None:
    other = random.Random(13).randbytes(len(BODY))

    async def one(s: Stage, body: bytes) -> None:
        client = await s.connect()
        await send(client, POST + body)
        assert (await client.reply(within=10.0)).body == sha256(body).digest()

    async with stage(digest_of_requests(pause=PAUSE)) as s:
        await asyncio.gather(one(s, BODY), one(s, other), one(s, BODY), one(s, other))
        assert jug(s) == JUG


async def test_what_comes_while_another_attempt_is_waited_for_is_not_lent() -> None:
    """It is kept: a piece must not take all that it might have been."""
    other_is_there = asyncio.Event()

    async def behave(talk: Talk) -> None:
        await other_is_there.wait()
        talk.reset()

    async with stage(behave) as s:
        client = await s.send(POST)
        await eventually(lambda: s.replica.requests)
        assert not nothing_stands_in(s)
        with deaf() as address:
            working = next(iter(s.live.replicas.values())).replica
            s.live.offer([(working, False), (address, False)])
            other_is_there.set()

            await s.until_held(1)

            assert nothing_stands_in(s)
            client.reset()
            await s.until_held(0)


async def test_ordinary_bodies_need_no_jug() -> None:
    body = BODY[: LARGE - 1]

    async def behave(talk: Talk) -> None:
        await talk.answer(200, await talk.body())

    async with stage(behave) as s:
        client = await s.connect()
        head = b"POST / HTTP/1.1\r\nHost: m\r\nContent-Length: %d\r\n\r\n" % len(body)
        await send(client, head + body)
        assert (await client.reply()).body == body
        assert jug(s) == 0
