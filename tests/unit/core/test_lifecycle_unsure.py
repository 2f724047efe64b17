"""While an activator that may exist does not answer, nothing is stopped; starting goes on."""

from __future__ import annotations

from dataclasses import replace

from activator.core.effects import AskQuiet, Revive, SetReplicas
from activator.core.lifecycle import SeenReplica, State
from tests.unit.core.lifecycle_playbook import (
    MANY,
    NOTHING,
    READY,
    active,
    acts,
    asleep,
    draining,
    failed,
    seen,
    told,
    wake,
)

TWO = (READY, SeenReplica("r2", ready=True))


def test_an_idle_endpoint_is_kept_up_until_the_doubt_is_over() -> None:
    life = active()

    effects = life.observe(seen(READY, unsure_until=4000.0), now=600.0)
    assert acts(effects) == []
    assert wake(effects) == 4000.0
    assert acts(life.observe(seen(READY, unsure_until=4000.0), now=4000.0)) == [AskQuiet()]


def test_a_doubt_that_comes_up_while_draining_calls_it_off() -> None:
    life = draining()

    effects = life.observe(seen(READY, quiet=True, unsure_until=4000.0), now=600.1)

    assert acts(effects) == [Revive()]
    assert told(effects) == ["revived: an activator does not answer and may exist"]


def test_a_start_does_not_wait_for_it() -> None:
    life = asleep()

    effects = life.observe(replace(NOTHING, demand=1, unsure_until=4000.0), now=1.0)

    assert acts(effects) == [SetReplicas(1, "demand")]


def test_more_are_started_for_more_demand_and_none_is_stopped_for_less() -> None:
    life = active(replace(MANY, down_delay=0.0))
    busy = seen(READY, demand=16, unsure_until=4000.0)
    life.observe(busy, now=10.0)
    assert SetReplicas(2, "autoscale") in life.observe(busy, now=80.0)

    life.observe(seen(*TWO, demand=1, unsure_until=4000.0), now=81.0)
    assert acts(life.observe(seen(*TWO, demand=1, unsure_until=4000.0), now=300.0)) == []


def test_what_never_became_ready_is_kept_as_well() -> None:
    life = failed()
    stuck = seen(SeenReplica("r9", ready=False), unsure_until=4000.0)
    life.observe(stuck, now=3.0)
    life.observe(stuck, now=903.0)
    assert life.state is State.FAILED

    assert acts(life.observe(stuck, now=3999.0)) == []
    assert acts(life.observe(stuck, now=4000.0)) == [SetReplicas(0, "failed", victims=("r9",))]


def test_an_operator_is_told_why_it_does_not_go_to_zero() -> None:
    life = active()
    life.deactivate()

    effects = life.observe(seen(READY, unsure_until=4000.0), now=100.0)

    assert told(effects) == ["ignored: deactivate: an activator does not answer and may exist"]
