"""The rights that the project's own role grants: they suffice, and each of them is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e import audit
from tests.e2e.fleet import ACCOUNT, endpoint, fleet, rules
from tests.e2e.manifests import NAME, deployment, service
from tests.e2e.space import is_ready, wants
from tests.town import spawn

if TYPE_CHECKING:
    from tests.e2e.control_plane import ControlPlane
    from tests.e2e.space import Space


async def test_the_role_suffices_and_none_of_it_is_unused(
    space: Space, control_plane: ControlPlane
) -> None:
    crashing = ("sh", "-c", "echo no device >&2; exit 3")
    await space.apply(
        deployment(replicas=2),
        service(),
        deployment(name="broken", command=crashing, gpus=0),
        deployment(name="set", kind="StatefulSet", gpus=0),
    )
    await space.until_pods(lambda them: len(them) == 2 and all(map(is_ready, them)))
    several = {"max": 2, "targetConcurrency": 1, "downDelay": "500ms"}
    brief = {"idleTimeout": "1s"}
    endpoints = [
        endpoint(space.name, service=NAME, concurrency=1, scale=several | brief),
        endpoint(space.name, name="broken"),
        endpoint(space.name, name="set", kind="StatefulSet", scale=brief),
    ]
    async with fleet(space, endpoints=endpoints) as activators:
        working = spawn(activators[0].get("/for/6", within=40.0))
        in_a_set = spawn(activators[0].get("/set", within=40.0))
        broken = await activators[0].get("/broken", within=60.0)
        await space.until("Deployment", NAME, wants(0))
        await space.until("StatefulSet", "set", wants(0))
        # what is told of a start is the same once more: its event is counted up
        assert (await activators[0].get("/set", within=40.0)).status == 200
        await space.until("StatefulSet", "set", wants(0))
        assert (await working).status == (await in_a_set).status == 200

    assert "no device" in broken.json()["detail"]
    calls = audit.calls(control_plane.audit_log, namespace=space.name)
    ours = [each for each in calls if each.user == ACCOUNT]
    assert [each for each in ours if each.status == 403] == []
    used = {(each.group, each.resource, each.verb) for each in ours}
    granted = {
        (group, resource, verb)
        for rule in rules()
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert used == granted
