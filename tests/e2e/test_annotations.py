"""A Deployment that says it is an endpoint, with the rights that this takes and no others."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from tests.e2e import audit
from tests.e2e.fleet import ACCOUNT, fleet, rules
from tests.e2e.manifests import NAME, deployment
from tests.e2e.space import wants
from tests.stage import request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.e2e.api import Json
    from tests.e2e.control_plane import ControlPlane
    from tests.e2e.space import Space
    from tests.rawclient import Reply
    from tests.several import Activator

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


async def until_told(space: Space, *reasons: str, about: str = "") -> list[Json]:
    """The events with these reasons, once there is one of each; `about` one object."""
    deadline = time.monotonic() + 20.0
    while True:
        found = [
            each
            for each in await space.events()
            if each["reason"] in reasons and about in {"", each["involvedObject"]["name"]}
        ]
        if {each["reason"] for each in found} == set(reasons):
            return found
        assert time.monotonic() < deadline, f"told: {[each['reason'] for each in found]}"
        await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def declaring(hosts: str, *spaces: Space) -> AsyncIterator[Activator]:
    """An activator that knows no endpoint but those that namespaces declare: the first one within
    `hosts`, others whatever they like."""
    first, *others = spaces
    claims = {first.name: hosts} | dict.fromkeys((each.name for each in others), "*")
    allow = {name: {"hosts": [claim], "models": ["*"]} for name, claim in claims.items()}
    root = {"sources": {"kubernetes": {"namespaces": list(allow), "allow": allow}}}
    access = await first.account(ACCOUNT, rules=[*rules(), *MORE], also=others)
    async with fleet(first, access=access, endpoints=[], root=root) as activators:
        yield activators[0]


async def ask(activator: Activator, host: str) -> Reply:
    return await activator.ask(request("/", host=host), within=40.0)


async def until_answered_by(activator: Activator, host: str, pods_of: str) -> None:
    """The model of this Deployment answers requests for the host."""
    deadline = time.monotonic() + 30.0
    while not (reply := await ask(activator, host)).body.decode().startswith(f"{pods_of}-"):
        assert time.monotonic() < deadline, reply
        await asyncio.sleep(0.05)


async def say(space: Space, name: str, **words: str) -> None:
    said = {f"activator.dev/{key.replace('_', '-')}": text for key, text in words.items()}
    await space.api.merge("Deployment", space.name, name, {"metadata": {"annotations": said}})


async def test_a_namespace_claims_what_it_is_allowed_and_nothing_else(space: Space) -> None:
    await space.apply(
        annotated("ours", hosts="llama.ours.example"),
        annotated("theirs", hosts="llama.theirs.example"),
        annotated("all"),
    )
    async with declaring("*.ours.example", space) as activator:
        await until_answered_by(activator, "llama.ours.example", "ours")
        (theirs,) = await until_told(space, "EndpointRefused", about="theirs")
        (all_,) = await until_told(space, "EndpointRefused", about="all")

        assert (await ask(activator, "llama.theirs.example")).why == "no_route"
        assert (await ask(activator, "somebody.example")).why == "no_route"
        assert "may not claim host llama.theirs.example" in theirs["message"]
        assert "may not claim" in all_["message"]

        await say(space, "theirs", hosts="mended.ours.example")
        await until_answered_by(activator, "mended.ours.example", "theirs")
        await until_told(space, "EndpointAccepted", about="theirs")


async def test_of_two_the_oldest_wins_and_the_other_is_told_and_takes_over_when_it_goes(
    space: Space, neighbour: Space
) -> None:
    await neighbour.apply(annotated("zebra", hosts="llama.example"))
    await space.until_younger_than(await neighbour.get("Deployment", "zebra"))
    await space.apply(annotated("ant", hosts="llama.example"))
    async with declaring("*", space, neighbour) as activator:
        await until_answered_by(activator, "llama.example", "zebra")
        (told,) = await until_told(space, "EndpointRefused")
        assert told["involvedObject"]["name"] == "ant"
        assert f"{neighbour.name}.zebra" in told["message"]

        await neighbour.api.delete("Deployment", neighbour.name, "zebra")

        await until_answered_by(activator, "llama.example", "ant")


async def test_nobody_takes_a_host_over_from_a_namespace_that_it_was_not_given(
    space: Space, neighbour: Space
) -> None:
    await space.apply(annotated("thief", hosts="llama.theirs.example"))
    await space.until_younger_than(await space.get("Deployment", "thief"))
    await neighbour.apply(annotated(NAME, hosts="llama.theirs.example"))
    async with declaring("*.ours.example", space, neighbour) as activator:
        await until_told(space, "EndpointRefused", about="thief")

        await until_answered_by(activator, "llama.theirs.example", NAME)
        assert wants(0)(await space.get("Deployment", "thief"))


async def test_a_change_takes_effect_without_a_restart_and_a_wrong_one_is_refused_alone(
    space: Space,
) -> None:
    await space.apply(annotated(NAME, hosts="before.example", idle_timeout="10m"))
    async with declaring("*", space) as activator:
        await until_answered_by(activator, "before.example", NAME)
        (pod,) = await space.pods()

        await say(space, NAME, hosts="after.example")
        await until_answered_by(activator, "after.example", NAME)
        assert (await ask(activator, "before.example")).why == "no_route"

        await say(space, NAME, hosts="wrong.example", idle_timeout="soon")
        (refused,) = await until_told(space, "EndpointRefused")
        assert refused["message"].startswith("activator.dev/idle-timeout:")
        assert (await ask(activator, "after.example")).status == 200
        (same,) = await space.pods()
        assert same["metadata"]["uid"] == pod["metadata"]["uid"]

        await say(space, NAME, hosts="after.example", idle_timeout="1s")
        await space.until("Deployment", NAME, wants(0))

        await say(space, NAME, enabled="false")
        await activator.until_logged("removed")
        assert (await ask(activator, "after.example")).why == "no_route"


async def test_it_is_woken_and_put_to_sleep_and_told_so_and_what_is_wrong_is_told(
    space: Space, control_plane: ControlPlane
) -> None:
    await space.apply(annotated(NAME, idle_timeout="1s"), annotated("wrong", concurrency="many"))
    async with declaring("*", space) as activator:
        (refused,) = await until_told(space, "EndpointRefused")
        reply = await activator.get("/hello", within=40.0)
        await space.until("Deployment", NAME, wants(0))
        told = await until_told(space, "Activated", "Deactivated")

    assert reply.status == 200
    assert refused["involvedObject"]["name"] == "wrong"
    assert refused["message"] == "activator.dev/concurrency: must be a whole number"
    assert {each["involvedObject"]["name"] for each in told} == {NAME}
    calls = audit.calls(control_plane.audit_log, namespace=space.name)
    assert [each for each in calls if each.user == ACCOUNT and each.status == 403] == []
