"""Who else changes a workload's count, in words."""

from __future__ import annotations

from activator.core.autoscalers import read_autoscaler

RAW = {
    "metadata": {"name": "m", "labels": {}},
    "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "m"}},
}


def test_an_autoscaler_is_known_by_its_target() -> None:
    found = read_autoscaler(RAW)
    assert (found.kind, found.target, str(found)) == (
        "Deployment",
        "m",
        "HorizontalPodAutoscaler m",
    )


def test_one_that_keda_made_says_what_keda_does_at_zero() -> None:
    labels = {"scaledobject.keda.sh/name": "llm", "app.kubernetes.io/managed-by": "keda-operator"}
    found = read_autoscaler({**RAW, "metadata": {"name": "keda-hpa-llm", "labels": labels}})
    assert str(found) == (
        "KEDA's ScaledObject llm (which undoes going to zero unless it has idleReplicaCount: 0)"
    )
