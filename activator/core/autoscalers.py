"""Others that change a workload's count: HorizontalPodAutoscalers, KEDA's among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

_KEDA: Final = "scaledobject.keda.sh/name"


@dataclass(frozen=True, slots=True)
class Autoscaler:
    name: str
    kind: str
    """Of its target."""
    target: str
    scaled_object: str = ""
    """Whose it is, where KEDA made it."""

    def __str__(self) -> str:
        if not self.scaled_object:
            return f"HorizontalPodAutoscaler {self.name}"
        return (
            f"KEDA's ScaledObject {self.scaled_object} (which undoes going to zero unless it has"
            " idleReplicaCount: 0)"
        )


def read_autoscaler(raw: dict[str, Any]) -> Autoscaler:
    """From `autoscaling/v2.HorizontalPodAutoscaler`."""
    metadata, spec = raw["metadata"], raw.get("spec") or {}
    target = spec.get("scaleTargetRef") or {}
    return Autoscaler(
        name=metadata["name"],
        kind=target.get("kind") or "",
        target=target.get("name") or "",
        scaled_object=(metadata.get("labels") or {}).get(_KEDA, ""),
    )
