"""One endpoint's loop, in virtual time: starts that fail, orders refused, replicas ejected."""

from __future__ import annotations

import asyncio

import pytest

from activator.control.errands import Errands
from activator.core.effects import FailedStart
from activator.core.endpoint import ScalePolicy
from activator.core.readiness import Answer
from activator.errors import StartFailed
from tests.faults import Faulty
from tests.unit.control.world import world

pytestmark = pytest.mark.looptime


async def test_starts_that_fail_are_told_with_their_cause_until_the_breaker_closes() -> None:
    async with world() as w:
        cause = FailedStart("exited with 3", exit_code=3, last_lines=("no such device",))
        w.driver.fail_next(cause, times=3)
        caller = w.call()
        await w.until(lambda: caller.error)

        assert w.clock() < 10.0
        assert isinstance(caller.error, StartFailed)
        assert "exited with 3" in caller.error.detail
        assert "no such device" in caller.error.detail
        refusal = w.live.refusal()
        assert refusal is not None
        assert refusal[0] == cause

        await w.until(lambda: w.live.refusal() is None)
        await w.serve()


async def test_a_crash_with_demand_is_replaced_and_without_it_is_not() -> None:
    async with world(concurrency=1) as w:
        first, second = w.call(), w.call()
        await w.until(lambda: first.replica)
        await asyncio.sleep(10.0)
        w.driver.crash("m-1")
        await w.until(lambda: not w.live.replicas)
        first.done()
        await w.until(lambda: second.replica)
        assert second.replica is not None
        assert second.replica.id == "m-2"
        second.done()
        await asyncio.sleep(10.0)

        w.driver.crash("m-2")
        await w.until(lambda: w.state == "inactive")
        await asyncio.sleep(100.0)
        assert w.orders == [1, 1]


async def test_an_order_that_is_refused_is_given_again_and_nobody_hears_of_it() -> None:
    async with world() as w:
        w.driver.refuse_next("the socket is away")
        caller = w.call()
        await w.until(lambda: caller.replica)

        assert w.orders == [1, 1]
        assert "refused" in w.actions
        caller.done()


async def test_a_refused_order_for_none_puts_the_replica_back_in_rotation() -> None:
    async with world(scale=ScalePolicy(idle_timeout=60.0)) as w:
        await w.serve()
        w.driver.refuse_next("not now")
        await w.until(lambda: "refused" in w.actions)
        late = w.call()

        await w.until(lambda: late.replica)
        assert late.replica is not None
        assert late.replica.id == "m-1"
        late.done()


async def test_an_ejected_replica_gets_nothing_and_comes_back_as_another() -> None:
    async with world() as w:
        await w.serve()
        w.probes.broken["m-1"] = Answer.REFUSED
        w.live.unreachable("m-1", "connection refused")
        assert not w.live.replicas
        assert w.live.cold

        held = w.call()
        assert held.replica is None
        del w.probes.broken["m-1"]
        await w.until(lambda: held.replica)
        assert held.replica is not None
        assert held.replica.id == "m-1~2"
        assert w.orders == [1]
        held.done()


async def test_an_ejected_replica_that_is_back_keeps_its_limit() -> None:
    async with world(concurrency=2) as w:
        w.control.verbs.activate()
        await w.until(lambda: w.live.replicas)
        before = [w.call(), w.call()]
        await w.until(lambda: all(caller.replica for caller in before))
        w.live.unreachable("m-1", "connection reset")
        after = [w.call(), w.call()]
        await w.until(lambda: w.live.replicas)
        await asyncio.sleep(10.0)

        assert [caller.replica for caller in after] == [None, None]
        assert w.control.status().replicas[0].in_flight == 2
        before[0].done()
        await w.until(lambda: after[0].replica)
        assert after[1].replica is None
        before[1].done()
        await w.until(lambda: after[1].replica)
        for caller in after:
            caller.done()
        assert w.live.gate.load("m-1~2") == 0


async def test_an_ejection_is_no_cold_start() -> None:
    async with world() as w:
        caller = w.call()
        await w.until(lambda: caller.replica)
        await asyncio.sleep(1000.0)
        w.live.unreachable("m-1", "connection refused")
        assert not w.live.replicas
        await w.until(lambda: w.live.replicas)

        assert w.control.cold_starts.count == 1
        typical = w.control.cold_starts.typical
        assert typical is not None
        assert typical < 2.0
        caller.done()


async def test_a_replica_without_progress_is_taken_out_within_a_stall() -> None:
    async with world(stall=30.0, concurrency=1) as w:
        w.control.verbs.activate()
        await w.until(lambda: w.live.replicas)
        await asyncio.sleep(7.0)
        stuck = w.call()
        w.live.replicas["m-1"].owes(now=w.clock())
        began = w.clock()
        await w.until(lambda: not w.live.replicas)

        assert 30.0 <= w.clock() - began <= 30.1
        await asyncio.sleep(100.0)
        assert not w.live.replicas  # it goes on answering probes; that does not bring it back
        stuck.done()
        await w.until(lambda: w.live.replicas, within=5.0)


