"""A Deployment that says it is an endpoint, with the rights that this takes and no others."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from tests.e2e import audit
from tests.e2e.fleet import ACCOUNT, fleet, rules
from tests.e2e.manifests import NAME, deployment
from tests.e2e.space import wants

if TYPE_CHECKING:
    from tests.e2e.api import Json
    from tests.e2e.control_plane import ControlPlane
    from tests.e2e.space import Space

MORE: list[Json] = [
    {"apiGroups": [""], "resources": ["services"], "verbs": ["list", "watch"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
]


def annotated(name: str, **words: str) -> Json:
    made = deployment(name=name)
    said = {"enabled": "true", "port": "http", "probe-path": "/health", **words}
    made["metadata"]["annotations"] = {
        f"activator.dev/{key.replace('_', '-')}": text for key, text in said.items()
    }
    return made


async def until_told(space: Space, *reasons: str) -> list[Json]:
    """The events with these reasons, once there is one of each."""
    deadline = time.monotonic() + 20.0
    while True:
        found = [each for each in await space.events() if each["reason"] in reasons]
        if {each["reason"] for each in found} == set(reasons):
            return found
        assert time.monotonic() < deadline, f"told: {[each['reason'] for each in found]}"
        await asyncio.sleep(0.05)


async def test_it_is_woken_and_put_to_sleep_and_told_so_and_what_is_wrong_is_told(
    space: Space, control_plane: ControlPlane
) -> None:
    allow = {space.name: {"hosts": ["*"], "models": ["*"]}}
    root = {"sources": {"kubernetes": {"namespaces": [space.name], "allow": allow}}}
    await space.apply(annotated(NAME, idle_timeout="1s"), annotated("wrong", concurrency="many"))
    access = await space.account(ACCOUNT, rules=[*rules(), *MORE])
    async with fleet(space, access=access, endpoints=[], root=root) as activators:
        (refused,) = await until_told(space, "EndpointRefused")
        reply = await activators[0].get("/hello", within=40.0)
        await space.until("Deployment", NAME, wants(0))
        told = await until_told(space, "Activated", "Deactivated")

    assert reply.status == 200
    assert refused["involvedObject"]["name"] == "wrong"
    assert refused["message"] == "activator.dev/concurrency: must be a whole number"
    assert {each["involvedObject"]["name"] for each in told} == {NAME}
    calls = audit.calls(control_plane.audit_log, namespace=space.name)
    assert [each for each in calls if each.user == ACCOUNT and each.status == 403] == []
