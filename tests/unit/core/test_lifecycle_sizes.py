"""An endpoint between one replica and many, and one whose replicas are always there."""

from __future__ import annotations

from dataclasses import replace

from activator.core.effects import Answer, Retire, SetReplicas, WakeAt
from activator.core.lifecycle import Lifecycle, SeenReplica, State
from activator.core.orders import SPARED_AFTER
from tests.unit.core.lifecycle_playbook import (
    MANY,
    POLICY,
    READY,
    STARTING,
    active,
    acts,
    draining,
    seen,
    told,
    wake,
)

# 1 → N


def test_demand_beyond_the_target_asks_for_more() -> None:
    life = active(MANY)

    effects = life.observe(seen(READY, demand=33), now=100.0)
    assert acts(effects) == []
    effects = life.observe(seen(READY, demand=33), now=170.0)

    assert acts(effects) == [SetReplicas(5, "autoscale")]
    assert told(effects) == ["scaled_up: to 5: a demand of 33"]


def test_only_the_leader_goes_beyond_what_was_activated() -> None:
    life = active(MANY)
    life.observe(seen(READY, demand=33, leading=False), now=100.0)

    assert acts(life.observe(seen(READY, demand=33, leading=False), now=170.0)) == []


def three_of_which_one_is_needed() -> tuple[Lifecycle, tuple[SeenReplica, ...]]:
    life = Lifecycle(replace(MANY, down_delay=30.0), now=0.0)
    three = (
        SeenReplica("a", ready=True, in_flight=1),
        SeenReplica("b", ready=True, in_flight=0),
        SeenReplica("c", ready=True, in_flight=2),
    )
    life.observe(seen(*three, demand=3), now=0.0)
    return life, three


def test_those_who_are_to_go_finish_first_and_get_nothing_new() -> None:
    life, (a, b, c) = three_of_which_one_is_needed()

    assert acts(life.observe(seen(a, b, c, demand=3), now=30.0)) == [Retire(("a", "b"))]
    assert acts(life.observe(seen(a, b, c, demand=3), now=40.0)) == []
    a = replace(a, in_flight=0)
    effects = life.observe(seen(a, b, c, demand=2), now=41.0)

    assert acts(effects) == [SetReplicas(1, "autoscale", victims=("b", "a"))]
    assert told(effects) == ["scaled_down: to 1: a demand of 2"]


def test_an_idle_one_goes_a_moment_after_it_left_rotation() -> None:
    life, (a, b, c) = three_of_which_one_is_needed()
    a = replace(a, in_flight=0)
    effects = life.observe(seen(a, b, c, demand=2), now=30.0)
    assert acts(effects) == [Retire(("a", "b"))]

    moment = wake(effects)

    assert moment == 31.0
    assert acts(life.observe(seen(a, b, c, demand=2), now=moment)) == [
        SetReplicas(1, "autoscale", victims=("b", "a"))
    ]


def test_those_who_were_to_go_come_back_when_demand_grows_before() -> None:
    life, (a, b, c) = three_of_which_one_is_needed()
    life.observe(seen(a, b, c, demand=3), now=30.0)
    life.observe(seen(a, b, c, demand=60), now=31.0)

    effects = life.observe(seen(a, b, c, demand=60), now=60.0)

    assert Retire(()) in effects


def test_a_retired_one_that_is_still_seen_stays_out_of_rotation() -> None:
    life, (a, b, c) = three_of_which_one_is_needed()
    idle = (replace(a, in_flight=0), b, c)
    life.observe(seen(*idle, demand=2), now=30.0)
    life.observe(seen(*idle, demand=2), now=31.0)

    effects = life.observe(seen(*idle, demand=2, wanted=1), now=31.5)

    assert acts(effects) == []


def test_one_that_was_sent_away_and_stays_in_place_of_another_is_used_again() -> None:
    life, (a, b, c) = three_of_which_one_is_needed()
    idle = (replace(a, in_flight=0), b, c)
    life.observe(seen(*idle, demand=2), now=30.0)
    life.observe(seen(*idle, demand=2), now=31.0)
    life.observe(seen(*idle, demand=2, wanted=1), now=31.5)

    effects = life.observe(seen(a, demand=1), now=32.0)  # the cluster has chosen otherwise
    assert acts(effects) == []
    moment = wake(effects)
    assert moment == 32.0 + SPARED_AFTER

    assert acts(life.observe(seen(a, demand=1), now=moment)) == [Retire(())]
    assert life.state is State.ACTIVE


def test_one_that_was_sent_away_with_all_and_is_wanted_again_is_used_again() -> None:
    life = draining()
    life.observe(seen(READY, quiet=True), now=600.2)
    life.observe(seen(READY, wanted=0), now=600.3)

    effects = life.observe(seen(READY), now=600.4)  # somebody else, before it was stopped
    moment = wake(effects)
    assert moment == 600.3 + 0.1 + SPARED_AFTER

    assert Retire(()) in life.observe(seen(READY), now=moment)
    assert life.state is State.ACTIVE


def test_a_refused_way_down_brings_them_back_into_rotation() -> None:
    life, (a, b, c) = three_of_which_one_is_needed()
    idle = (replace(a, in_flight=0), b, c)
    life.observe(seen(*idle, demand=2), now=30.0)
    life.observe(seen(*idle, demand=2), now=31.0)

    effects = life.observe(seen(*idle, demand=2, scale_error="timeout"), now=31.5)

    assert acts(effects) == [Retire(())]


def test_a_raised_minimum_is_met() -> None:
    life = active(MANY)
    life.reconfigure(replace(MANY, min=3))

    assert acts(life.observe(seen(READY), now=10.0)) == [SetReplicas(3, "autoscale")]


def test_a_single_replica_is_never_resized_and_never_woken_for_it() -> None:
    life = active()
    busy = seen(replace(READY, in_flight=9), demand=500)

    assert life.observe(busy, now=50.0) == [WakeAt(650.0)]
    assert life.observe(busy, now=500.0) == [WakeAt(1100.0)]


# replicas that are always there


def test_static_replicas_are_never_asked_for() -> None:
    life = Lifecycle(POLICY, now=0.0, scalable=False)

    assert life.observe(seen(STARTING, demand=1), now=0.0) == []
    assert life.observe(seen(STARTING, demand=1), now=1e6) == []
    effects = life.observe(seen(READY, demand=1), now=1e6)
    assert acts(effects) == []
    assert life.state is State.ACTIVE
    assert life.observe(seen(READY), now=2e6) == []


def test_a_static_replica_that_is_away_is_waited_for() -> None:
    life = Lifecycle(POLICY, now=0.0, scalable=False)
    life.observe(seen(READY), now=0.0)

    assert acts(life.observe(seen(STARTING), now=5.0)) == []
    assert life.state is State.ACTIVATING


def test_static_replicas_heed_no_operator() -> None:
    life = Lifecycle(POLICY, now=0.0, scalable=False)
    life.observe(seen(READY), now=0.0)
    life.deactivate(force=True)

    assert life.observe(seen(READY), now=1.0) == [Answer("its replicas are never scaled")]