async def test_a_stalled_replica_whose_bytes_move_again_is_back() -> None:
    async with world(stall=30.0) as w:
        w.control.verbs.activate()
        await w.until(lambda: w.live.replicas)
        slow = w.call()
        reached = w.live.replicas["m-1"]
        reached.owes(now=w.clock())
        await w.until(lambda: not w.live.replicas)
        await asyncio.sleep(10.0)
        assert not w.live.replicas

        reached.moved_at = w.clock()
        await w.until(lambda: w.live.replicas, within=5.0)
        slow.done()


async def test_a_failure_of_the_loop_is_told() -> None:
    async with world() as w:

        def broken(endpoint: str) -> int:
            raise LookupError("a bug")

        w.board.demand = broken  # type: ignore[method-assign]  # a bug on purpose
        w.call()
        await w.until(lambda: "control_failed" in w.actions)

        assert "a bug" in w.events.since(0)[-1].reason


async def test_the_loop_goes_on_after_a_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        Faulty(monkeypatch, w.control, "_observe", times=3)
        caller = w.call()
        await w.until(lambda: caller.replica)

        assert w.actions.count("control_failed") == 3
        caller.done()


async def test_an_effect_that_meets_a_fault_of_ours_keeps_no_other_from_being_carried_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as w:
        await asyncio.sleep(1.0)
        Faulty(monkeypatch, w.events, "record")
        caller = w.call()
        await w.until(lambda: caller.replica)

        assert w.actions[:2] == ["control_failed", "scaling_up"]  # the first was "activating"
        assert "rescaled" not in w.actions
        assert w.orders == [1]
        caller.done()


async def test_an_order_that_cannot_be_given_for_a_fault_of_ours_was_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as w:
        await w.serve()
        Faulty(monkeypatch, Errands, "scale")
        await w.until(lambda: "refused" in w.actions)
        late = w.call()

        await w.until(lambda: late.replica)
        assert late.replica is not None
        assert late.replica.id == "m-1"
        assert w.actions.count("control_failed") == 1
        assert "rescaled" not in w.actions
        late.done()
        await w.until(lambda: w.state == "inactive")
        assert w.orders == [1, 0]


async def test_a_snapshot_that_could_not_be_taken_in_is_taken_in_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as w:
        await w.serve()
        Faulty(monkeypatch, w.control, "_seen", times=2)
        w.driver.crash("m-1")
        await w.until(lambda: not w.live.replicas)

        assert w.actions.count("control_failed") == 2
        await w.serve()


async def test_an_order_that_fails_by_a_fault_of_ours_is_given_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as w:
        Faulty(monkeypatch, w.driver, "scale")
        caller = w.call()
        await w.until(lambda: caller.replica)

        assert w.actions.count("control_failed") == 1
        caller.done()


async def test_a_question_that_fails_by_a_fault_of_ours_is_put_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as w:
        await w.serve()
        Faulty(monkeypatch, w.board, "ask_quiet")
        await w.until(lambda: w.state == "inactive", within=600.0)

        assert w.actions.count("control_failed") == 1
        assert w.orders == [1, 0]


async def test_an_order_is_over_though_what_follows_its_failure_meets_a_fault_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as w:
        Faulty(monkeypatch, w.control, "_put_back")
        w.driver.refuse_next("the socket is away")
        caller = w.call()
        await w.until(lambda: caller.replica)

        assert w.actions.count("control_failed") == 1
        caller.done()


@pytest.mark.parametrize("force", [False, True])
async def test_who_asked_for_an_order_that_cannot_be_given_is_told_that_it_was_refused(
    monkeypatch: pytest.MonkeyPatch, *, force: bool
) -> None:
    async with world() as w:
        await w.serve()
        Faulty(monkeypatch, Errands, "scale")
        outcome = await w.control.verbs.deactivate(force=force)

        assert not outcome.done
        assert outcome.refusal
        assert w.orders == [1]


async def test_a_fault_of_ours_that_cannot_even_be_told_keeps_no_loop_from_going_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as w:
        await asyncio.sleep(1.0)
        Faulty(monkeypatch, w.events, "record", times=20)
        caller = w.call()
        await w.until(lambda: caller.replica)

        assert w.orders == [1]
        caller.done()


async def test_a_replica_that_is_ready_is_offered_though_telling_so_meets_a_fault_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as w:
        Faulty(monkeypatch, w.control.cold_starts, "became_ready")
        caller = w.call()
        await w.until(lambda: caller.replica, within=5.0)

        caller.done()
