"""Requests in the very moment of stopping: served by the old replica or by the next, never lost."""

from __future__ import annotations

import asyncio
import random

from tests.rawclient import RawClient
from tests.stage import request
from tests.support import running_clock
from tests.town import Town, town

ENDPOINTS = 20
ROUNDS = 50
IDLE = 0.03


async def race(t: Town, name: str, dice: random.Random) -> list[str]:
    """Requests of one client, each sent about when the endpoint is going to sleep."""
    client = await RawClient.connect("127.0.0.1", t.port)
    wrong = []
    for number in range(ROUNDS):
        target = f"/{name}/{number}"
        client.send(request(target, host=f"{name}.example"))
        reply = await client.reply()
        if (reply.status, reply.body) != (200, b"hello"):
            wrong.append(f"{target}: {reply.status} {reply.body!r}")
        # around the moment: readiness is noticed, and the two phases pass, a few ms later
        await asyncio.sleep(IDLE + dice.triangular(-0.004, 0.03, 0.008))
    await client.close()
    return wrong


async def test_a_thousand_races_with_the_idle_moment_lose_and_repeat_nothing() -> None:
    names = [f"e{number}" for number in range(ENDPOINTS)]
    scale = {"idleTimeout": f"{IDLE * 1000:g}ms"}
    began = running_clock()
    async with town(*names, scale=scale, concurrency=2) as t:
        dice = random.Random(20261121)
        wrong = await asyncio.gather(*(race(t, name, dice) for name in names))
        await t.until_zero(*names)

        assert [each for of_one in wrong for each in of_one] == []
        for name in names:
            heard = [one.target.decode() for each in t.replicas_of(name) for one in each.requests]
            assert heard == [f"/{name}/{number}" for number in range(ROUNDS)]
        revived = sum(t.actions(name).count("revived") for name in names)
        slept = sum(t.orders(name).count(0) for name in names)
        assert slept > ENDPOINTS * 8, "too few of the races came late"
        assert slept < ENDPOINTS * ROUNDS, "too few of the races came early"
        assert revived, "none of the races came while draining"
    assert running_clock() - began < 20.0
