"""What each API key costs: requests over real sockets, divided on the admin port."""

from __future__ import annotations

import asyncio
import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.stage import stage
from tests.support import eventually
from tests.town import endpoint, town

if TYPE_CHECKING:
    from pathlib import Path

    from tests.replica import Talk
    from tests.stage import Stage

pytestmark = pytest.mark.usefixtures("each_store")


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "keys"
    lines = (f"{name}:{sha256(name.encode()).hexdigest()}\n" for name in ("alice", "bob", "carol"))
    path.write_text("".join(lines), "utf-8")
    return {"auth": {"apiKeysFile": str(path)}}


async def slow(talk: Talk) -> None:
    await talk.body()
    await asyncio.sleep(0.05)
    await talk.answer(200, b"done")


def by(name: str, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {name}", **more}


async def divided(s: Stage) -> dict[str, dict[str, Any]]:
    """By key, of today; all that has come is booked."""
    await s.app._accounts.book.tick()
    await s.app._accounts.keys.tick()
    url = f"http://127.0.0.1:{s.app.admin_port}/api/costs?by=key"
    async with aiohttp.ClientSession() as client, client.get(url) as answer:
        assert answer.status == 200
        return {each["key"]: each for each in (await answer.json())["days"]}


async def counted(s: Stage) -> dict[str, float]:
    """By key, as scraped."""
    url = f"http://127.0.0.1:{s.app.admin_port}/metrics"
    async with aiohttp.ClientSession() as client, client.get(url) as answer:
        rows = re.findall(
            r'^activator_key_cost_total\{.*key="(\w*)"\} (\S+)$', await answer.text(), re.M
        )
    return {key: float(cost) for key, cost in rows}


async def test_whoever_wakes_uses_or_keeps_an_endpoint_pays_for_it(keys: dict[str, Any]) -> None:
    async with stage(slow, from_zero=True, config=keys, costPerReplicaHour=3600) as s:
        assert s.driver is not None
        s.driver.start_delay = 0.2
        assert (await s.get(headers=by("alice"))).status == 200
        await asyncio.gather(*(s.get(headers=by("bob")) for _ in range(4)))
        await eventually(lambda: not s.live.gate.in_flight)
        async with asyncio.timeout(5):
            while (told := await divided(s))["bob"]["kept_seconds"] < 0.1:
                await asyncio.sleep(0.02)

        assert s.live.metrics.gauges is not None
        gauges = s.live.metrics.gauges()
        assert gauges.replicas == {"ready": 1}
        assert gauges.key_seconds["alice", "wait"] > 0
        assert gauges.key_seconds["bob", "slot"] > 0
        alice, bob = told["alice"], told["bob"]
        assert (alice["requests"], bob["requests"]) == (1, 4)
        assert alice["wait_seconds"] > 0.15
        assert bob["wait_seconds"] == 0
        assert 0.05 <= alice["slot_seconds"] < bob["slot_seconds"]
        assert bob["slot_seconds"] >= 0.2
        assert alice["replica_seconds"] >= 0.15
        assert alice["cost"] == pytest.approx(alice["replica_seconds"])  # 1 for a second
        assert "" not in told

        await s.app._accounts.key_costs.tick()
        charged = await counted(s)
        assert charged.keys() == {"alice", "bob"}
        assert charged["alice"] >= alice["cost"] * 0.5
        now = sum(each["cost"] for each in (await divided(s)).values())
        assert alice["cost"] + bob["cost"] <= sum(charged.values()) <= now


async def test_jobs_cost_their_keys_too_and_questions_that_wake_nothing_do_not(
    keys: dict[str, Any],
) -> None:
    async with stage(slow, config=keys) as s:
        posted = await s.post(b"in", headers=by("carol", Prefer="respond-async"))
        assert posted.status == 202
        job = f"/.activator/jobs/{posted.json()['id']}"
        await eventually(lambda: s.replica.requests, within=8.0)
        async with asyncio.timeout(8):
            while (await s.get(job, headers=by("carol"))).json()["state"] != "succeeded":
                await asyncio.sleep(0.01)
        await s.get("/favicon.ico", headers=by("bob"))
        told = await divided(s)
        assert told["carol"]["requests"] == 1
        assert told["carol"]["slot_seconds"] >= 0.05
        assert "bob" not in told


async def test_a_request_that_a_replica_fails_is_counted_wherever_it_was(
    keys: dict[str, Any],
) -> None:
    async def fails(talk: Talk) -> None:
        await talk.body()
        if len(s.replicas[0].requests) + len(s.replicas[1].requests) < 2:
            await talk.close()
        else:
            await slow(talk)

    async with stage(fails, replicas=2, config=keys) as s:
        assert (await s.get(headers=by("bob"))).status == 200
        told = await divided(s)
        assert told["bob"]["requests"] == 2
        meter: Any = s.live.keys
        assert meter._open == 0


async def test_what_a_fallback_answers_is_used_there(keys: dict[str, Any]) -> None:
    made = [endpoint("a", fallback={"endpoint": "b"}), endpoint("b")]
    async with town(endpoints=made, behave=slow, root=keys) as t:
        assert (await t.get(at="b", headers=by("carol"))).status == 200
        t.starts_ready = False
        reply = await t.get(at="a", headers=by("bob"))
        assert (reply.status, reply.get("x-activator-served-by")) == (200, b"b")
        assert t.live_of("a").keys.read(now=0.0) == {}
        await eventually(lambda: not t.live_of("b").gate.in_flight)
        used = t.live_of("b").keys.read(now=t.proxy.clock())
        assert (used["carol"].requests, used["bob"].requests) == (1, 1)
        assert used["bob"].slot_seconds >= 0.05
        t.starts_ready = True
        for replica in t.by_id.values():
            replica.ready = True
        await t.until_state("active", of="a")
