"""Between one replica and several, alone and beside other writers of the same number."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.e2e.fleet import fleet
from tests.e2e.manifests import NAME, deployment, service
from tests.e2e.space import condition, is_ready, wants
from tests.town import spawn

if TYPE_CHECKING:
    from tests.e2e.api import Json
    from tests.e2e.space import Space

SEVERAL = {"max": 2, "targetConcurrency": 1, "downDelay": "1s"}


async def test_the_replica_that_works_stays_and_the_idle_one_goes(space: Space) -> None:
    await space.apply(deployment(replicas=2))
    await space.until_pods(lambda them: len(them) == 2 and all(map(is_ready, them)))
    async with fleet(space, concurrency=1, scale=SEVERAL) as activators:
        working = spawn(activators[0].get("/for/8", within=40.0))
        await space.until("Deployment", NAME, wants(1))
        await space.until_pods(lambda them: len(them) == 1)
        done = await working

    assert done.status == 200
    (left,) = await space.pods()
    assert left["metadata"]["name"] == done.body.decode()


async def test_of_a_stateful_set_the_last_one_goes_once_it_has_finished_what_it_has(
    space: Space,
) -> None:
    made = deployment("--answer-seconds", "0.01", kind="StatefulSet", replicas=2)
    await space.apply(service(), made)
    await space.until_pods(lambda them: len(them) == 2 and all(map(is_ready, them)))
    async with fleet(space, kind="StatefulSet", concurrency=1, scale=SEVERAL) as activators:
        await activators.until_ready(2)  # or two requests for one that is ready are a surge
        working = [spawn(activators[0].get("/for/4", within=40.0)) for _ in range(2)]
        await activators.until_in_flight(2)
        both = asyncio.gather(*working)
        await space.until("StatefulSet", NAME, wants(1))
        assert both.done()
        replies = await both
        await space.until_pods(lambda them: len(them) == 1)

    (left,) = await space.pods()
    assert left["metadata"]["name"] == f"{NAME}-0"
    assert {(each.status, each.body.decode()) for each in replies} == {
        (200, f"{NAME}-0"),
        (200, f"{NAME}-1"),
    }


async def test_a_person_who_scales_is_respected(space: Space) -> None:
    await space.apply(deployment())
    async with fleet(space, scale=SEVERAL | {"downDelay": "10m"}) as activators:
        await activators[0].get("/first")
        await space.scale(NAME, 2)
        await space.until_pods(lambda them: len(them) == 2 and all(map(is_ready, them)))

        assert (await activators[0].get("/second")).status == 200
        assert wants(2)(await space.get("Deployment", NAME))
        await activators[0].until_logged("rescaled")


async def test_an_autoscaler_that_nobody_has_spoken_of_is_told(space: Space) -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME}
    spec = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 3}
    scaler = {"kind": "HorizontalPodAutoscaler", "metadata": {"name": "hpa"}, "spec": spec}
    await space.apply(deployment(), scaler)
    async with fleet(space) as activators:
        told = await activators[0].until_logged("autoscaler_found")

    assert "HorizontalPodAutoscaler" in told["reason"]
    assert "scale.owner: external" in told["reason"]


def is_switched_off(scaler: Json) -> bool:
    """It has looked, and found nothing that it might scale."""
    return condition(scaler, "ScalingActive").get("reason") == "ScalingDisabled"


@pytest.mark.usefixtures("control_plane")  # whose controller looks every other second
async def test_an_autoscaler_owns_what_is_above_one_and_the_activator_goes_to_zero(
    space: Space,
) -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME}
    spec = {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 3}
    scaler = {"kind": "HorizontalPodAutoscaler", "metadata": {"name": NAME}, "spec": spec}
    await space.apply(deployment(), scaler)
    scale = {"owner": "external", "max": 3, "idleTimeout": "4s"}
    async with fleet(space, scale=scale) as activators:
        assert (await activators[0].get("/first")).status == 200

        await space.until("Deployment", NAME, wants(2))
        await space.until("Deployment", NAME, wants(0))
        await space.until("HorizontalPodAutoscaler", NAME, is_switched_off)

        assert wants(0)(await space.get("Deployment", NAME))
