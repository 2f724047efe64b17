"""Requests that come just when an endpoint goes to sleep: none is lost, whichever activator it
comes to."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from tests.several import Activator, several
from tests.town import spawn

if TYPE_CHECKING:
    from tests.replica import Talk

IDLE = 0.2
ROUNDS = 50
AT_ONCE = 10


async def briefly(talk: Talk) -> None:
    await asyncio.sleep(0.002)
    await talk.answer(200, b"hello")


async def test_500_requests_that_race_the_idle_moment_are_all_served() -> None:
    dice = random.Random(7)

    async def ask(activator: Activator, after: float) -> int:
        await asyncio.sleep(after)
        return (await activator.get(f"/{after}")).status

    async with several(2, behave=briefly, scale={"idleTimeout": f"{IDLE * 1000:.0f}ms"}) as s:
        await s.leader()
        for _ in range(ROUNDS):
            # all of them within the moments in which everybody is asked, agrees, and the order
            # is given
            moment = IDLE + dice.uniform(-0.01, 0.05)
            asked = [
                spawn(ask(dice.choice(s.activators), moment + dice.uniform(0, 0.01)))
                for _ in range(AT_ONCE)
            ]
            assert await asyncio.gather(*asked) == [200] * AT_ONCE

        served = sum(len(each.requests) for each in s.replicas.values())
        assert served == ROUNDS * AT_ONCE
        assert s.cut == []
        assert len(s.replicas) > 1, "it never went to sleep"
        await s.until_zero()
