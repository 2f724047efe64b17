"""What pods and events mean, as Kubernetes 1.36 tells them: how far, why not, and what failed."""

from __future__ import annotations

import pytest

from activator.core.diagnosis import (
    cannot_create,
    failures,
    insufficient,
    progress,
    read_event,
)
from activator.core.effects import FailedStart
from activator.core.phases import Phase
from activator.core.pods import (
    read_pod,
)
from tests.unit.core.raw_pods import (
    CRASHED,
    IPS,
    NO_CLAIM,
    NO_GPU,
    PULL,
    ended,
    event,
    raw_pod,
    running,
    unscheduled,
    waiting,
)

PROGRESS = {
    "nobody has looked at it": (
        raw_pod(spec={"nodeName": None}, containerStatuses=[]),
        [],
        (Phase.REQUESTED, "waits for the scheduler", False),
    ),
    "no node has a GPU": (
        unscheduled(NO_GPU),
        [],
        (Phase.REQUESTED, "unschedulable: no node has enough nvidia.com/gpu", True),
    ),
    "no node, other reasons": (
        unscheduled("0/1 nodes are available: 1 node(s) were unschedulable. preemption: none"),
        [],
        (
            Phase.REQUESTED,
            "unschedulable: 0/1 nodes are available: 1 node(s) were unschedulable",
            True,
        ),
    ),
    "a node is being added": (
        unscheduled(NO_GPU),
        [event("TriggeredScaleUp", "pod triggered scale-up: [{gpu-pool 0->1 (max: 4)}]")],
        (
            Phase.WAITING_FOR_NODE,
            "a node is being added: no node has enough nvidia.com/gpu",
            True,
        ),
    ),
    "a node will not be added": (
        unscheduled(NO_GPU),
        [
            event("TriggeredScaleUp", at="2026-01-01T00:00:05Z"),
            event("NotTriggerScaleUp", "max node group size reached", at="2026-01-01T00:09:00Z"),
        ],
        (
            Phase.REQUESTED,
            "unschedulable: no node has enough nvidia.com/gpu; the node autoscaler adds none:"
            " max node group size reached",
            True,
        ),
    ),
    "its image is being pulled": (
        raw_pod(),
        [],
        (Phase.SCHEDULED, "on gpu-1, is being created", False),
    ),
    "its image is there": (
        raw_pod(),
        [event("Pulled", "Container image already present on machine")],
        (Phase.PULLED, "on gpu-1, is being created", False),
    ),
    "a volume is missing": (
        raw_pod(),
        [event("FailedMount", 'MountVolume.SetUp failed for volume "s": secret "s" not found')],
        (
            Phase.SCHEDULED,
            'FailedMount: MountVolume.SetUp failed for volume "s": secret "s" not found',
            False,
        ),
    ),
    "an init container runs": (
        raw_pod(
            spec={"initContainers": [{"name": "fetch", "image": "x"}]},
            initContainerStatuses=[{**running(), "name": "fetch"}],
            containerStatuses=[waiting("PodInitializing")],
            **IPS,
        ),
        [],
        (Phase.SCHEDULED, "init container fetch runs", False),
    ),
    "no such image": (
        raw_pod(containerStatuses=[waiting("ErrImagePull", PULL)]),
        [],
        (Phase.SCHEDULED, f"ErrImagePull: {PULL}", False),
    ),
    "it has an address": (
        raw_pod(phase="Running", containerStatuses=[running()], **IPS),
        [],
        (Phase.STARTED, "on gpu-1", False),
    ),
    "it has an address before its container is told to run": (
        raw_pod(**IPS),
        [],
        (Phase.STARTED, "on gpu-1", False),
    ),
    "only the kubelet can tell whether it serves": (
        raw_pod(
            phase="Running",
            spec={"containers": [{"name": "server", "readinessProbe": {"exec": {}}}]},
            containerStatuses=[running()],
            **IPS,
        ),
        [event("Unhealthy", "Readiness probe failed: cat: /tmp/ready: No such file")],
        (
            Phase.PULLED,
            "runs, is not Ready yet: Readiness probe failed: cat: /tmp/ready: No such file",
            False,
        ),
    ),
    "the kubelet has told": (
        raw_pod(
            phase="Running",
            spec={"readinessGates": [{"conditionType": "x"}]},
            conditions=[{"type": "Ready", "status": "True"}],
            containerStatuses=[running(ready=True)],
            **IPS,
        ),
        [],
        (Phase.STARTED, "on gpu-1", False),
    ),
    "it crashed and is not started again yet": (
        raw_pod(containerStatuses=[{**running(), **CRASHED, "restartCount": 2}], **IPS),
        [],
        (Phase.PULLED, "exited with code 3; waits in back-off (2 restarts so far)", False),
    ),
    "it is going": (
        raw_pod(
            phase="Running",
            metadata={"deletionTimestamp": "2026-01-01T00:10:00Z"},
            containerStatuses=[running(ready=True)],
            **IPS,
        ),
        [],
        (Phase.STOPPING, "is terminating", False),
    ),
}


