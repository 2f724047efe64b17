"""How replicas are asked, in virtual time: the pace, hanging probes, refusals, stalls."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from activator.control.prober import Prober
from activator.core.endpoint import ProbePolicy
from activator.core.readiness import MAX_OPEN_PROBES, SLOWEST, TOGETHER, Answer
from activator.drivers.base import Phase, Sighting
from tests.faults import Faulty, failures
from tests.town import spawn
from tests.unit.control.world import ScriptedProbes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.looptime


class Watched:
    """A prober over replicas whose load and progress the test sets."""

    def __init__(self, policy: ProbePolicy, *, stall: float) -> None:
        self.clock = asyncio.get_running_loop().time
        self.probes = ScriptedProbes()
        self.probes.answers_after = 0.0
        self.load: dict[str, int] = {}
        self.progress: dict[str, float] = {}
        self.changes = 0
        self.awaited = True
        self.prober = Prober(
            self.probes,
            policy,
            clock=self.clock,
            load=lambda name: self.load.get(name, 0),
            progressed=self.progress.get,
            awaited=lambda: self.awaited,
            changed=self._changed,
            name="m",
        )
        self.prober.stall = stall

    def _changed(self) -> None:
        self.changes += 1

    def asked(self, *, since: float = 0.0) -> list[float]:
        return [at for _, at in self.probes.asked if at >= since]


@contextlib.asynccontextmanager
async def watched(
    *names: str, policy: ProbePolicy | None = None, stall: float = 0.0
) -> AsyncIterator[Watched]:
    made = Watched(policy or ProbePolicy(), stall=stall)
    made.prober.watch([seen(name) for name in names])
    try:
        yield made
    finally:
        await made.prober.aclose()


def seen(name: str) -> Sighting:
    return Sighting(name, Phase.STARTED, since=0.0, requested_at=0.0, host="127.0.0.1", port=8000)


def gaps(moments: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(moments)]


async def test_a_starting_replica_is_asked_every_interval_until_it_answers() -> None:
    async with watched("a") as w:
        w.probes.answers_after = 1.0
        await asyncio.sleep(0.99)
        assert gaps(w.asked()) == pytest.approx([0.05] * 19)
        assert w.prober.ready("a") is None
        assert w.changes == 0

        await asyncio.sleep(0.05)
        assert w.prober.ready("a") is not None
        assert w.prober.ready_at("a") == pytest.approx(1.0, abs=0.01)
        assert w.changes == 1


async def test_one_that_nobody_waits_for_is_asked_ever_less_until_somebody_does() -> None:
    async with watched("a") as w:
        w.awaited = False
        w.probes.broken["a"] = Answer.REFUSED
        await asyncio.sleep(120.0)
        assert gaps(w.asked(since=100.0)) == pytest.approx([SLOWEST] * 9)

        w.awaited, since = True, w.clock()
        w.prober.look()
        await asyncio.sleep(0.1)
        assert len(w.asked(since=since)) >= 2


async def test_news_of_a_replica_makes_its_pace_quick_again() -> None:
    async with watched("a") as w:
        w.awaited = False
        w.probes.broken["a"] = Answer.REFUSED
        await asyncio.sleep(120.0)
        since = w.clock()
        w.prober.watch([seen("a")])
        await asyncio.sleep(0.1)
        assert len(w.asked(since=since)) <= 1

        since = w.clock()
        w.prober.watch([replace(seen("a"), detail="its container has loaded")])
        await asyncio.sleep(0.1)
        assert len(w.asked(since=since)) >= 2


async def test_hundreds_that_do_not_answer_are_together_asked_so_often_and_no_more() -> None:
    names = [f"r{number}" for number in range(200)]
    async with watched(*names) as w:
        w.probes.broken |= dict.fromkeys(names, Answer.REFUSED)
        await asyncio.sleep(5.0)

        assert len(w.asked(since=1.0)) == pytest.approx(4 * TOGETHER, rel=0.1)
        assert w.probes.crowd == 200

        w.prober.watch([seen("r0")])
        w.probes.broken.clear()
        await asyncio.sleep(0.5)
        assert w.prober.ready("r0") is not None
        assert w.probes.crowd == 0


async def test_a_ready_replica_is_asked_every_ready_interval() -> None:
    async with watched("a") as w:
        await asyncio.sleep(21.0)

        assert gaps(w.asked()) == pytest.approx([5.0] * 4)


async def test_a_ready_replica_is_not_asked_where_the_ready_interval_is_zero() -> None:
    async with watched("a", policy=ProbePolicy(ready_interval=0.0)) as w:
        await asyncio.sleep(1000.0)

        assert len(w.asked()) == 1


async def test_a_probe_that_hangs_does_not_delay_the_next_and_few_hang_at_a_time() -> None:
    async with watched("a", policy=ProbePolicy(timeout=1.0)) as w:
        w.probes.hanging.add("a")
        await asyncio.sleep(0.16)
        assert gaps(w.asked()) == pytest.approx([0.05] * 3)

        await asyncio.sleep(5.0)
        assert w.probes.most_open == MAX_OPEN_PROBES
        w.probes.hanging.clear()
        await asyncio.sleep(1.1)
        assert w.prober.ready("a") is not None


async def test_a_refused_request_takes_its_replica_out_at_once() -> None:
    async with watched("a", "b") as w:
        await asyncio.sleep(0.1)
        w.probes.broken["a"] = Answer.REFUSED
        w.prober.refused("a", "connection refused")

        assert w.prober.ready("a") is None
        assert w.prober.ready("b") is not None
        assert w.prober.ready_at("a") is not None
        assert "refused" in w.prober.reason("a")


async def test_back_from_an_ejection_a_replica_is_another() -> None:
    async with watched("a") as w:
        await asyncio.sleep(0.1)
        for generation in (2, 3):
            current = w.prober.ready("a")
            assert current is not None
            w.prober.refused(current.id, "connection reset")
            since = w.clock()
            await asyncio.sleep(0.1)
            back = w.prober.ready("a")
            assert back is not None
            assert back.id == f"a~{generation}"
            assert back.before == current.id
            assert w.asked(since=since)[0] <= since + 0.05


async def test_a_refusal_by_an_earlier_generation_is_old_news() -> None:
    async with watched("a") as w:
        await asyncio.sleep(0.1)
        w.prober.refused("a", "connection reset")
        await asyncio.sleep(0.1)
        w.prober.refused("a", "the same, told late")

        assert w.prober.ready("a") is not None


async def test_a_busy_replica_that_does_not_answer_probes_stays() -> None:
    async with watched("a") as w:
        await asyncio.sleep(0.1)
        w.probes.hanging.add("a")
        w.load["a"] = 1
        await asyncio.sleep(100.0)

        assert w.prober.ready("a") is not None


async def test_an_idle_replica_is_out_after_a_few_probes_that_fail() -> None:
    async with watched("a") as w:
        await asyncio.sleep(0.1)
        w.probes.broken["a"] = Answer.ERROR
        await asyncio.sleep(6.5)
        assert w.prober.ready("a") is not None

        await asyncio.sleep(1.0)  # once in doubt it is asked every second
        assert w.prober.ready("a") is None


@pytest.mark.parametrize("ready_interval", [5.0, 0.0])
async def test_a_stall_is_seen_when_it_is_one_and_no_sooner(ready_interval: float) -> None:
    async with watched("a", policy=ProbePolicy(ready_interval=ready_interval), stall=12.0) as w:
        await asyncio.sleep(1.3)
        w.load["a"], w.progress["a"] = 1, w.clock()
        await asyncio.sleep(11.9)
        assert w.prober.ready("a") is not None
        w.progress["a"] = w.clock()
        await asyncio.sleep(11.9)
        assert w.prober.ready("a") is not None

        await asyncio.sleep(0.2)
        assert w.prober.ready("a") is None


async def test_a_stalled_replica_is_not_brought_back_by_its_probe_but_by_its_bytes() -> None:
    async with watched("a", stall=10.0) as w:
        await asyncio.sleep(0.1)
        w.load["a"], w.progress["a"] = 1, w.clock()
        await asyncio.sleep(60.0)
        assert w.prober.ready("a") is None

        w.progress["a"] = w.clock()
        await asyncio.sleep(1.1)
        assert w.prober.ready("a") is not None


async def test_who_is_gone_is_not_asked_any_more() -> None:
    async with watched("a", "b") as w:
        await asyncio.sleep(0.1)
        w.prober.watch([seen("b")])
        since = w.clock()
        await asyncio.sleep(20.0)

        assert {name for name, at in w.probes.asked if at > since} == {"b"}
        assert w.prober.ready("a") is None
        assert w.prober.ready_at("a") is None
        assert w.prober.reason("a") == ""


async def test_an_answer_that_comes_after_the_replica_has_gone_counts_for_nobody() -> None:
    async with watched("a", policy=ProbePolicy(timeout=1.0)) as w:
        w.probes.hanging.add("a")
        await asyncio.sleep(0.01)
        w.prober.watch([])
        w.probes.hanging.clear()
        await asyncio.sleep(5.0)

        assert w.changes == 0


async def test_a_new_pace_holds_for_those_that_are_watched() -> None:
    async with watched("a") as w:
        await asyncio.sleep(5.1)
        w.prober.reconfigure(ProbePolicy(ready_interval=1.0))
        await asyncio.sleep(5.0)
        since = w.clock()
        await asyncio.sleep(10.5)

        assert gaps(w.asked(since=since)) == pytest.approx([1.0] * 9)


async def test_closed_it_leaves_no_task() -> None:
    before = asyncio.all_tasks()
    async with watched("a", "b") as w:
        w.probes.hanging.update("ab")
        await asyncio.sleep(0.5)

    assert asyncio.all_tasks() == before


async def test_who_is_seen_while_it_closes_is_probed_by_nobody() -> None:
    """A driver tells what becomes of its replicas until it has ended, too."""
    before = asyncio.all_tasks()
    async with watched("a") as w:
        closing = spawn(w.prober.aclose())
        await asyncio.sleep(0)
        w.prober.watch([seen("a"), seen("b")])
        await closing
        await asyncio.sleep(1.0)

        assert not w.asked()
    assert asyncio.all_tasks() == before


async def test_a_probe_that_fails_by_a_fault_of_ours_is_the_reason_and_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with watched("a") as w:
        Faulty(monkeypatch, w.probes, "probe", times=10)
        await asyncio.sleep(0.4)
        assert w.prober.ready("a") is None
        assert "an error of its own" in w.prober.reason("a")
        assert failures(caplog) == ["prober/m/probe a"]

        await asyncio.sleep(5.0)
        assert w.prober.ready("a") is not None


async def test_a_replica_is_probed_on_after_a_fault_of_ours(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with watched("a", "b") as w:
        faulty = Faulty(monkeypatch, w.prober, "_until_due", times=2)
        await asyncio.sleep(1.0)

        assert faulty.failed == 2
        assert w.prober.ready("a") is not None
        assert w.prober.ready("b") is not None
        w.probes.broken["a"] = Answer.REFUSED
        await asyncio.sleep(30.0)
        assert w.prober.ready("a") is None
        assert len(failures(caplog)) == 2
