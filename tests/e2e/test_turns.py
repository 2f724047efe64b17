"""Without a Redis: activators that take turns by a Lease of a real API server."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from tests.e2e import audit
from tests.e2e.fleet import ACCOUNT, Fleet, fleet, rules
from tests.e2e.manifests import deployment
from tests.town import spawn

if TYPE_CHECKING:
    from tests.e2e.api import Json
    from tests.e2e.control_plane import ControlPlane
    from tests.e2e.space import Space
    from tests.several import Activator

ROLE = Path(__file__).parents[2] / "deploy/kubernetes/components/lease/role.yaml"
LEASE = "activator-lease"
TAKEN_WITHIN = 13.0
"""Seconds from the last sign of life of the one that serves: documented as 11, and a busy
machine's two."""


def lease_rules() -> list[Json]:
    found: list[Json] = yaml.safe_load(ROLE.read_text(encoding="utf-8"))["rules"]
    return found


async def serving(activators: Fleet, *, within: float, other_than: int = 0) -> Activator:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        for each in activators:
            if not each.runs or each.pid == other_than:
                continue
            if (await each.ask_admin("/readyz")).status == 200:
                return each
        await asyncio.sleep(0.05)
    raise AssertionError("nobody serves")


async def test_two_take_turns_with_the_rights_of_the_manifests_and_no_others(
    space: Space, control_plane: ControlPlane
) -> None:
    await space.apply(deployment())
    access = await space.account(ACCOUNT, rules=[*rules(), *lease_rules()])
    root = {"store": {"url": f"memory+lease://{space.name}/{LEASE}"}}
    async with fleet(space, access=access, root=root, scale={"idleTimeout": "2s"}) as activators:
        first = await serving(activators, within=20.0)
        (other,) = await activators.start(1)
        assert (await first.get("/cold", within=30.0)).status == 200
        assert (await other.get("/")).why == "store_unavailable"

        long = spawn(first.get("/for/3", within=30.0))
        await activators.until_in_flight(1)
        first.tell(signal.SIGTERM)
        told = time.monotonic()
        assert await serving(activators, within=10.0, other_than=first.pid) is other
        assert time.monotonic() - told < 2.0
        assert (await other.get("/")).status == 200
        assert (await long).status == 200
        assert await first.ended(within=30.0) == 0

        (third,) = await activators.start(1)
        other.process.kill()
        killed = time.monotonic()
        assert await serving(activators, within=30.0, other_than=other.pid) is third
        assert time.monotonic() - killed < TAKEN_WITHIN
        assert (await third.get("/")).status == 200

    calls = audit.calls(control_plane.audit_log, namespace=space.name)
    ours = [each for each in calls if each.user == ACCOUNT]
    assert [each for each in ours if each.status == 403] == []
    used = {each.verb for each in ours if each.resource == "leases"}
    assert used == {verb for rule in lease_rules() for verb in rule["verbs"]}
