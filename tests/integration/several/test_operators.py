"""An operator asks one activator, and all of them do it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from tests.several import several
from tests.support import eventually
from tests.town import spawn

if TYPE_CHECKING:
    from tests.replica import Talk

MOMENTS = 1.0
"""Seconds within which an order holds everywhere."""


async def test_a_pause_holds_everywhere_whatever_happens_until_it_is_lifted_anywhere() -> None:
    async with several(2) as s:
        one, other = s.activators
        assert json.loads((await one.order("pause")).body)["paused"]
        await other.until_status(within=MOMENTS, paused=True)
        waiting = [spawn(other.get("/held", within=60.0))]
        await other.until_status(within=5.0, held=1)
        assert (await other.order("activate")).status == 409

        one.process.kill()
        (later,) = await s.start(1)
        assert (await later.status())["paused"]
        waiting.append(spawn(later.get("/too", within=60.0)))
        await later.until_status(within=5.0, held=1)

        s.redis.kill()  # which loses all it knew
        await other.until_logged("store_down")
        refused = await other.order("resume")
        assert refused.status == 503
        assert f"Endpoint {(await other.status())['name']} was not resumed" in refused.body.decode()
        s.redis.start()
        await eventually(lambda: len(later.logged("store_up")) == 1, within=10.0)
        await asyncio.sleep(MOMENTS)
        assert (await other.status())["paused"]
        assert (await later.status())["paused"]
        assert not s.world.asked

        assert not json.loads((await later.order("resume")).body)["paused"]
        assert {(await each).status for each in waiting} == {200}


async def test_whichever_is_asked_the_leader_deactivates_and_judges_by_all_demand() -> None:
    finish = asyncio.Event()

    async def works(talk: Talk) -> None:
        await finish.wait()
        await talk.answer(200, b"done")

    async with several(2, behave=works) as s:
        leader = await s.leader()
        (other,) = (each for each in s.activators if each is not leader)
        s.starts_ready = False
        assert json.loads((await other.order("activate")).body)["state"] == "activating"
        await eventually(lambda: s.running)
        s.running[0].ready = True
        await leader.until_status(within=10.0, state="active")

        for busy, asked in ((leader, other), (other, leader)):
            finish.clear()
            running = spawn(busy.get("/"))
            await busy.until_status(within=5.0, in_flight=1)
            assert (await asked.order("deactivate")).status == 409
            finish.set()
            assert (await running).status == 200

        deadline = asyncio.get_running_loop().time() + MOMENTS
        while (reply := await other.order("deactivate")).status == 409:
            assert asyncio.get_running_loop().time() < deadline, reply.body
        told = json.loads(reply.body)
        assert (reply.status, told["state"], told["wanted"]) == (200, "inactive", 0)
        assert [each.pid for each in s.world.asked if not each.replicas] == [leader.pid]
        await s.until_zero()
