"""A workload that can be scaled, as far as it matters here; and the marks we leave on it.

Decides what of it makes a prepared order outdated (`fence`). Scaling it is the driver's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from activator.core.declarations import EPOCH, REMEMBERED, said
from activator.core.selectors import Selector, selector_of


@dataclass(frozen=True, slots=True)
class Workload:
    uid: str
    name: str
    version: str
    generation: int
    """Rises with every change of what is wanted, not with what becomes of it."""
    epoch: str
    replicas: int | None
    """None: this kind keeps the count elsewhere, its scale knows."""
    remembered: int = 0
    """How many ran before it went to none; 0: not known."""
    selector: Selector | None = None
    """None: this kind does not say here, its scale may."""
    cannot_create: str = ""
    """Why its pods cannot be made (a quota, a policy), while that is so."""
    cannot_create_since: str = ""
    progress: str = ""
    """What it says about being late (`ProgressDeadlineExceeded`): advice."""
    created: str = ""
    declared: tuple[tuple[str, str], ...] = ()
    """What its annotations say about an endpoint (`declarations.said`)."""

    @property
    def fence(self) -> str:
        """Changes with a revival and with every change of what is wanted, by whomever; not with
        the pods' coming and going, which moves the version too."""
        return f"{self.generation}.{self.epoch}"


def read_workload(raw: dict[str, Any]) -> Workload:
    """From a Deployment, a StatefulSet, or any other kind with a scale subresource."""
    metadata, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    annotations = metadata.get("annotations") or {}
    conditions = {each["type"]: each for each in status.get("conditions") or () if "type" in each}
    failing = conditions.get("ReplicaFailure", {})
    is_failing = failing.get("status") == "True"
    progressing = conditions.get("Progressing", {})
    is_late = progressing.get("reason") == "ProgressDeadlineExceeded"
    replicas = spec.get("replicas")
    return Workload(
        uid=metadata["uid"],
        name=metadata["name"],
        version=metadata["resourceVersion"],
        generation=int(metadata.get("generation") or 0),
        epoch=annotations.get(EPOCH, ""),
        replicas=replicas if isinstance(replicas, int) else None,
        remembered=_count(annotations.get(REMEMBERED)),
        # elsewhere `spec.selector` may mean anything
        selector=selector_of(spec.get("selector")) if _is_of_apps(raw) else None,
        cannot_create=(failing.get("message") or "") if is_failing else "",
        cannot_create_since=(failing.get("lastTransitionTime") or "") if is_failing else "",
        progress=(progressing.get("message") or "") if is_late else "",
        created=metadata.get("creationTimestamp") or "",
        declared=said(annotations),
    )


def _is_of_apps(raw: dict[str, Any]) -> bool:
    """Objects of a list do not say their kind; a pod template beside the selector does."""
    spec = raw.get("spec") or {}
    selector = spec.get("selector")
    told = isinstance(selector, dict) and (
        "matchLabels" in selector or "matchExpressions" in selector
    )
    return told and "template" in spec


def _count(told: str | None) -> int:
    try:
        return max(0, int(told or 0))
    except ValueError:
        return 0
