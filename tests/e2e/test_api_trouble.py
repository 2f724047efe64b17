"""The cluster's API is away, cut off, silent or forbidding: what runs goes on, the rest waits."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import TYPE_CHECKING

from tests.e2e import audit
from tests.e2e.control_plane import API_PORT
from tests.e2e.fleet import ACCOUNT, endpoint, fleet, rules
from tests.e2e.manifests import NAME, deployment
from tests.e2e.space import container, is_ready, wants
from tests.faulty_proxy import FaultyProxy
from tests.town import spawn

if TYPE_CHECKING:
    from tests.e2e.api import Access
    from tests.e2e.control_plane import ControlPlane
    from tests.e2e.space import Space

IDLE = "700ms"
OUTAGE = 30.0
"""Seconds."""
SOON = 2.0
"""Seconds."""


async def test_half_a_minute_without_the_api_server_is_a_wait_for_the_cold_and_nothing_to_the_warm(
    space: Space, control_plane: ControlPlane
) -> None:
    await space.apply(deployment(replicas=1), deployment(name="cold"))
    await space.until_pod(is_ready)
    endpoints = [
        endpoint(space.name, scale={"idleTimeout": IDLE}),
        endpoint(space.name, name="cold"),
    ]
    async with fleet(space, endpoints=endpoints) as activators:
        assert (await activators[0].get("/warm")).status == 200
        control_plane.api_server.kill()
        try:
            held = spawn(activators[0].get("/cold", within=OUTAGE + 90.0))
            loop = asyncio.get_running_loop()
            until = loop.time() + OUTAGE
            while loop.time() < until:
                assert (await activators[0].get("/warm")).status == 200
                await asyncio.sleep(0.1)  # the pace of a client, not a wait
            assert not held.done()
        finally:
            control_plane.back_after_long()
        back = time.time()

        pod = await space.until_pod(lambda pod: pod["metadata"]["labels"]["app"] == "cold")
        (order,) = audit.rescalings(control_plane.audit_log, namespace=space.name, name="cold")
        assert order.at - back < SOON

        name = pod["metadata"]["name"]
        await space.until("Pod", name, lambda it: "running" in container(it).get("state", {}))
        runs = time.time()
        reply = await held
        assert (reply.status, reply.body.decode()) == (200, name)
        assert time.time() - runs < SOON
        await space.until("Deployment", NAME, wants(0))
        assert (await activators[0].get("/again", within=30.0)).status == 200


async def through(proxy: FaultyProxy, space: Space) -> Access:
    """The project's role, by a way that a test can cut."""
    access = await space.account(ACCOUNT, rules=rules())
    return dataclasses.replace(access, server=f"https://127.0.0.1:{proxy.port}")


async def test_cut_and_silent_watches_are_renewed(
    space: Space, control_plane: ControlPlane
) -> None:
    await space.apply(deployment())
    async with (
        FaultyProxy(API_PORT) as proxy,
        fleet(space, access=await through(proxy, space), scale={"idleTimeout": IDLE}) as activators,
    ):
        for number in range(3):
            proxy.cut()
            assert (await activators[0].get(f"/{number}", within=30.0)).status == 200
            proxy.cut()
            await space.until("Deployment", NAME, wants(0))


async def test_without_rights_the_error_says_so_and_the_api_server_is_left_in_peace(
    space: Space, control_plane: ControlPlane
) -> None:
    await space.apply(deployment())
    powerless = await space.account("powerless", rules=[])
    async with fleet(space, access=powerless, scale={"startTimeout": "6s"}) as activators:
        reply = await activators[0].get("/cold", within=60.0)

    assert reply.status == 503
    assert "forbidden" in reply.json()["detail"]
    calls = audit.calls(control_plane.audit_log, namespace=space.name)
    denied = [each for each in calls if each.user == "powerless"]
    assert {each.status for each in denied} == {403}
    assert len(denied) < 60
