"""The ground that the other tests stand on: what the cluster and its node are believed for."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.api import Api, Refused
from tests.e2e.control_plane import GPUS, ControlPlane
from tests.e2e.kubelet import orders
from tests.e2e.manifests import NAME, PORT, deployment, service
from tests.e2e.model_client import ask, stats
from tests.e2e.space import Space, condition, container, is_ready, waits_for

if TYPE_CHECKING:
    from tests.e2e.api import Json


def is_terminating(pod: Json) -> bool:
    return "deletionTimestamp" in pod["metadata"]


async def test_a_deployment_scaled_up_answers_at_its_pods_addresses(space: Space) -> None:
    await space.apply(deployment(), service())
    await space.scale(NAME, 2)

    pods = await space.until_pods(lambda them: len(them) == 2 and all(map(is_ready, them)))

    for pod in pods:
        assert await ask(pod) == pod["metadata"]["name"]
    slices = await space.api.list("EndpointSlice", space.name)
    listed = {each["addresses"][0] for one in slices for each in one["endpoints"]}
    assert listed == {pod["status"]["podIP"] for pod in pods}


async def test_a_deleted_pod_finishes_what_it_works_on_and_is_gone_then(space: Space) -> None:
    await space.apply(deployment("--answer-seconds", "1", replicas=1))
    pod = await space.until_pod(is_ready)

    async with asyncio.TaskGroup() as asking:
        asked = asking.create_task(ask(pod))
        while not (await stats(pod))["in_flight"]:
            await asyncio.sleep(0.01)
        await space.scale(NAME, 0)

    assert await asked == pod["metadata"]["name"]
    await space.until_pods(lambda them: not them)


async def test_a_pod_that_ignores_sigterm_has_its_grace_and_no_more(space: Space) -> None:
    stubborn = ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]
    await space.apply(deployment(command=stubborn, replicas=1, readiness=None))
    await space.until_pod(is_ready)
    began = time.monotonic()
    await space.scale(NAME, 0)

    await space.until_pod(is_terminating)
    await space.until_pods(lambda them: not them)

    assert 4.5 < time.monotonic() - began < 20.0


async def test_a_crashing_container_backs_off_with_its_code_and_last_words(space: Space) -> None:
    last_words = ["sh", "-c", "echo CUDA error: no device >&2; exit 3"]
    await space.apply(deployment(command=last_words, replicas=1))

    pod = await space.until_pod(lambda pod: waits_for(pod) == "CrashLoopBackOff")

    ended = container(pod)["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (3, "Error")
    assert container(pod)["restartCount"] >= 1
    log = await space.log(pod["metadata"]["name"], tailLines="1")
    assert log == "CUDA error: no device\n"
    assert await space.events("BackOff")


@pytest.mark.usefixtures("control_plane")
async def test_an_image_that_cannot_be_pulled_is_told_as_kubelets_do(space: Space) -> None:
    why = {orders.PULL_ERROR: "manifest unknown"}
    await space.apply(deployment(replicas=1, annotations=why))

    pod = await space.until_pod(lambda pod: waits_for(pod) == "ImagePullBackOff")

    assert "manifest unknown" in container(pod)["state"]["waiting"]["message"]
    assert pod["status"]["phase"] == "Pending"


@pytest.mark.usefixtures("control_plane")
async def test_a_container_beyond_its_memory_is_oom_killed(space: Space) -> None:
    await space.apply(deployment(replicas=1, annotations={orders.OOM_SECONDS: "0.2"}))

    pod = await space.until_pod(lambda pod: container(pod).get("lastState"))

    ended = container(pod)["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "OOMKilled")


@pytest.mark.usefixtures("control_plane")
async def test_a_pull_takes_as_long_as_ordered(space: Space) -> None:
    began = time.monotonic()
    await space.apply(deployment(replicas=1, annotations={orders.PULL_SECONDS: "1.5"}))

    await space.until_pod(is_ready)

    assert time.monotonic() - began >= 1.5


@pytest.mark.usefixtures("control_plane")
async def test_a_refused_pod_fails_with_the_nodes_reason(space: Space) -> None:
    await space.apply(deployment(replicas=1, annotations={orders.REFUSE: "OutOfMemory"}))

    pod = await space.until_pod(lambda pod: pod["status"].get("phase") == "Failed")

    assert pod["status"]["reason"] == "OutOfMemory"


@pytest.mark.usefixtures("control_plane")
async def test_more_gpus_than_there_are_cannot_be_scheduled(space: Space) -> None:
    await space.apply(deployment(replicas=1, gpus=GPUS + 1))

    pod = await space.until_pod(lambda pod: condition(pod, "PodScheduled"))

    scheduled = condition(pod, "PodScheduled")
    assert (scheduled["status"], scheduled["reason"]) == ("False", "Unschedulable")
    assert "Insufficient nvidia.com/gpu" in scheduled["message"]


async def test_a_failing_readiness_probe_keeps_a_running_pod_unready(space: Space) -> None:
    await space.apply(deployment("--health", "503", replicas=1))

    pod = await space.until_pod(lambda pod: pod["status"].get("phase") == "Running")

    assert not is_ready(pod)
    assert container(pod)["started"]
    await space.until("Deployment", NAME, lambda it: it["status"].get("unavailableReplicas"))


async def test_a_failing_liveness_probe_restarts_the_container(space: Space) -> None:
    probe = {"httpGet": {"path": "/health", "port": PORT}, "periodSeconds": 1}
    alive = {"livenessProbe": probe | {"failureThreshold": 1}}
    await space.apply(deployment("--health", "500", replicas=1, readiness=None, container=alive))

    await space.until_pod(lambda pod: container(pod).get("restartCount"))

    assert await space.events("Unhealthy")


async def test_a_pod_past_its_deadline_fails(space: Space) -> None:
    await space.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "brief"},
            "spec": {
                **deployment()["spec"]["template"]["spec"],
                "activeDeadlineSeconds": 1,
            },
        }
    )

    pod = await space.until_pod(lambda pod: pod["status"].get("phase") == "Failed")

    assert pod["status"]["reason"] == "DeadlineExceeded"


async def test_what_is_running_survives_the_api_server(
    space: Space, control_plane: ControlPlane
) -> None:
    await space.apply(deployment(replicas=1))
    pod = await space.until_pod(is_ready)

    control_plane.api_server.kill()
    assert await ask(pod) == pod["metadata"]["name"]
    control_plane.api_server.start()
    control_plane.wait_for_api()

    assert is_ready((await space.pods())[0])
    await space.scale(NAME, 2)
    await space.until_pods(lambda them: len(them) == 2 and all(map(is_ready, them)))


async def test_nobody_may_do_what_no_role_allows(space: Space) -> None:
    stranger = await space.account("stranger", rules=[])

    async with Api(stranger) as as_stranger:
        with pytest.raises(Refused) as refusal:
            await as_stranger.list("Pod", space.name)

    assert refusal.value.status == 403
