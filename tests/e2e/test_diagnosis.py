"""Why a start does not succeed is told to the client who waits for it, within 10 s."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.control_plane import GPUS
from tests.e2e.fleet import fleet
from tests.e2e.kubelet import orders
from tests.e2e.kubelet.status import CREATING, timestamp
from tests.e2e.manifests import NAME, PORT, deployment
from tests.e2e.space import condition, container, waits_for
from tests.town import spawn

if TYPE_CHECKING:
    from tests.e2e.api import Json
    from tests.e2e.space import Space

TOLD_WITHIN = 10.0
"""Seconds after the cluster knows."""

CRASHING = ("sh", "-c", "echo CUDA error: no device >&2; exit 3")
DYING = {"httpGet": {"path": "/health", "port": PORT}, "periodSeconds": 1, "failureThreshold": 1}
CLAIM: Json = {"persistentVolumeClaim": {"claimName": "weights"}}


def is_in_trouble(pod: Json) -> bool:
    """The cluster knows of something that keeps it from serving."""
    state = container(pod).get("state", {})
    is_starting = waits_for(pod) in {"", CREATING}
    refused = condition(pod, "PodScheduled").get("status") == "False"
    return "terminated" in state or not is_starting or refused or pod["status"]["phase"] == "Failed"


@pytest.mark.usefixtures("control_plane")
@pytest.mark.parametrize(
    ("workload", "words"),
    [
        pytest.param(
            deployment(annotations={orders.PULL_ERROR: "manifest unknown"}),
            ["cannot be pulled", "manifest unknown"],
            id="an image that cannot be pulled",
        ),
        pytest.param(
            deployment(command=CRASHING),
            ["3", "CUDA error: no device"],
            id="a crash, with its exit code and last line",
        ),
        pytest.param(
            deployment("--load-seconds", "9", annotations={orders.OOM_SECONDS: "0.3"}),
            ["OOMKilled"],
            id="a container beyond its memory",
        ),
        pytest.param(
            deployment("--health", "500", readiness=None, container={"livenessProbe": DYING}),
            ["Liveness probe failed"],
            id="a probe that fails",
        ),
        pytest.param(
            deployment(spec={"volumes": [{"name": "weights", **CLAIM}]}),
            ["persistent volume claim weights does not exist"],
            id="a claim of a volume that is not there",
        ),
        pytest.param(
            deployment(annotations={orders.REFUSE: "OutOfMemory"}),
            ["OutOfMemory"],
            id="a node that refuses the pod",
        ),
    ],
)
async def test_why_a_start_failed_is_in_the_error(
    space: Space, workload: Json, words: list[str]
) -> None:
    await space.apply(workload)
    async with fleet(space) as activators:
        held = spawn(activators[0].get("/hello", within=60.0))
        await space.until_pod(is_in_trouble)
        known = time.monotonic()
        reply = await held

    assert time.monotonic() - known < TOLD_WITHIN
    assert (reply.status, reply.why) == (503, "start_failed")
    for word in words:
        assert word in reply.json()["detail"]


async def test_that_no_gpu_is_free_is_in_the_error_once_the_wait_for_one_is_over(
    space: Space,
) -> None:
    await space.apply(deployment(gpus=GPUS + 1))
    async with fleet(space, scale={"startTimeout": "4s"}) as activators:
        reply = await activators[0].get("/hello", within=60.0)

    assert (reply.status, reply.why) == (503, "no_capacity")
    assert "nvidia.com/gpu" in reply.json()["detail"]


async def test_a_quota_that_forbids_the_pod_is_in_the_error(space: Space) -> None:
    spec = {"hard": {"pods": "0"}}
    await space.apply({"kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": spec})
    await space.until("ResourceQuota", "none", lambda it: it.get("status", {}).get("hard"))
    await space.apply(deployment())
    async with fleet(space, scale={"startTimeout": "15s"}) as activators:
        reply = await activators[0].get("/hello", within=60.0)

    assert reply.status == 503
    assert "exceeded quota: none" in reply.json()["detail"]


async def test_the_status_says_what_the_cluster_knows_in_time(space: Space) -> None:
    await space.apply(deployment(annotations={orders.PULL_ERROR: "unauthorized"}, replicas=1))
    async with fleet(space) as activators:
        await space.until_pod(lambda pod: waits_for(pod) == "ImagePullBackOff")
        known = time.monotonic()
        while "unauthorized" not in str(await activators.status(NAME)):
            assert time.monotonic() - known < TOLD_WITHIN, await activators.status(NAME)


async def test_that_a_rollout_takes_too_long_is_told_and_waited_for(space: Space) -> None:
    # only of what is rolled out: a Deployment that was complete at zero is not, as it is scaled
    late = {"progressDeadlineSeconds": 2}
    await space.apply(deployment("--load-seconds", "8", strategy=late, replicas=1))
    async with fleet(space) as activators:
        held = spawn(activators[0].get("/hello", within=60.0))
        await space.until(
            "Deployment",
            NAME,
            lambda it: condition(it, "Progressing").get("reason") == "ProgressDeadlineExceeded",
        )
        told = await activators[0].until_logged("progress_deadline", within=TOLD_WITHIN)
        assert "has timed out progressing" in told["reason"]
        assert "has timed out progressing" in str(await activators.status())

        assert (await held).status == 200


async def test_the_phases_of_a_start_are_timed(space: Space) -> None:
    slow = {orders.PULL_SECONDS: "1.5"}
    await space.apply(deployment("--load-seconds", "1", annotations=slow))
    async with fleet(space) as activators:
        assert (await activators[0].get("/hello", within=60.0)).status == 200
        ready = await activators[0].until_logged("replica_ready")
        first = await activators[0].until_logged("first_byte")

    assert {"requested", "scheduled", "pulled", "started", "ready"} <= ready.keys()
    assert ready["pulled"] >= 1.0
    assert ready["ready"] >= 0.5, "it had to load"
    assert 0.0 < first["first_byte"] < 2.0


async def test_a_node_that_is_being_added_is_waited_for(space: Space) -> None:
    await space.apply(deployment(gpus=GPUS + 1))
    async with fleet(space) as activators:
        held = spawn(activators[0].get("/hello", within=60.0))
        pod = await space.until_pod(lambda pod: condition(pod, "PodScheduled"))
        about = {key: pod["metadata"][key] for key in ("namespace", "name", "uid")}
        await space.apply(
            {
                "kind": "Event",
                "metadata": {"name": "scaling-up"},
                "involvedObject": {"apiVersion": "v1", "kind": "Pod", **about},
                "type": "Normal",
                "reason": "TriggeredScaleUp",
                "message": "pod triggered scale-up: [{gpu-pool 0->1 (max: 4)}]",
                "lastTimestamp": timestamp(),
                "source": {"component": "cluster-autoscaler"},
            }
        )
        told = time.monotonic()
        while not any(
            each["phase"] == "waiting for node" for each in (await activators.status())["replicas"]
        ):
            assert time.monotonic() - told < TOLD_WITHIN, await activators.status()
            await asyncio.sleep(0.05)
        held.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await held
