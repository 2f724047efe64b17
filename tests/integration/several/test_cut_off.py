"""The whole of what activators say to Redis, cut at any byte: nothing is lost, no limit is passed,
and in the end all sleep."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random

from tests.faulty_proxy import FaultyProxy
from tests.several import several
from tests.town import spawn

LIMIT = 2
ROUNDS = 25
SPAN = 1500
"""Bytes within which the next cut comes: an exchange with Redis is a few hundred."""


async def test_cut_off_at_any_moment_all_are_served_and_the_endpoint_sleeps() -> None:
    dice, scale = Random(11), {"idleTimeout": "150ms"}
    async with (
        several(0, concurrency=LIMIT, scale=scale) as s,
        FaultyProxy(s.redis.port) as proxy,
    ):
        s.store = f"redis://127.0.0.1:{proxy.port}"
        await s.start(2)
        await s.until_acquainted()
        asked = []
        number = 0
        while number < ROUNDS or len(s.replicas) < 2:  # until it has slept in between
            number += 1
            proxy.cut_after(**{dice.choice(["sent", "received"]): dice.randrange(SPAN)})
            asked += [
                spawn(each.get(f"/{number}", within=30.0))
                for each in s.activators
                for _ in range(dice.choice([0, 1, 3]))
            ]
            pause = dice.choice([0.0, 0.02, 0.15, 0.2, 0.3])
            if pause >= 0.15:  # around the moment at which it goes to sleep
                await asyncio.gather(*asked)
            await asyncio.sleep(pause)
            proxy.cut_after()
        replies = await asyncio.gather(*asked)

        assert Counter(reply.status for reply in replies) == {200: len(asked)}
        assert s.cut == []
        # whoever is cut off keeps to its share, and to what it had
        assert s.most_in_flight <= 2 * LIMIT
        await s.until_zero()
        for each in s.activators:
            assert not await each.logged_by_now("task_failed")
