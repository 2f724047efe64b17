"""Upgrades: a WebSocket becomes a tunnel after the replica's 101, everything else stays HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from activator.proxy.handler import Exchange
from activator.wire.client import ClientConnection
from activator.wire.tunnel import Tunnel
from activator.wire.upgraded import Upgraded
from tests.leftovers import collected
from tests.rawclient import Cut
from tests.stage import Stage, request, stage
from tests.support import eventually

if TYPE_CHECKING:
    from tests.rawclient import RawClient
    from tests.replica import Talk

pytestmark = pytest.mark.usefixtures("each_write")

HANDSHAKE = request(
    "/ws",
    headers={"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "k"},
)
ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: a\r\n\r\n"
)


async def echo(talk: Talk) -> None:
    """Accepts and sends everything back, until it is closed."""
    talk.send(ACCEPTED)
    with contextlib.suppress(ConnectionError):
        while data := await talk.reader.read(1 << 16):
            talk.send(data)
            await talk.drain()
    await talk.close()


async def opened(s: Stage) -> RawClient:
    client = await s.send(HANDSHAKE)
    assert (await client.head()).status == 101
    return client


async def test_bytes_pass_untouched_both_ways() -> None:
    async with stage(echo) as s:
        client = await s.send(HANDSHAKE)
        switched = await client.head()
        sent = bytes(range(256)) * 1000
        client.send(sent)

        assert await client.exactly(len(sent)) == sent
        assert switched.get("upgrade") == b"websocket"
        assert switched.get("connection") == b"Upgrade"
        assert switched.get("sec-websocket-accept") == b"a"
        heard = s.replica.requests[0]
        assert (heard.get("upgrade"), heard.get("sec-websocket-key")) == (b"websocket", b"k")


async def test_bytes_right_behind_the_handshake_belong_to_the_tunnel() -> None:
    async def behave(talk: Talk) -> None:
        talk.send(ACCEPTED + b"first words")
        assert await talk.reader.readexactly(9) == b"\r\n\r\nearly"
        await talk.close()

    async with stage(behave) as s:
        client = await s.send(HANDSHAKE + b"\r\n\r\nearly")
        await client.head()

        assert await client.rest() == b"first words"


@pytest.mark.parametrize("from_zero", [False, True])
async def test_a_tunnel_is_in_flight_until_it_is_closed(from_zero: bool) -> None:
    async with stage(echo, from_zero=from_zero, concurrency=1) as s:
        client = await opened(s)
        assert s.live.gate.in_flight == 1

        waiting = await s.send(request())
        await s.until_held(1)
        s.replica.behave = answer
        await client.close()

        assert (await waiting.reply()).status == 200
        await eventually(lambda: s.live.gate.in_flight == 0)


async def answer(talk: Talk) -> None:
    await talk.answer()


async def test_a_client_that_leaves_takes_the_replicas_end_with_it() -> None:
    async with stage(echo) as s:
        client = await opened(s)
        client.send(b"bye")
        await client.exactly(3)

        client.reset()

        await eventually(lambda: s.replica.open == 0, within=1.0)


async def test_a_replica_that_closes_ends_it_after_its_last_word() -> None:
    async def behave(talk: Talk) -> None:
        talk.send(ACCEPTED)
        talk.send(b"last word" * 50_000)
        await talk.drain()
        await talk.close()

    async with stage(behave) as s:
        client = await opened(s)

        assert await client.rest() == b"last word" * 50_000


async def test_a_replica_that_dies_ends_it() -> None:
    async with stage(echo) as s:
        client = await opened(s)

        s.replica.drop_connections()

        with contextlib.suppress(Cut):
            assert await client.rest(within=1.0) == b""


async def test_a_slow_reader_slows_the_other_end_down() -> None:
    sent = 0

    async def behave(talk: Talk) -> None:
        nonlocal sent
        talk.send(ACCEPTED)
        for _ in range(400):
            talk.send(b"x" * 100_000)
            await talk.drain()
            sent += 100_000
        await talk.close()

    async with stage(behave) as s:
        client = await opened(s)
        await asyncio.sleep(0.3)  # nothing to wait for: it must not go on
        stuck_at = sent

        assert stuck_at < 30_000_000
        assert len(await client.rest()) == 40_000_000


async def test_no_clock_of_an_answer_runs_while_a_tunnel_is_silent() -> None:
    clocks = {"firstByte": "150ms", "idle": "150ms", "total": "150ms"}
    async with stage(echo, timeouts=clocks) as s:
        client = await opened(s)
        await asyncio.sleep(0.4)

        client.send(b"still here")
        assert await client.exactly(10) == b"still here"


async def test_a_silent_tunnel_is_no_stall() -> None:
    async def behave(talk: Talk) -> None:
        await (echo if talk.heard.target == b"/ws" else answer)(talk)

    probe = {"path": "/ready", "interval": "10ms", "readyInterval": "50ms"}
    async with stage(behave, stall="150ms", probe=probe) as s:
        client = await opened(s)
        await asyncio.sleep(0.5)

        assert s.live.replicas
        assert (await s.get()).get("x-activator-cold-start") == b"false"
        await client.close()


@pytest.mark.parametrize(
    "fields",
    [
        {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAM"},
        {"Connection": "Upgrade", "Upgrade": "TLS/1.0"},
        {"Upgrade": "websocket"},
    ],
)
async def test_other_upgrades_are_ignored_and_removed(fields: dict[str, str]) -> None:
    async with stage() as s:
        reply = await s.post(b"body", headers=fields)

        heard = s.replica.requests[0]
        assert reply.body == b"hello"
        assert bytes(heard.body) == b"body"
        for name in ("upgrade", "connection", "http2-settings"):
            assert heard.get(name) is None


async def test_a_replica_that_refuses_an_upgrade_is_just_answering() -> None:
    async with stage() as s:
        client = await s.send(HANDSHAKE + request())

        assert (await client.reply()).body == b"hello"
        assert (await client.reply()).body == b"hello"


async def test_switching_protocols_unasked_is_no_answer() -> None:
    async def behave(talk: Talk) -> None:
        talk.send(ACCEPTED)
        await talk.gone()

    async with stage(behave) as s:
        reply = await s.get()

        assert (reply.status, reply.why) == (502, "upstream_unreachable")


@pytest.mark.parametrize("who", ["client", "replica", "we", "a stop"])
async def test_nothing_of_it_is_left_to_be_collected(who: str) -> None:
    async with stage(echo) as s:
        with collected(Exchange, ClientConnection, Upgraded, Tunnel) as left:
            client = await opened(s)
            client.send(b"words")
            assert await client.exactly(5) == b"words"
            if who == "client":
                client.reset()
            elif who == "replica":
                s.replica.drop_connections()
            elif who == "a stop":
                next(iter(s.live.replicas.values())).pool.abort()
            else:
                s.live.gate.close_tunnels()
            await eventually(lambda: not s.live.gate.demand and not s.proxy.connections)
        assert not left
