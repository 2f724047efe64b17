"""What a change of configuration does to endpoints that run, in virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from activator.core.endpoint import ProcessBackend
from activator.errors import NoRoute
from tests.unit.control.house import endpoint, house
from tests.unit.control.world import Caller

if TYPE_CHECKING:
    from tests.unit.control.house import House

pytestmark = pytest.mark.looptime

OTHER = ProcessBackend(("another-model", "{port}"))
THIRD = ProcessBackend(("yet-another", "{port}"))


async def served(h: House, caller: Caller) -> str:
    await h.world.until(lambda: caller.replica)
    assert caller.replica is not None
    return caller.replica.id


async def test_an_unchanged_endpoint_is_left_alone() -> None:
    async with house(endpoint()) as h:
        control = h.control()
        caller = h.call()
        await served(h, caller)
        await h.supervisor.apply([endpoint()])

        assert h.control() is control
        assert caller.replica is not None
        caller.done()


async def test_an_endpoint_that_is_added_serves() -> None:
    async with house(endpoint()) as h:
        await h.supervisor.apply([endpoint(), endpoint("n")])
        caller = h.call("n")

        assert await served(h, caller) == "n.1-1"
        assert [each.name for each in h.supervisor.all()] == ["m", "n"]
        assert dict(h.supervisor.by_name) == {each.name: each for each in h.supervisor.all()}
        caller.done()


async def test_a_removed_endpoint_tells_who_waits_and_lets_what_runs_finish() -> None:
    async with house(endpoint()) as h:
        running, waiting = h.call(), h.call()
        await served(h, running)
        await h.supervisor.apply([])

        assert isinstance(waiting.error, NoRoute)
        assert h.registry.get("m") is None
        assert h.supervisor.get("m") is None
        await asyncio.sleep(100.0)
        assert list(h.drivers[0].running) == ["m.0-1"]
        running.done()
        await h.world.until(lambda: not h.drivers[0].running, within=1.0)


async def test_who_comes_back_in_line_at_a_removed_endpoint_is_told() -> None:
    async with house(endpoint()) as h:
        running = h.call()
        await served(h, running)
        gate = h.registry["m"].gate
        await h.supervisor.apply([])
        late = Caller(gate)  # as a request that a replica has failed
        await h.world.until(lambda: late.error, within=1.0)

        assert isinstance(late.error, NoRoute)
        running.done()


async def test_another_backend_begins_when_the_old_replicas_have_finished() -> None:
    async with house(endpoint()) as h:
        running, waiting = h.call(), h.call()
        await served(h, running)
        await h.supervisor.apply([endpoint(backend=OTHER)])
        await asyncio.sleep(100.0)

        assert waiting.replica is None
        assert waiting.error is None
        assert list(h.drivers[0].running) == ["m.0-1"]
        assert h.drivers[1].calls == []
        running.done()
        assert await served(h, waiting) == "m.1-1"
        assert not h.drivers[0].running
        assert [call.replicas for call in h.drivers[0].calls] == [1]
        waiting.done()


async def test_a_backend_changed_twice_while_the_first_finishes_starts_the_last_only() -> None:
    async with house(endpoint()) as h:
        running, waiting = h.call(), h.call()
        await served(h, running)
        await h.supervisor.apply([endpoint(backend=OTHER)])
        await asyncio.sleep(1.0)
        await h.supervisor.apply([endpoint(backend=THIRD)])
        await asyncio.sleep(1.0)
        running.done()

        assert await served(h, waiting) == "m.2-1"
        assert h.drivers[1].calls == []
        waiting.done()
        await asyncio.sleep(1000.0)
        assert h.drivers[2].running == ()  # idle: it still hears of its demand


async def test_removed_and_added_again_it_begins_when_the_old_replicas_have_finished() -> None:
    async with house(endpoint()) as h:
        running = h.call()
        await served(h, running)
        await h.supervisor.apply([])
        await h.supervisor.apply([endpoint()])
        waiting = h.call()
        await asyncio.sleep(50.0)
        assert waiting.replica is None
        running.done()

        assert await served(h, waiting) == "m.1-1"
        waiting.done()


async def test_limits_change_in_place() -> None:
    async with house(endpoint()) as h:
        callers = [h.call() for _ in range(3)]
        await served(h, callers[0])
        await h.supervisor.apply([replace(endpoint(), concurrency=3)])
        await h.world.until(lambda: all(caller.replica for caller in callers))

        assert len(h.drivers) == 1
        assert "changed: concurrency" in h.world.events.since(0)[-1].reason
        for caller in callers:
            caller.done()


async def test_closing_ends_what_still_finishes() -> None:
    async with house(endpoint(), endpoint("n")) as h:
        running = [h.call(), h.call("n")]
        for caller in running:
            await served(h, caller)
        await h.supervisor.apply([endpoint(backend=OTHER)])
        await h.supervisor.aclose()

        assert h.drivers[0].running == h.drivers[1].running == ()
        for caller in running:
            caller.done()


async def test_closing_in_the_moment_of_a_change_leaves_nothing_running() -> None:
    async with house(endpoint()) as h:
        running = h.call()
        await served(h, running)
        await h.supervisor.apply([])
        await h.supervisor.aclose()

        assert not h.drivers[0].running
        running.done()
