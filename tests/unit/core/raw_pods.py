"""Pods and events as Kubernetes 1.36 tells them."""

from __future__ import annotations

from typing import Any

from activator.core.diagnosis import (
    ClusterEvent,
)

NO_GPU = (
    "0/3 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/"
    "control-plane: }, 2 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available:"
    " 1 Preemption is not helpful for scheduling, 2 No preemption victims found for incoming pod."
)
NO_CLAIM = (
    '0/1 nodes are available: persistentvolumeclaim "weights" not found. not found. preemption:'
    " 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
)
PULL = (
    'failed to pull and unpack image "registry.example.com/server:1": failed to resolve reference'
    ' "registry.example.com/server:1": registry.example.com/server:1: not found'
)


def raw_pod(**status: Any) -> dict[str, Any]:
    """Bound to a node, its only container being created, unless `status` says otherwise."""
    spec = status.pop("spec", {})
    metadata = status.pop("metadata", {})
    return {
        "metadata": {
            "name": "llama-6b7f9c-x2x7k",
            "uid": "0a1b2c3d-0000",
            "labels": {"app": "llama", "pod-template-hash": "6b7f9c"},
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "ownerReferences": [{"kind": "ReplicaSet", "name": "llama-6b7f9c", "controller": True}],
            **metadata,
        },
        "spec": {
            "nodeName": "gpu-1",
            "containers": [
                {
                    "name": "server",
                    "image": "registry.example.com/server:1",
                    "ports": [{"name": "http", "containerPort": 8000, "protocol": "TCP"}],
                    "resources": {"limits": {"memory": "512Mi", "nvidia.com/gpu": "1"}},
                }
            ],
            **spec,
        },
        "status": {"phase": "Pending", "containerStatuses": [creating()], **status},
    }


def creating() -> dict[str, Any]:
    return waiting("ContainerCreating")


def waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"name": "server", "ready": False, "restartCount": 0, "state": state, **more}


def running(**more: Any) -> dict[str, Any]:
    state = {"running": {"startedAt": "2026-01-01T00:00:01Z"}}
    return {"name": "server", "ready": False, "restartCount": 0, "state": state, **more}


def ended(code: int, reason: str = "Error", **more: Any) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, **more}}


def event(reason: str, message: str = "", *, at: str = "2026-01-01T00:00:05Z") -> ClusterEvent:
    return ClusterEvent("0a1b2c3d-0000", "Pod", "llama-6b7f9c-x2x7k", reason, message, at, 1)


def unscheduled(message: str) -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    return raw_pod(
        spec={"nodeName": None},
        conditions=[{**condition, "message": message}],
        containerStatuses=[],
    )


IPS = {"podIP": "10.0.0.7", "podIPs": [{"ip": "10.0.0.7"}, {"ip": "fd00::7"}]}
CRASHED = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended(3)}
