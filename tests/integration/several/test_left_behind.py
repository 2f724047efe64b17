"""After whatever clients do to several activators, Redis holds nothing of it: what has an owner is
taken away by it, and what has none expires.

A few hundred requests show it as well as more do, which is tried by

    ACTIVATOR_TEST_MIXED=10000 python -m pytest tests/integration/several/test_left_behind.py
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from random import Random
from typing import TYPE_CHECKING

from tests.rawclient import Cut, RawClient
from tests.several import several
from tests.stage import NAME, request
from tests.support import eventually

if TYPE_CHECKING:
    import pytest

    from tests.replica import Talk
    from tests.several import Activator, Several

REQUESTS = int(os.environ.get("ACTIVATOR_TEST_MIXED", "250"))
AT_ONCE = 20
BODY = bytes(range(256)) * 40
SECTIONS = {"jobs": {"retention": "2s", "joinGrace": "1s", "attempts": 2}}
LASTING = {"bytes:endpoints", "events", "lease", "roster", "wishes", "costs"}
"""One key each, however many requests there are; and the records of an endpoint, below."""
OF_AN_ENDPOINT = ("costs:", "starts", "drain")


async def works(talk: Talk) -> None:
    await talk.body()
    match talk.heard.target.rpartition(b"/")[2]:
        case b"error":
            await talk.answer(500, b"no")
        case b"cut":
            talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            await talk.drain()
            await talk.close()
        case b"slow":
            await asyncio.sleep(0.05)
            await talk.answer(200, BODY)
        case _:
            await talk.answer(200, BODY)


class Clients:
    def __init__(self, s: Several, seed: int) -> None:
        self.s = s
        self.dice = Random(seed)
        self.told: Counter[str] = Counter()

    async def any(self, number: int) -> None:
        dice, at = self.dice, self.s.activators[number % 2]
        target = f"/{number}/{dice.choice(['x', 'x', 'x', 'slow', 'error', 'cut'])}"
        kind = dice.choice(["plain", "plain", "posts", "leaves", "job", "key", "waits"])
        headers: dict[str, str] = {"Priority": f"u={dice.randrange(8)}"}
        match kind:
            case "plain":
                await self._whole(at, request(target, headers=headers))
            case "posts":
                await self._whole(at, request(target, method="POST", body=BODY, headers=headers))
            case "leaves":
                await self._leave(at, request(target, method="POST", body=BODY, headers=headers))
            case "job":
                headers["Prefer"] = "respond-async"
                await self._job(at, request(target, method="POST", body=BODY, headers=headers))
            case "waits":
                headers["Prefer"] = "wait=1"
                await self._whole(at, request(target, method="POST", body=BODY, headers=headers))
            case "key":
                number = dice.randrange(30)  # some are joined, some are told that the body differs
                headers["Idempotency-Key"] = f'"{number}"'
                body = BODY if dice.random() < 0.8 else b"other"
                raw = request("/keyed", method="POST", body=body, headers=headers)
                await (self._leave if dice.random() < 0.2 else self._whole)(at, raw)
        self.told[kind] += 1

    async def _whole(self, at: Activator, raw: bytes) -> None:
        try:
            reply = await at.ask(raw)
        except Cut:
            self.told["cut"] += 1
        else:
            self.told[f"{reply.status} {reply.why}".strip()] += 1

    async def _leave(self, at: Activator, raw: bytes) -> None:
        client = await RawClient.connect("127.0.0.1", at.data)
        client.send(raw)
        await client.drain()
        await asyncio.sleep(self.dice.choice([0.0, 0.002, 0.02]))
        await client.close()

    async def _job(self, at: Activator, raw: bytes) -> None:
        made = await at.ask(raw)
        path = (made.get("location") or b"").decode()
        assert (made.status, bool(path)) == (202, True), made
        other = self.dice.choice(self.s.activators)
        match self.dice.randrange(3):
            case 0:
                await other.ask(request(path, method="DELETE"))
            case 1:
                await other.get(f"{path}/events", within=15.0)
            case 2:
                return  # nobody ever asks for it


async def test_nothing_is_left_behind_by_any_mixture_of_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tests.several.WITHIN", 120.0 + REQUESTS / 20)
    scale = {"idleTimeout": "100ms"}
    async with several(0, behave=works, concurrency=4, scale=scale) as s:
        s.sections = SECTIONS
        await s.start(2)
        clients, some = Clients(s, seed=5), asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> None:
            async with some:
                await clients.any(number)
                if number % 100 == 99:
                    await asyncio.sleep(0.5)  # it may go to sleep in between

        await asyncio.gather(*(one(number) for number in range(REQUESTS)))
        assert clients.told["200"] > REQUESTS / 5

        def of_requests() -> list[str]:
            kept = [key.removeprefix(f"{s.prefix}:") for key in s.redis.keys(f"{s.prefix}:")]
            endpoint = f"{{{NAME}}}:"
            lasting = tuple(endpoint + each for each in ("slots:", *OF_AN_ENDPOINT))
            return [key for key in kept if key not in LASTING and not key.startswith(lasting)]

        await eventually(lambda: not of_requests(), within=30.0)
        for each in s.activators:
            each.tell(signal.SIGTERM)
        assert [await each.ended() for each in s.activators] == [0, 0]
        left = s.redis.keys(f"{s.prefix}:")
        assert not [key for key in left if ":slots:" in key]
        assert of_requests() == []
        assert all(s.redis.ask("PTTL", key) > 0 for key in left), left
