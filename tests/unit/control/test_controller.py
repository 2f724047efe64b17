"""One endpoint's loop, in virtual time: what it sees, what it orders, and when."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from activator.core.endpoint import Owner, ScalePolicy
from activator.core.readiness import Answer
from activator.errors import ShuttingDown, StartFailed
from tests.unit.control.world import world

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.drivers.base import Snapshot

pytestmark = pytest.mark.looptime


async def test_does_nothing_without_demand() -> None:
    async with world() as w:
        await asyncio.sleep(3600.0)

        assert w.orders == []
        assert w.state == "inactive"
        assert w.probes.asked == []


async def test_the_first_request_orders_one_replica_at_once_and_once() -> None:
    async with world(concurrency=1) as w:
        callers = [w.call() for _ in range(50)]
        await w.until(lambda: w.orders)

        assert w.driver.calls[0].at == pytest.approx(0.0, abs=0.01)
        await w.until(lambda: callers[0].replica)
        assert w.orders == [1]
        for caller in callers:
            await w.until_granted(caller)
            caller.done()


async def test_who_may_not_wait_is_told_though_the_replicas_were_not_seen_yet() -> None:
    async with world(sees_nothing=True) as w:
        caller = w.call()
        await asyncio.sleep(10.0)
        assert caller.error is None

        w.live.gate.shut(no_slots=True, no_line=ShuttingDown())
        await w.until(lambda: caller.error, within=1.0)

        late = w.call()  # as one that a replica has failed and that comes back
        await w.until(lambda: late.error, within=1.0)
        assert w.orders == []


async def test_the_first_grant_comes_with_the_probe_that_is_answered() -> None:
    async with world() as w:
        caller = w.call()
        await w.until(lambda: caller.replica)

        ready_at = w.control.prober.ready_at("m-1")
        assert ready_at is not None
        assert caller.granted_at == ready_at
        caller.done()


async def test_sleeps_a_whole_idle_timeout_after_the_end_of_the_last_response() -> None:
    async with world(scale=ScalePolicy(idle_timeout=60.0)) as w:
        caller = w.call()
        await w.until(lambda: caller.replica)
        await asyncio.sleep(500.0)
        caller.done()
        ended = w.clock()
        await w.until(lambda: w.orders == [1, 0])

        assert 60.0 <= w.ordered_at - ended <= 60.02
        assert w.state == "inactive"


async def test_a_request_that_comes_and_goes_unheld_starts_the_clock_anew() -> None:
    async with world(scale=ScalePolicy(idle_timeout=60.0)) as w:
        w.control.verbs.activate()
        await w.until(lambda: w.live.replicas)
        for _ in range(5):
            await asyncio.sleep(59.0)
            w.call().done()
        ended = w.clock()
        await w.until(lambda: w.orders == [1, 0])

        assert 60.0 <= w.ordered_at - ended <= 60.02


async def test_idles_from_readiness_if_nobody_ever_asked() -> None:
    async with world(scale=ScalePolicy(min=0, idle_timeout=60.0)) as w:
        w.control.verbs.activate()
        await w.until(lambda: w.live.replicas)
        ready_at = w.control.prober.ready_at("m-1")
        assert ready_at is not None
        await w.until(lambda: w.orders == [1, 0])

        assert 60.0 <= w.ordered_at - ready_at <= 60.02


async def test_an_idle_timeout_of_zero_never_sleeps() -> None:
    async with world(scale=ScalePolicy(idle_timeout=0.0)) as w:
        await w.serve()
        await asyncio.sleep(2e4)

        assert w.orders == [1]


async def test_a_minimum_starts_by_itself_and_never_sleeps() -> None:
    async with world(scale=ScalePolicy(min=1, idle_timeout=1.0)) as w:
        await w.until(lambda: w.live.replicas)
        await asyncio.sleep(2e4)

        assert w.orders == [1]


async def test_a_request_in_the_moment_of_draining_is_served_by_the_old_replica() -> None:
    async with world(scale=ScalePolicy(idle_timeout=60.0)) as w:
        await w.serve()
        await w.until_told("draining")
        assert w.state == "draining"
        late = w.call()
        await w.until(lambda: late.replica)

        assert late.replica is not None
        assert late.replica.id == "m-1"
        assert w.orders == [1]
        assert w.actions[-1] == "revived"
        late.done()


async def test_a_request_after_the_order_for_none_gets_the_next_start() -> None:
    async with world(scale=ScalePolicy(idle_timeout=60.0)) as w:
        w.driver.stop_delay = 5.0
        await w.serve()
        await w.until(lambda: w.orders == [1, 0])
        late = w.call()
        await w.until(lambda: late.replica)

        assert late.replica is not None
        assert late.replica.id == "m-2"
        assert w.orders == [1, 0, 1]
        late.done()


async def test_a_start_while_the_old_replica_stops_is_told_as_one() -> None:
    async with world(scale=ScalePolicy(idle_timeout=60.0)) as w:
        w.driver.stop_delay = 5.0
        await w.serve()
        await w.until(lambda: w.orders == [1, 0])
        late = w.call()
        await w.until(lambda: w.orders == [1, 0, 1])

        told = [action for action in w.actions if action.startswith("scaling")]
        assert told == ["scaling_up", "scaling_down", "scaling_up"]
        assert w.live.metrics.scale_actions == {("up", "demand"): 2, ("down", "idle"): 1}
        late.done()


async def test_paused_it_starts_nothing_and_resumed_it_serves_who_waited() -> None:
    async with world() as w:
        w.control.verbs.pause()
        caller = w.call()
        await asyncio.sleep(100.0)
        assert w.orders == []
        assert w.live.waiting_for() == "the endpoint is paused"

        w.control.verbs.resume()
        await w.until(lambda: caller.replica)
        caller.done()


async def test_demand_that_never_waits_is_seen_by_sampling() -> None:
    """Without a limit every request is granted at once and wakes nobody."""
    policy = ScalePolicy(max=4, target_concurrency=2.0, idle_timeout=3600.0, down_delay=10.0)
    async with world(scale=policy) as w:
        w.control.verbs.activate()
        await w.until(lambda: w.live.replicas)
        await asyncio.sleep(300.0)
        callers = [w.call() for _ in range(8)]
        assert all(caller.replica for caller in callers)

        await w.until(lambda: max(w.orders) == 4, within=60.0)
        await w.until(lambda: len(w.live.replicas) == 4)
        for caller in callers:
            caller.done()
        await w.until(lambda: w.orders[-1] == 1, within=120.0)


async def test_victims_finish_what_they_have() -> None:
    policy = ScalePolicy(max=2, target_concurrency=1.0, idle_timeout=3600.0, down_delay=5.0)
    async with world(concurrency=1, scale=policy) as w:
        callers = [w.call(), w.call()]
        await w.until(lambda: all(caller.replica for caller in callers))
        short, long = callers
        assert short.replica is not None
        assert long.replica is not None
        short.done()
        await asyncio.sleep(200.0)
        assert w.orders[-1] == 1  # the idle one has gone, the busy one has stayed
        assert w.driver.running == (long.replica.id,)
        long.done()


async def test_an_external_owner_gets_no_orders_beyond_one() -> None:
    policy = ScalePolicy(max=4, target_concurrency=1.0, owner=Owner.EXTERNAL)
    async with world(concurrency=1, scale=policy) as w:
        callers = [w.call() for _ in range(8)]
        await w.until(lambda: callers[0].replica)
        await asyncio.sleep(300.0)

        assert w.orders == [1]
        for caller in callers:
            caller.refused(StartFailed()) if caller.replica is None else caller.done()


async def test_a_start_that_was_called_off_is_not_learned_from() -> None:
    async with world(start_delay=5.0) as w:
        w.control.verbs.activate()
        await asyncio.sleep(1.0)
        await w.control.verbs.deactivate(force=True)
        await w.until(lambda: w.state == "inactive")
        await asyncio.sleep(1000.0)
        w.control.verbs.activate()
        await w.until(lambda: w.live.replicas)

        typical = w.control.cold_starts.typical
        assert typical is not None
        assert typical < 10.0


async def test_retired_it_orders_nothing_and_lets_its_replicas_finish() -> None:
    async with world(concurrency=1) as w:
        first, second = w.call(), w.call()
        await w.until(lambda: first.replica)
        retiring = w.tasks.spawn(w.control.retire(within=1000.0), name="retire")
        await asyncio.sleep(100.0)

        assert not retiring.done()
        assert not w.live.replicas
        assert second.replica is None
        assert w.control.status().replicas[0].phase == "retiring"
        first.done()
        await asyncio.wait_for(retiring, timeout=0.1)
        assert w.orders == [1]
        second.refused(StartFailed())


async def test_retiring_ends_when_its_time_is_over() -> None:
    async with world() as w:
        caller = w.call()
        await w.until(lambda: caller.replica)
        began = w.clock()
        await w.control.retire(within=10.0)

        assert w.clock() - began == pytest.approx(10.0, abs=0.1)
        caller.done()


async def test_a_new_policy_holds_at_once() -> None:
    async with world(scale=ScalePolicy(idle_timeout=3600.0)) as w:
        w.control.verbs.activate()
        await w.until(lambda: w.live.replicas)
        await asyncio.sleep(100.0)
        w.control.reconfigure(replace(w.endpoint, scale=ScalePolicy(idle_timeout=60.0)))

        await w.until(lambda: w.orders == [1, 0], within=0.1)


async def test_a_start_that_waits_for_its_predecessor_to_stop_is_not_overdue() -> None:
    async with world(scale=ScalePolicy(idle_timeout=60.0, start_timeout=10.0)) as w:
        w.control.verbs.activate()
        await w.until(lambda: w.live.replicas)
        w.driver.stop_delay = 100.0
        await w.control.verbs.deactivate(force=False)
        caller = w.call()

        await w.until_granted(caller)

        assert caller.error is None
        assert "failed" not in w.actions
        caller.done()


async def test_static_replicas_are_probed_and_never_ordered() -> None:
    async with world(scalable=False) as w:
        await w.driver.scale(1)  # as somebody else would have started it
        await w.until(lambda: w.live.replicas)
        await w.control.verbs.deactivate(force=True)
        await asyncio.sleep(1e4)

        assert w.orders == [1]
        assert w.control.cold_starts.count == 0


async def test_one_that_is_away_is_asked_seldom_until_a_request_waits_for_it() -> None:
    async with world(scalable=False) as w:
        await w.driver.scale(1)
        await w.until(lambda: w.control.snapshot.replicas)
        w.probes.broken["m-1"] = Answer.REFUSED
        await asyncio.sleep(300.0)
        seldom = len([at for _, at in w.probes.asked if at > w.clock() - 60.0])

        caller = w.call()
        await asyncio.sleep(0.5)
        often = len([at for _, at in w.probes.asked if at > w.clock() - 0.5])
        w.probes.broken.clear()
        await w.until_granted(caller)
        caller.done()

        assert seldom == pytest.approx(30, abs=2)
        assert often >= 9


async def test_whoever_revives_it_makes_an_order_that_was_prepared_before_void() -> None:
    async with world(scale=ScalePolicy(idle_timeout=60.0)) as w:
        w.control.verbs.activate()
        await w.until(lambda: w.live.replicas)
        await w.until_told("draining")
        await w.driver.bump_fence()
        await w.until(lambda: "refused" in w.actions)

        assert list(w.live.replicas) == ["m-1"]
        late = w.call()
        assert late.replica is not None
        late.done()


async def test_what_is_wanted_no_more_gets_nothing_even_before_it_is_seen_to_stop() -> None:
    async with world() as w:
        w.control.verbs.activate()
        await w.until(lambda: w.live.replicas)

        w.control._seen(replace(w.control.snapshot, wanted=0))

        assert not w.live.replicas


async def test_what_a_driver_tells_while_it_closes_is_counted_and_puts_nobody_in_rotation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as w:
        run = w.driver.run

        async def slow(report: Callable[[Snapshot], None]) -> None:
            try:
                await run(report)
            finally:
                for _ in range(10):
                    report(before)
                    await asyncio.sleep(1.0)

        monkeypatch.setattr(w.driver, "run", slow)
        w.control.verbs.activate()
        await w.until(lambda: w.live.replicas)
        before, used = w.control.snapshot, w.control.usage()
        await w.control.aclose()

        assert not w.live.replicas
        more = w.control.usage() - used
        assert more.ready_seconds == pytest.approx(0.0, abs=0.01)
        assert more.other_seconds == pytest.approx(10.0, abs=0.01)
