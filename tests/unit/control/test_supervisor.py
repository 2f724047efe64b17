"""What a change of configuration does to endpoints that run, in virtual time."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import ref

import pytest

from activator.control.controller import Controller
from activator.core.endpoint import Match, ProbePolicy, ProcessBackend
from activator.errors import NoRoute
from activator.upstream.registry import LiveEndpoint
from tests.faults import Faulty
from tests.slicing import counted
from tests.town import spawn
from tests.unit.control.house import endpoint, house
from tests.unit.control.world import Caller

if TYPE_CHECKING:
    from activator.core.endpoint import Endpoint
    from activator.core.routing import Routed
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


def many(count: int, *, since: int = 0, concurrency: int = 1) -> list[Endpoint]:
    return [
        replace(endpoint(f"e{number}"), match=Match((f"e{number}",)), concurrency=concurrency)
        for number in range(since, since + count)
    ]


def found(h: House, host: str) -> Routed | None:
    return h.registry.routes.match(host=host, path="/", headers=lambda _: None)


async def test_however_many_are_added_changed_or_removed_others_have_their_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with house() as h:
        for wanted in (many(200), many(200, concurrency=2), many(200, since=200)):
            with counted(monkeypatch) as turns:
                for name in ("_add", "_change", "_remove"):
                    turns.step_with(monkeypatch, h.supervisor, name)
                await h.supervisor.apply(wanted)
            assert turns.steps >= 200
            assert turns.longest == 1


async def test_halfway_every_route_leads_to_an_endpoint_that_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with house(*many(50)) as h:
        seen: set[tuple[bool, bool]] = set()

        def look() -> None:
            there = [host for host in (f"e{number}" for number in range(75)) if found(h, host)]
            for host in there:
                assert host in h.registry._live
            seen.add(("e0" in there, "e74" in there))

        with counted(monkeypatch) as turns:
            turns.told = look
            await h.supervisor.apply(many(50, since=25))

        assert seen == {(True, False), (False, True)}


async def test_a_configuration_waits_until_the_one_before_is_in_force(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with house() as h:
        with counted(monkeypatch):
            first = spawn(h.supervisor.apply(many(50)))
            await asyncio.sleep(0)
            await h.supervisor.apply(many(10, since=20))

        assert first.done()
        assert {each.name for each in h.supervisor.all()} == {f"e{n}" for n in range(20, 30)}
        assert {each.endpoint.name for each in h.registry} == {f"e{n}" for n in range(20, 30)}
        assert found(h, "e0") is None
        assert found(h, "e29") is not None


@pytest.mark.parametrize("fails", ["_make_controller", "_let_go"])
async def test_a_change_of_the_backend_that_met_a_fault_halfway_is_begun_again(
    fails: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(endpoint()) as h:
        running = h.call()
        await served(h, running)
        Faulty(monkeypatch, h.supervisor, fails)
        with pytest.raises(RuntimeError):
            await h.supervisor.apply([endpoint(backend=OTHER)])
        await h.supervisor.apply([endpoint(backend=OTHER)])
        waiting = h.call()
        await asyncio.sleep(1.0)
        running.done()

        assert (await served(h, waiting)).startswith("m.")
        assert h.control().live.endpoint.backend == OTHER
        assert not h.drivers[0].running
        waiting.done()


async def test_a_change_in_place_that_met_a_fault_halfway_is_begun_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with house(endpoint()) as h:
        Faulty(monkeypatch, h.control().prober, "reconfigure")
        slower = replace(endpoint(), probe=ProbePolicy(interval=7.0), stall=77.0)
        with pytest.raises(RuntimeError):
            await h.supervisor.apply([slower])
        await h.supervisor.apply([slower])

        assert h.control().prober.stall == 77.0


async def test_whatever_becomes_of_an_endpoint_it_is_closed_once_it_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed: list[LiveEndpoint] = []

    def close(live: LiveEndpoint) -> None:
        closed.append(live)

    monkeypatch.setattr(LiveEndpoint, "close", close)
    async with house(endpoint()) as h:
        running, first = h.call(), h.registry["m"]
        await served(h, running)
        await h.supervisor.apply([])
        await h.supervisor.apply([endpoint()])
        second = h.registry["m"]
        await h.supervisor.apply([])  # the second had not begun
        assert closed == [second]
        await h.supervisor.apply([endpoint()])
        third = h.registry["m"]
        running.done()
        await asyncio.sleep(1.0)

        assert closed == [second, first]
        await h.supervisor.apply([endpoint(backend=OTHER)])
        await h.supervisor.apply([endpoint(backend=THIRD)])
        await asyncio.sleep(1.0)
        assert closed == [second, first]  # it goes on with other replicas
    assert closed == [second, first, third]


async def test_one_that_has_finished_does_not_look_at_all_the_others() -> None:
    class Counted(dict[str, Controller]):
        looks = 0

        def values(self) -> Any:
            self.looks += 1
            return super().values()

    async with house(*many(100)) as h:
        there = h.supervisor._controllers = Counted(h.supervisor._controllers)
        await h.supervisor.apply(many(50))
        await h.world.until(lambda: not h.supervisor._finishing)

        assert len(there) == 50
        assert there.looks == 0


async def test_one_that_is_replaced_before_it_began_is_freed_at_once() -> None:
    """Those that come and go while a request runs are not to wait for the collector."""
    async with house(endpoint()) as h:
        running = h.call()
        await served(h, running)
        gc.collect()
        gc.disable()
        try:
            await h.supervisor.apply([endpoint(backend=OTHER)])
            waiting = ref(h.control())
            await h.supervisor.apply([endpoint(backend=THIRD)])
            await h.world.until(lambda: waiting() is None)
        finally:
            gc.enable()

        assert h.supervisor._finishing
        running.done()
        late = h.call()
        assert (await served(h, late)).startswith("m.2")
        late.done()


async def test_one_that_is_replaced_while_it_drains_leaves_nobody_waiting_at_a_held_gate() -> None:
    async with house(endpoint()) as h:
        await served(h, first := h.call())
        first.done()
        assert await h.world.board.ask_quiet("m")
        held = h.call()
        await h.supervisor.apply([endpoint(backend=OTHER)])

        assert await served(h, held) == "m.1-1"
        held.done()


@pytest.mark.parametrize("of_what", ["board", "wishes"])
async def test_an_end_that_meets_a_fault_of_ours_keeps_the_next_one_from_nothing(
    monkeypatch: pytest.MonkeyPatch, of_what: str
) -> None:
    async with house(endpoint()) as h:
        await served(h, running := h.call())
        replaced = h.control()
        Faulty(monkeypatch, getattr(h.world, of_what), "leave")
        await h.supervisor.apply([endpoint(backend=OTHER)])
        await asyncio.sleep(0)
        running.done()
        late = h.call()

        assert await served(h, late) == "m.1-1"
        late.done()
        assert not h.supervisor._finishing
        assert replaced.account.usage() == replaced.account._told


async def test_one_whose_end_fails_altogether_is_followed_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with house(endpoint()) as h:
        await served(h, running := h.call())
        Faulty(monkeypatch, h.control(), "aclose", after=True)
        await h.supervisor.apply([endpoint(backend=OTHER)])
        await asyncio.sleep(0)
        running.done()
        late = h.call()

        assert await served(h, late) == "m.1-1"
        late.done()
