"""What operators and Prometheus are told of an endpoint, at each point of its life."""

from __future__ import annotations

import asyncio
import time

import pytest

from activator.core.readiness import Answer
from tests.unit.control.world import world

pytestmark = pytest.mark.looptime


async def test_at_rest() -> None:
    async with world() as w:
        status = w.control.status()

        assert (status.name, status.state, status.wanted) == ("m", "inactive", 0)
        assert (status.held, status.in_flight, status.replicas) == (0, 0, ())
        assert status.eta is None
        assert status.typical_start is None
        assert status.last_activity is None
        assert status.failure is None


async def test_the_phases_of_a_replica() -> None:
    async with world(start_delay=0.5) as w:
        w.driver.stop_delay = 1.0

        def phase() -> str:
            replicas = w.control.status().replicas
            return replicas[0].phase if replicas else ""

        async def until(expected: str) -> None:
            await w.until(lambda: phase() == expected, within=5.0)

        w.control.verbs.activate()
        for expected in ("requested", "started", "ready"):
            await until(expected)
        w.probes.broken["m-1"] = Answer.REFUSED
        w.live.unreachable("m-1", "connection refused")
        assert phase() == "ejected"
        del w.probes.broken["m-1"]
        await until("ready")
        await w.control.verbs.deactivate(force=True)
        await until("stopping")
        await until("")


async def test_what_waits_and_what_runs() -> None:
    async with world(concurrency=1) as w:
        callers = [w.call() for _ in range(3)]
        waiting = w.control.status()
        assert (waiting.held, waiting.in_flight) == (3, 0)
        await w.until(lambda: callers[0].replica)
        running = w.control.status()
        assert (running.held, running.in_flight, running.concurrency) == (2, 1, 1)
        assert running.replicas[0].in_flight == 1
        assert running.replicas[0].address == "127.0.0.1:20000"
        assert running.cold_starts == 1
        for caller in callers:
            await w.until_granted(caller)
            caller.done()
        last = w.control.status().last_activity
        assert last is not None
        assert last == pytest.approx(time.time(), abs=5.0)


async def test_an_eta_is_told_once_there_was_a_start_and_while_nothing_is_ready() -> None:
    async with world(start_delay=4.0) as w:
        w.control.verbs.activate()
        await w.until(lambda: w.live.replicas)
        assert w.control.status().eta is None
        await w.control.verbs.deactivate(force=True)
        await w.until(lambda: w.state == "inactive")
        await w.until(lambda: not w.live.replicas)
        assert w.control.status().eta == pytest.approx(5.0, abs=0.1)

        w.control.verbs.activate()
        await asyncio.sleep(2.0)
        assert w.control.status().eta == pytest.approx(3.0, abs=0.1)


async def test_a_failure_is_told_with_the_time_until_the_next_try() -> None:
    async with world() as w:
        w.driver.fail_next("exited with 1", times=3)
        caller = w.call()
        await w.until(lambda: caller.error)
        status = w.control.status()

        assert status.state == "failed"
        assert status.failure is not None
        assert "exited with 1" in status.failure
        assert status.retry_in is not None
        assert 4.0 < status.retry_in <= 5.0


async def test_replica_time_is_counted_and_so_is_what_was_saved() -> None:
    async with world(start_delay=0.0) as w:
        await asyncio.sleep(100.0)
        w.control.verbs.activate()
        await w.until(lambda: w.live.replicas)
        await asyncio.sleep(50.0)
        status = w.control.status()

        assert status.replica_seconds == pytest.approx(51.0, abs=0.5)
        assert status.saved_replica_seconds == pytest.approx(100.0, abs=0.5)
