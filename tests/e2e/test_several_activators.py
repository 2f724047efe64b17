"""Activators come, go, stop and stand still in front of one Deployment."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING

from tests.e2e.fleet import fleet
from tests.e2e.manifests import NAME, deployment
from tests.e2e.space import is_ready, wants
from tests.town import spawn

if TYPE_CHECKING:
    from tests.e2e.space import Space
    from tests.several import Activator

ANOTHER_LEADS_WITHIN = 15.0
"""Seconds, as documented."""


async def test_activators_restarted_one_after_the_other_under_load_lose_no_request(
    space: Space,
) -> None:
    await space.apply(deployment(replicas=1))
    await space.until_pod(is_ready)
    # as in a cluster, where clients go on finding the old one for a moment
    async with fleet(space, count=2, server={"drainDelay": "500ms"}) as activators:
        statuses: list[int] = []
        staying = list(activators)
        over = False

        async def load() -> None:
            number = 0
            while not over:
                number += 1
                reply = await staying[number % len(staying)].get(f"/{number}")
                statuses.append(reply.status)

        loads = [spawn(load()) for _ in range(4)]
        for old in list(activators):
            staying += await activators.start(1)
            staying.remove(old)
            old.tell(signal.SIGTERM)
            assert await old.ended(within=30.0) == 0
        over = True
        await asyncio.gather(*loads)

    assert set(statuses) == {200}
    assert len(statuses) > 20


async def test_who_is_held_when_an_activator_stops_is_served_or_told_so(space: Space) -> None:
    await space.apply(deployment("--load-seconds", "3"))
    async with fleet(space, count=2) as activators:
        leaving, staying = activators
        held = [spawn(each.get("/cold", within=40.0)) for each in (leaving, staying)]
        await activators.until_held(2)
        leaving.tell(signal.SIGTERM)
        told, served = await asyncio.gather(*held)

    assert served.status == 200
    assert told.status == 200 or (told.status, told.why) == (503, "shutting_down")


async def test_when_the_leader_is_killed_another_lets_the_deployment_sleep(space: Space) -> None:
    await space.apply(deployment(replicas=1))
    await space.until_pod(is_ready)
    async with fleet(space, count=2, scale={"idleTimeout": "5s"}) as activators:
        first = await activators.leader()
        await first.get("/")

        first.process.kill()
        killed = time.monotonic()
        await activators.leader(other_than=first.pid)

        assert time.monotonic() - killed < ANOTHER_LEADS_WITHIN + 2.0
        await space.until("Deployment", NAME, wants(0), within=40.0)


async def test_a_cold_start_waits_for_no_leader(space: Space) -> None:
    await space.apply(deployment())
    async with fleet(space, count=2) as activators:
        leader = await activators.leader()
        (other,) = (each for each in activators if each is not leader)
        leader.tell(signal.SIGSTOP)

        assert (await other.get("/cold", within=30.0)).status == 200

        leader.tell(signal.SIGCONT)


async def has_some(activator: Activator) -> bool:
    """Requests, held or in flight, by its own count."""
    told = (await activator.ask_admin(f"/api/endpoints/{NAME}")).json()
    return bool(told["in_flight"] or told["held"])


async def test_a_leader_that_slept_through_a_revival_does_not_stop_live_work(space: Space) -> None:
    await space.apply(deployment(replicas=1))
    await space.until_pod(is_ready)
    idle = 2.0
    async with fleet(space, count=2, scale={"idleTimeout": idle}) as activators:
        leader = await activators.leader()
        (other,) = (each for each in activators if each is not leader)
        assert (await other.get("/short")).status == 200
        served = time.monotonic()
        # it may be about to look, to ask or to order: all must end well
        await asyncio.sleep(idle - 0.1)
        leader.tell(signal.SIGSTOP)
        long = spawn(other.get("/for/4", within=40.0))
        while not await has_some(other) or time.monotonic() < served + idle + 0.5:
            await asyncio.sleep(0.02)
        leader.tell(signal.SIGCONT)

        assert (await long).status == 200
