"""The Kubernetes objects that tests apply."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.e2e.api import Json

NAME = "llama"
PORT = 8000
GRACE = 5
"""Seconds that a model server has after SIGTERM."""
IMAGE = os.environ.get("ACTIVATOR_E2E_IMAGE", "activator-e2e")
"""On a foreign cluster: one that holds this repository, with `python` on its PATH."""


def model_command(*options: str) -> list[str]:
    """Of `model.py`; the tests' own node runs it with this very interpreter."""
    python = "python" if "KUBECONFIG" in os.environ else sys.executable
    return [python, "-S", "-m", "tests.e2e.model", "--port", str(PORT), *options]


READINESS: Json = {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 1}


def deployment(
    *options: str,
    name: str = NAME,
    replicas: int = 0,
    command: Sequence[str] = (),
    gpus: int = 1,
    annotations: Mapping[str, str] | None = None,
    readiness: Json | None = READINESS,
    spec: Mapping[str, object] | None = None,
    container: Mapping[str, object] | None = None,
    kind: str = "Deployment",
    strategy: Mapping[str, object] | None = None,
) -> Json:
    """One model server a pod, run with `options`; `annotations` and `spec` are the pod's."""
    limits = {"nvidia.com/gpu": str(gpus)} if gpus else {}
    one: Json = {
        "name": "model",
        "image": IMAGE,
        "command": list(command) or model_command(*options),
        "ports": [{"name": "http", "containerPort": PORT}],
        "resources": {"limits": limits},
        **(container or {}),
    }
    if readiness is not None:
        one["readinessProbe"] = readiness
    labels = {"app": name}
    pod = {
        "metadata": {"labels": labels, "annotations": dict(annotations or {})},
        "spec": {"terminationGracePeriodSeconds": GRACE, "containers": [one], **(spec or {})},
    }
    made: Json = {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": pod},
    }
    if kind == "StatefulSet":
        made["spec"] |= {"serviceName": name, "podManagementPolicy": "Parallel"}
    return made | {"spec": made["spec"] | dict(strategy or {})}


def service(*, name: str = NAME) -> Json:
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    spec = {"selector": {"app": name}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
