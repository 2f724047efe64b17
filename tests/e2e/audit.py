"""What service accounts have asked of the API server, from its own audit log."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from tests.e2e.manifests import NAME

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.api import Json

_WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True, slots=True)
class Call:
    """One that has been answered."""

    user: str
    """The service account's name."""
    verb: str
    group: str
    resource: str
    """With its subresource, as in a role: `deployments/scale`."""
    name: str
    status: int
    at: float
    """When it came, in Unix time."""
    body: object

    @property
    def writes(self) -> bool:
        """Successfully."""
        return self.verb in _WRITES and self.status < 400


def calls(log: Path, *, namespace: str) -> list[Call]:
    """Those that concern objects of a namespace, in the order of their answers: of a watch, when
    it began."""
    found, known = [], set()
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            event: Json = json.loads(line)
        except ValueError:
            continue  # what a killed API server was about to write
        about: Json = event.get("objectRef", {})
        if about.get("namespace") != namespace or event["auditID"] in known:
            continue
        known.add(event["auditID"])
        parts = (about["resource"], about.get("subresource", ""))
        found.append(
            Call(
                user=event["user"]["username"].rpartition(":")[2],
                verb=event["verb"],
                group=about.get("apiGroup", ""),
                resource="/".join(filter(None, parts)),
                name=about.get("name", ""),
                status=event["responseStatus"]["code"],
                at=datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp(),
                body=event.get("requestObject"),
            )
        )
    return found


def rescalings(log: Path, *, namespace: str, name: str = NAME) -> list[Call]:
    """Of a Deployment: the patches that were taken."""
    return [
        each
        for each in calls(log, namespace=namespace)
        if (each.resource, each.name) == ("deployments/scale", name) and each.writes
    ]
