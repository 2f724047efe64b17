"""Everything at once, by chance: nothing is left behind, and nobody is stuck."""

from __future__ import annotations

import asyncio
import contextlib
from random import Random
from typing import TYPE_CHECKING

import pytest

from activator.aiokit.tasks import Tasks
from tests.rawclient import Cut
from tests.stage import Stage, request, stage

if TYPE_CHECKING:
    from tests.rawclient import Reply
    from tests.replica import Behaviour, Talk

pytestmark = pytest.mark.usefixtures("each_write")

KNOWN = {200, 502, 503, 504}
CLIENTS = 60
WEBSOCKET = {"Connection": "Upgrade", "Upgrade": "websocket"}
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


def moody(dice: Random) -> Behaviour:
    """A replica that mostly answers, and otherwise does anything at all."""

    async def behave(talk: Talk) -> None:
        mood = dice.random()
        await asyncio.sleep(dice.random() * 0.02)
        if mood < 0.08:
            talk.reset()
        elif mood < 0.12:
            await talk.close()
        elif mood < 0.16:
            await talk.body()
            talk.reset()
        elif mood < 0.20:
            talk.send(b"what?\r\n\r\n")
        elif mood < 0.26:
            talk.begin_chunks()
            talk.chunk(b"half")
            await talk.drain()
            talk.reset()
        elif mood < 0.32:
            talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly")
        elif mood < 0.38:
            talk.send(b"HTTP/1.1 200 OK\r\n\r\n" + await talk.body())
            await talk.close()
        elif talk.heard.get("upgrade"):
            talk.send(SWITCH)
            with contextlib.suppress(ConnectionError):
                while data := await talk.reader.read(1000):
                    talk.send(data)
        else:
            talk.begin_chunks()
            while piece := await talk.piece():
                talk.chunk(piece)
                await asyncio.sleep(dice.random() * 0.005)
            talk.chunk(b"")

    return behave


async def wander(s: Stage, dice: Random, got: list[Reply]) -> None:
    """One client: some requests on one connection, in pieces, until it loses patience."""
    client = await s.connect()
    patience = dice.choice([0.01, 0.1, 5.0, 5.0])
    with contextlib.suppress(Cut, ConnectionError, TimeoutError):
        async with asyncio.timeout(patience):
            for _ in range(dice.randint(1, 3)):
                raw = any_request(dice)
                while raw:
                    size = dice.choice([1, 100, 1 << 20])
                    client.send(raw[:size])
                    raw = raw[size:]
                    await asyncio.sleep(dice.random() * 0.003 if dice.random() < 0.2 else 0)
                reply = await client.head()
                if reply.status == 101:
                    client.send(b"hello")
                    await client.exactly(5)
                    break
                await client._read_body(reply, b"GET", 5.0)
                got.append(reply)
    match dice.randint(0, 2):
        case 0:
            client.reset()
        case 1:
            client.half_close()
    await client.close()


def any_request(dice: Random) -> bytes:
    size = dice.choice([0, 10, 3000, 200_000])
    match dice.randint(0, 3):
        case 0:
            return request("/get")
        case 1:
            return request("/post", method="POST", body=b"x" * size)
        case 2:
            head = b"PUT /put HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n"
            return head + (b"%x\r\n%b\r\n" % (size, b"x" * size) if size else b"") + b"0\r\n\r\n"
        case _:
            return request("/ws", headers=WEBSOCKET)


async def come_and_go(s: Stage, dice: Random) -> None:
    """Replicas leave and return; an operator pauses and resumes."""
    while True:
        replica = dice.choice(s.replicas)
        await asyncio.sleep(dice.random() * 0.05)
        match dice.randint(0, 3):
            case 0:
                await replica.refuse()
                await asyncio.sleep(dice.random() * 0.05)
                await replica.start()
            case 1:
                replica.drop_connections()
            case 2:
                s.live.gate.pause()
                await asyncio.sleep(dice.random() * 0.02)
                s.live.gate.resume()
            case _:
                replica.ready = not replica.ready


@pytest.mark.parametrize("seed", range(3))
async def test_nothing_is_left_behind_or_stuck(seed: int) -> None:
    dice = Random(seed)
    got: list[Reply] = []
    probe = {"path": "/ready", "interval": "10ms", "readyInterval": "30ms"}
    async with stage(
        moody(dice),
        replicas=3,
        concurrency=2,
        probe=probe,
        queue={"bufferBytes": "64KiB", "timeout": "2s"},
        timeouts={"firstByte": "1s", "idle": "1s"},
    ) as s:
        weather = Tasks("weather").spawn(come_and_go(s, dice), name="weather")
        clients = Tasks("clients")
        async with asyncio.timeout(15):
            await asyncio.gather(
                *(clients.spawn(wander(s, dice, got), name="client") for _ in range(CLIENTS))
            )
        weather.cancel()
        for replica in s.replicas:
            replica.ready = True
            await replica.refuse()
            await replica.start()
        s.live.gate.resume()

        assert {reply.status for reply in got} <= KNOWN
        assert sum(reply.status == 200 for reply in got) > CLIENTS // 4
        for replica in s.replicas:
            replica.behave = answers
        assert (await s.get()).status == 200


async def answers(talk: Talk) -> None:
    await talk.answer()