@pytest.mark.parametrize("name", PROGRESS)
def test_how_far_a_pod_is_and_what_it_waits_for(name: str) -> None:
    raw, events, expected = PROGRESS[name]
    found = progress(read_pod(raw), events, port="http")
    assert (found.phase, found.detail, found.no_capacity) == expected


FAILURES = {
    "no such image": (
        raw_pod(containerStatuses=[waiting("ErrImagePull", PULL)]),
        [],
        [
            (
                "llama-6b7f9c-x2x7k.server.image",
                FailedStart(f"image registry.example.com/server:1 cannot be pulled: {PULL}"),
            )
        ],
    ),
    "a config map is missing": (
        raw_pod(containerStatuses=[waiting("CreateContainerConfigError", 'configmap "c" not')]),
        [],
        [
            (
                "llama-6b7f9c-x2x7k.server.config",
                FailedStart('container server cannot be created: configmap "c" not'),
            )
        ],
    ),
    "a claim is missing": (
        unscheduled(NO_CLAIM),
        [],
        [
            (
                "llama-6b7f9c-x2x7k.volume",
                FailedStart("the persistent volume claim weights does not exist"),
            )
        ],
    ),
    "no GPU is no failure": (unscheduled(NO_GPU), [], []),
    "its first life ended": (
        raw_pod(containerStatuses=[{**running(), "state": ended(1)}]),
        [],
        [("llama-6b7f9c-x2x7k", FailedStart("exited with code 1", exit_code=1))],
    ),
    "its third life ended and it waits": (
        raw_pod(containerStatuses=[{**running(), **CRASHED, "restartCount": 2}]),
        [],
        [("llama-6b7f9c-x2x7k.r2", FailedStart("exited with code 3", exit_code=3))],
    ),
    "its fourth life runs after the third ended": (
        raw_pod(containerStatuses=[{**running(), "restartCount": 3, "lastState": ended(3)}]),
        [],
        [("llama-6b7f9c-x2x7k.r2", FailedStart("exited with code 3", exit_code=3))],
    ),
    "out of memory": (
        raw_pod(containerStatuses=[{**running(), "state": ended(137, "OOMKilled")}]),
        [],
        [
            (
                "llama-6b7f9c-x2x7k",
                FailedStart(
                    "ran out of memory and was killed: OOMKilled (its limit is 512Mi)",
                    exit_code=-9,
                ),
            )
        ],
    ),
    "killed by its liveness probe, after which its readiness probe failed once more": (
        raw_pod(containerStatuses=[{**running(), "state": ended(137)}]),
        [
            event("Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 500"),
            event("Killing", "Container server failed liveness probe, will be restarted"),
            event(
                "Unhealthy", "Readiness probe failed: connection refused", at="2026-01-01T00:00:09Z"
            ),
        ],
        [
            (
                "llama-6b7f9c-x2x7k",
                FailedStart(
                    "was killed by the kubelet: Liveness probe failed: HTTP probe failed with"
                    " statuscode: 500",
                    exit_code=-9,
                ),
            )
        ],
    ),
    "killed by something else than the probe that killed its sidecar": (
        raw_pod(containerStatuses=[{**running(), "state": ended(137)}]),
        [
            event("Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 500"),
            event("Killing", "Container sidecar failed liveness probe, will be restarted"),
        ],
        [
            (
                "llama-6b7f9c-x2x7k",
                FailedStart("was killed by SIGKILL (exit code 137)", exit_code=-9),
            )
        ],
    ),
    "killed by its probe": (
        raw_pod(containerStatuses=[{**running(), "state": ended(137)}]),
        [
            event("Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 500"),
            event("Killing", "Container server failed liveness probe, will be restarted"),
        ],
        [
            (
                "llama-6b7f9c-x2x7k",
                FailedStart(
                    "was killed by the kubelet: Liveness probe failed: HTTP probe failed with"
                    " statuscode: 500",
                    exit_code=-9,
                ),
            )
        ],
    ),
    "killed by a signal, with its last words": (
        raw_pod(
            containerStatuses=[
                {**running(), "state": ended(139, message="loading\nCUDA error: no device\n")}
            ]
        ),
        [],
        [
            (
                "llama-6b7f9c-x2x7k",
                FailedStart(
                    "was killed by SIGSEGV (exit code 139)",
                    exit_code=-11,
                    last_lines=("loading", "CUDA error: no device"),
                ),
            )
        ],
    ),
    "an init container fails": (
        raw_pod(
            spec={"initContainers": [{"name": "fetch", "image": "x"}]},
            initContainerStatuses=[{**running(), **CRASHED, "name": "fetch"}],
            containerStatuses=[waiting("PodInitializing")],
        ),
        [],
        [
            (
                "llama-6b7f9c-x2x7k.fetch.r0",
                FailedStart("container fetch exited with code 3", exit_code=3),
            )
        ],
    ),
    "an init container is through": (
        raw_pod(
            spec={"initContainers": [{"name": "fetch", "image": "x"}]},
            initContainerStatuses=[{**running(), "name": "fetch", "state": ended(0, "Completed")}],
            containerStatuses=[running()],
        ),
        [],
        [],
    ),
    "evicted": (
        raw_pod(
            phase="Failed",
            reason="Evicted",
            message="The node was low on resource: memory.",
        ),
        [],
        [
            (
                "llama-6b7f9c-x2x7k",
                FailedStart("pod failed: Evicted: The node was low on resource: memory."),
            )
        ],
    ),
    "ran for longer than it may": (
        raw_pod(
            phase="Failed",
            reason="DeadlineExceeded",
            message="Pod was active on the node longer than the specified deadline",
        ),
        [],
        [
            (
                "llama-6b7f9c-x2x7k",
                FailedStart(
                    "pod failed: DeadlineExceeded: Pod was active on the node longer than the"
                    " specified deadline"
                ),
            )
        ],
    ),
    "told to go": (
        raw_pod(
            metadata={"deletionTimestamp": "2026-01-01T00:10:00Z"},
            containerStatuses=[{**running(), "state": ended(143)}],
        ),
        [],
        [],
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_what_went_wrong_with_a_pod(name: str) -> None:
    raw, events, expected = FAILURES[name]
    found = failures(read_pod(raw), events, port="http")
    assert [(each.id, each.cause) for each in found] == expected


def test_the_resources_that_are_short_are_named_once() -> None:
    told = "0/9 nodes are available: 4 Insufficient cpu, 5 Insufficient nvidia.com/mig-1g.5gb."
    assert insufficient(told + " 2 Insufficient cpu.") == ("cpu", "nvidia.com/mig-1g.5gb")


def test_a_quota_that_is_used_up_is_said() -> None:
    told = (
        'pods "llama-6b7f9c-abcde" is forbidden: exceeded quota: gpus, requested:'
        " requests.nvidia.com/gpu=1, used: requests.nvidia.com/gpu=4, limited: 4"
    )
    assert cannot_create(told).message == (
        "the namespace's quota is used up: exceeded quota: gpus, requested:"
        " requests.nvidia.com/gpu=1, used: requests.nvidia.com/gpu=4, limited: 4"
    )
    policy = 'pods "x" is forbidden: violates PodSecurity "restricted:latest": privileged'
    assert cannot_create(policy).message.startswith("its pods cannot be created: violates")


def test_events_that_say_nothing_here_are_not_kept() -> None:
    raw = {
        "metadata": {"uid": "e"},
        "involvedObject": {"kind": "Pod", "name": "p", "uid": "u"},
        "reason": "Pulled",
        "message": "Successfully pulled image",
        "lastTimestamp": None,
        "eventTime": "2026-01-01T00:00:05.000000Z",
        "series": None,
    }
    found = read_event(raw)
    assert found is not None
    assert (found.about, found.at, found.count) == ("u", "2026-01-01T00:00:05.000000Z", 1)
    assert read_event({**raw, "reason": "SuccessfulCreate"}) is None
