"""What a test may order of the kubelet, by annotations of a pod. Also for those who write pods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.e2e.api import Json

_PREFIX = "e2e.activator.dev/"
PULL_SECONDS = f"{_PREFIX}pull-seconds"
PULL_ERROR = f"{_PREFIX}pull-error"
OOM_SECONDS = f"{_PREFIX}oom-seconds"
REFUSE = f"{_PREFIX}refuse"


@dataclass(frozen=True, slots=True)
class Orders:
    """Without annotations: an image that is there, a kernel with memory, a node with room."""

    pull_seconds: float = 0.0
    """How long the image's pull takes."""
    pull_error: str = ""
    """Why the image cannot be pulled, ever."""
    oom_seconds: float | None = None
    """The containers run out of memory so many seconds after their start."""
    refuse: str = ""
    """The node admits no such pod, for this reason; it fails."""

    @classmethod
    def of(cls, pod: Json) -> Orders:
        told: dict[str, str] = pod["metadata"].get("annotations") or {}
        oom = told.get(OOM_SECONDS)
        return cls(
            pull_seconds=float(told.get(PULL_SECONDS, "0")),
            pull_error=told.get(PULL_ERROR, ""),
            oom_seconds=None if oom is None else float(oom),
            refuse=told.get(REFUSE, ""),
        )
