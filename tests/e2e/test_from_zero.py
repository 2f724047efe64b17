"""From zero to an answer and back, with a real Deployment: the main job."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e import audit
from tests.e2e.fleet import endpoint, fleet
from tests.e2e.manifests import NAME, deployment, service
from tests.e2e.model_client import stats
from tests.e2e.space import is_ready, wants

if TYPE_CHECKING:
    from tests.e2e.control_plane import ControlPlane
    from tests.e2e.space import Space
    from tests.rawclient import Reply

IDLE = "700ms"
LATEST = 60.0
"""Seconds for an answer, on a machine on which much is started: later than this it is lost."""


async def test_the_first_request_wakes_the_deployment_and_is_answered(space: Space) -> None:
    await space.apply(deployment(), service())
    async with fleet(space) as activators:
        first = await activators[0].get("/hello")
        second = await activators[0].get("/again")

    pod = (await space.pods())[0]["metadata"]["name"]
    assert (first.status, first.body.decode()) == (200, pod)
    assert (second.status, second.body.decode()) == (200, pod)
    assert first.get("x-activator-cold-start") == b"true"
    assert second.get("x-activator-cold-start") == b"false"


async def test_nobody_waits_until_the_kubelet_finds_the_pod_ready(space: Space) -> None:
    late = {"httpGet": {"path": "/health", "port": "http"}, "initialDelaySeconds": 60}
    await space.apply(deployment(readiness=late))
    async with fleet(space) as activators:
        began = time.monotonic()
        reply = await activators[0].get("/hello", within=40.0)

    assert reply.status == 200
    assert time.monotonic() - began < 30.0
    assert not is_ready((await space.pods())[0])


async def test_many_requests_at_three_activators_change_the_scale_once(
    space: Space, control_plane: ControlPlane
) -> None:
    await space.apply(deployment("--load-seconds", "0.5"))
    async with fleet(space, count=3) as activators:
        replies = await activators.burst(30)

    assert {each.status for each in replies} == {200}
    assert len(audit.rescalings(control_plane.audit_log, namespace=space.name)) == 1
    assert len(await space.pods()) == 1


@pytest.mark.parametrize("count", [1, 3])
async def test_the_line_is_drained_in_the_order_of_arrival(space: Space, count: int) -> None:
    await space.apply(deployment("--load-seconds", "2"))
    async with fleet(space, count=count, concurrency=1) as activators:
        async with asyncio.TaskGroup() as asking:
            for number in range(12):
                asked = activators[number % count]
                asking.create_task(asked.get(f"/{number:03}", within=30.0))
                await activators.until_held(number + 1)

        (pod,) = await space.pods()
        assert (await stats(pod))["targets"] == [f"/{number:03}" for number in range(12)]


async def test_the_limit_of_a_new_replica_holds_over_all_activators(space: Space) -> None:
    await space.apply(deployment("--load-seconds", "1", "--answer-seconds", "0.05"))
    async with fleet(space, count=3, concurrency=1) as activators:
        replies = await activators.burst(12)

        (pod,) = await space.pods()
        assert {each.status for each in replies} == {200}
        assert (await stats(pod))["most_at_once"] == 1
        assert len((await stats(pod))["targets"]) == 12


async def test_an_idle_deployment_goes_to_zero_and_the_next_request_wakes_it(
    space: Space,
) -> None:
    await space.apply(deployment())
    async with fleet(space, scale={"idleTimeout": IDLE}) as activators:
        first = await activators[0].get("/first")
        await space.until("Deployment", NAME, wants(0))
        await space.until_pods(lambda them: not them)
        second = await activators[0].get("/second")

    assert (first.status, second.status) == (200, 200)
    assert first.body != second.body


async def test_as_many_replicas_come_back_as_there_were(space: Space) -> None:
    await space.apply(deployment(replicas=2))
    await space.until_pods(lambda them: len(them) == 2 and all(map(is_ready, them)))
    scale = {"idleTimeout": IDLE, "max": 3, "downDelay": "10m"}
    async with fleet(space, scale=scale) as activators:
        await activators[0].get("/first")
        await space.until("Deployment", NAME, wants(0))
        await activators[0].get("/second")

        await space.until("Deployment", NAME, wants(2))


RACES = 200
LANES = 8
"""Deployments that run the race side by side."""


async def test_no_request_is_lost_or_left_waiting_at_the_moment_of_going_to_zero(
    space: Space,
) -> None:
    names = [f"lane-{number}" for number in range(LANES)]
    brief = {"terminationGracePeriodSeconds": 1}
    await space.apply(*(deployment(name=name, spec=brief, gpus=0) for name in names))
    endpoints = [endpoint(space.name, name=name, scale={"idleTimeout": "100ms"}) for name in names]
    async with fleet(space, count=2, endpoints=endpoints) as activators:

        async def race(lane: str) -> list[Reply]:
            """One after the other, each a little later after the answer before it: a Deployment
            goes to zero a little after its idle timeout, so they meet that at every stage."""
            replies = [await activators[0].get(f"/{lane}", within=LATEST)]
            trials = RACES // LANES
            for number in range(trials):
                await asyncio.sleep(0.06 + 0.3 * number / trials)
                asked = activators[number % 2]
                replies.append(await asked.get(f"/{lane}/{number}", within=LATEST))
            return replies

        async with asyncio.TaskGroup() as racing:
            lanes = [racing.create_task(race(name)) for name in names]

    trials = [reply for lane in lanes for reply in lane.result()[1:]]
    assert [reply.status for reply in trials] == [200] * RACES
    cold = sum(reply.get("x-activator-cold-start") == b"true" for reply in trials)
    assert RACES / 10 < cold < RACES, "the race was not run"
