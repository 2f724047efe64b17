"""What operators do through the admin API while requests wait and run."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import aiohttp

from tests.replica import hello
from tests.support import eventually
from tests.town import spawn, town

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.replica import Talk
    from tests.town import Town


@contextlib.asynccontextmanager
async def operator(t: Town) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{t.app.admin_port}") as session:
        yield session


async def tell(t: Town, verb: str, *, of: str = "a", **body: Any) -> int:
    async with operator(t) as api, api.post(f"/api/endpoints/{of}/{verb}", json=body) as answer:
        await answer.read()
        return answer.status


class Patient:
    """A behaviour that answers once `go_on` is set."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def __call__(self, talk: Talk) -> None:
        await self.go_on.wait()
        await hello(talk)


async def test_an_operator_activates_and_deactivates() -> None:
    async with town("a") as t:
        assert await tell(t, "activate") < 300
        await t.until_state("active")
        assert await tell(t, "deactivate") < 300
        await t.until_zero("a")

        assert t.orders("a") == [1, 0]
        assert (await t.get()).status == 200


async def test_deactivating_with_demand_is_a_conflict_and_changes_nothing() -> None:
    behave = Patient()
    async with town("a", behave=behave) as t:
        running = spawn(t.get())
        await eventually(lambda: t.by_id and t.replicas_of("a")[0].in_flight)

        assert await tell(t, "deactivate") == 409
        behave.go_on.set()
        assert (await running).status == 200
        assert t.orders("a") == [1]


async def test_deactivating_by_force_cuts_what_runs_and_who_waits_starts_it_anew() -> None:
    behave = Patient()
    async with town("a", behave=behave, concurrency=1) as t:
        running = spawn(t.get(method="POST"))
        await eventually(lambda: t.by_id and t.replicas_of("a")[0].in_flight)
        waiting = spawn(t.get("/waiting"))
        await eventually(lambda: t.status_of("a").held == 1)

        assert await tell(t, "deactivate", force=True) < 300
        cut = await running
        assert (cut.status, cut.why) == (502, "upstream_unreachable")
        behave.go_on.set()
        assert (await waiting).status == 200
        assert t.orders("a") == [1, 0, 1]


async def test_a_paused_endpoint_holds_what_comes_and_serves_it_when_it_is_resumed() -> None:
    async with town("a") as t:
        assert await tell(t, "pause") < 300
        waiting = [spawn(t.get(f"/{number}")) for number in range(3)]
        await eventually(lambda: t.status_of("a").held == 3)
        await asyncio.sleep(0.1)
        assert t.orders("a") == []
        assert t.status_of("a").paused

        assert await tell(t, "resume") < 300
        assert {reply.status for reply in await asyncio.gather(*waiting)} == {200}


async def test_pausing_a_warm_endpoint_holds_what_comes_and_lets_what_runs_finish() -> None:
    behave = Patient()
    async with town("a", behave=behave) as t:
        running = spawn(t.get())
        await eventually(lambda: t.by_id and t.replicas_of("a")[0].in_flight)
        await tell(t, "pause")
        waiting = spawn(t.get("/waiting"))
        await eventually(lambda: t.status_of("a").held == 1)
        behave.go_on.set()
        assert (await running).status == 200
        await asyncio.sleep(0.1)
        assert not waiting.done()

        await tell(t, "resume")
        assert (await waiting).status == 200


async def test_at_the_bound_and_at_the_queues_timeout_a_paused_endpoint_says_so() -> None:
    async with town("a", queue={"maxRequests": 1, "timeout": "400ms"}) as t:
        await tell(t, "pause")
        waiting = spawn(t.get())
        await eventually(lambda: t.status_of("a").held == 1)
        beyond = await t.get()
        assert (beyond.status, beyond.why) == (503, "paused")

        told = await waiting
        assert (told.status, told.why) == (503, "paused")
        assert told.get("retry-after") is not None


async def test_activating_a_paused_endpoint_is_a_conflict() -> None:
    async with town("a") as t:
        await tell(t, "pause")

        assert await tell(t, "activate") == 409


async def test_readiness_and_the_list_tell_the_truth() -> None:
    async with town("a", "b") as t:
        await t.get(at="b")
        await t.until_state("active", of="b")
        async with operator(t) as api:
            assert (await api.get("/readyz")).status == 200
            listed = await (await api.get("/api/endpoints")).json()
            text = await (await api.get("/metrics")).text()

        rows = listed["endpoints"] if isinstance(listed, dict) else listed
        assert {row["name"]: row["state"] for row in rows} == {"a": "inactive", "b": "active"}
        assert 'activator_requests_total{code="200",endpoint="b",reason=""} 1.0' in text
