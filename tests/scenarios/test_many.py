"""Many replicas of one endpoint, and many endpoints of which nobody wants anything."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from activator.control.controller import Controller
from activator.core.lifecycle import Lifecycle
from tests.replica import hello
from tests.support import eventually
from tests.town import spawn, town

if TYPE_CHECKING:
    import pytest

    from tests.replica import Talk


class Patient:
    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def __call__(self, talk: Talk) -> None:
        if talk.heard.target == b"/long":
            await self.go_on.wait()
        await hello(talk)


async def test_a_burst_beyond_one_replica_starts_more_and_then_they_go_as_they_finish(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("activator.core.autoscaling", "activator.core.demand"):
        monkeypatch.setattr(f"{module}.STABLE_WINDOW", 0.6)
    monkeypatch.setattr("activator.core.demand.PANIC_WINDOW", 0.1)
    monkeypatch.setattr("activator.core.autoscaling.TICK", 0.05)
    monkeypatch.setattr("activator.core.resizing.SETTLES_AFTER", 0.1)
    behave = Patient()
    scale = {"max": 3, "targetConcurrency": 2, "downDelay": "200ms", "idleTimeout": "300ms"}
    async with town("a", behave=behave, concurrency=2, scale=scale) as t:
        running = [spawn(t.get("/long")) for _ in range(6)]
        await eventually(lambda: sum(each.in_flight for each in t.replicas_of("a")) == 6)
        assert max(t.orders("a")) == 3
        assert [each.most_in_flight for each in t.replicas_of("a")] == [2, 2, 2]
        behave.go_on.set()
        assert {reply.status for reply in await asyncio.gather(*running)} == {200}

        behave.go_on.clear()
        last = spawn(t.get("/long"))
        await eventually(lambda: t.orders("a")[-1] == 1)
        await eventually(lambda: len(t.driver_of("a").running) == 1)
        [left] = t.driver_of("a").running
        assert t.by_id[left].in_flight == 1  # the busy one has stayed
        behave.go_on.set()
        assert (await last).status == 200
        await t.until_zero("a")
        assert t.orders("a")[0] == 1
        assert t.orders("a")[-1] == 0


async def test_two_hundred_endpoints_that_nobody_wants_are_never_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = []
    look = Lifecycle.observe

    def counted(*given: object, **named: object) -> object:
        looks.append(1)
        return look(*given, **named)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(Lifecycle, "observe", counted)
    names = [f"e{number}" for number in range(200)]
    async with town(*names) as t:
        await eventually(lambda: len(looks) >= 200)
        await asyncio.sleep(0.1)
        looks.clear()
        await asyncio.sleep(1.0)
        assert looks == []

        assert (await t.get(at="e77")).status == 200
        assert {name for name in names if t.orders(name)} == {"e77"}
        assert isinstance(t.control_of("e77"), Controller)
