"""What follows from what somebody else, the driver or an operator does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from activator.core.effects import AskQuiet, FailedStart, Retire, Revive, SetReplicas
from activator.core.endpoint import Owner
from activator.core.lifecycle import Lifecycle, SeenReplica, State
from tests.unit.core.lifecycle_playbook import (
    MANY,
    NOTHING,
    POLICY,
    READY,
    STARTING,
    active,
    acts,
    answer,
    asleep,
    draining,
    ended,
    failed,
    seen,
    told,
    wake,
)

# what others do


def test_somebody_elses_zero_is_respected_without_demand() -> None:
    life = active()

    effects = life.observe(NOTHING, now=50.0)

    assert acts(effects) == []
    assert life.state is State.INACTIVE
    assert told(effects) == [
        "rescaled: somebody else went from 1 to 0",
        "deactivated: scaled to zero by somebody else",
    ]


def test_somebody_elses_zero_is_respected_below_the_minimum_until_there_is_demand() -> None:
    life = active(replace(POLICY, min=1))

    assert acts(life.observe(NOTHING, now=50.0)) == []
    assert acts(life.observe(NOTHING, now=500.0)) == []
    assert acts(life.observe(replace(NOTHING, demand=1), now=501.0)) == [SetReplicas(1, "demand")]


def test_somebody_elses_zero_with_demand_is_a_new_start() -> None:
    life = active()

    effects = life.observe(seen(READY, demand=1, wanted=0), now=50.0)

    assert acts(effects) == [SetReplicas(1, "demand")]
    assert life.state is State.ACTIVATING


def test_what_somebody_else_started_is_adopted() -> None:
    life = asleep()

    effects = life.observe(seen(STARTING), now=50.0)

    assert acts(effects) == []
    assert life.state is State.ACTIVATING


def test_somebody_elses_more_is_the_floor_until_it_goes_idle() -> None:
    life = active(replace(MANY, down_delay=0.0, max=2))
    four = tuple(SeenReplica(f"r{i}", ready=True) for i in range(1, 5))

    effects = life.observe(seen(*four), now=10.0)
    assert acts(effects) == []
    assert told(effects) == ["rescaled: somebody else went from 1 to 4"]
    assert acts(life.observe(seen(*four), now=500.0)) == []
    assert acts(life.observe(seen(*four), now=610.0)) == [AskQuiet()]


def test_what_the_leader_orders_is_followed_by_the_others_without_a_word_and_is_no_floor() -> None:
    life = active(replace(MANY, down_delay=0.0))
    four = tuple(SeenReplica(f"r{i}", ready=True) for i in range(1, 5))

    effects = life.observe(seen(*four, leading=False), now=10.0)
    assert (acts(effects), told(effects)) == ([], [])
    life.observe(seen(*four), now=20.0)

    effects = life.observe(seen(*four), now=100.0)

    assert told(effects) == ["scaled_down: to 1: a demand of 0"]


def test_a_start_that_there_is_demand_for_is_another_activators() -> None:
    life = asleep()

    effects = life.observe(seen(STARTING, demand=1), now=50.0)

    assert told(effects) == ["adopted: 1 wanted, 0 ready"]


def test_what_was_accepted_beyond_the_maximum_is_never_asked_for() -> None:
    life = active(replace(MANY, max=2))
    four = tuple(SeenReplica(f"r{i}", ready=True) for i in range(1, 5))
    life.observe(seen(*four, demand=1), now=10.0)
    crash = ended("r4", was_ready=True)

    assert acts(life.observe(seen(*four[:3], demand=1, ended=crash), now=60.0)) == []


def test_a_raise_by_somebody_else_revives_a_drain() -> None:
    life = draining()
    two = (READY, SeenReplica("r2", ready=False))

    assert acts(life.observe(seen(*two), now=600.5)) == [Revive()]
    assert life.state is State.ACTIVE


def test_a_raise_by_somebody_else_is_a_try_in_spite_of_the_breaker() -> None:
    life = failed()

    life.observe(seen(SeenReplica("r9", ready=False)), now=3.0)

    assert life.state is State.ACTIVATING


def test_an_external_owner_scales_and_the_activator_only_wakes_and_stops() -> None:
    life = asleep(replace(MANY, owner=Owner.EXTERNAL, min=0))
    assert acts(life.observe(replace(NOTHING, demand=99), now=0.0)) == [SetReplicas(1, "demand")]
    life.observe(seen(READY, demand=99), now=10.0)
    assert acts(life.observe(seen(READY, demand=99), now=100.0)) == []

    three = tuple(SeenReplica(each, ready=True) for each in ("r1", "r2", "r3"))
    effects = life.observe(seen(*three, demand=99), now=101.0)
    assert acts(effects) == []
    assert told(effects) == []
    assert acts(life.observe(seen(*three, last_ended=200.0), now=800.0)) == [AskQuiet()]
    effects = life.observe(seen(*three, last_ended=200.0, quiet=True), now=800.1)
    assert acts(effects) == [SetReplicas(0, "idle", victims=("r1", "r2", "r3"))]


# orders that are refused


def test_a_refused_start_is_tried_again_with_back_off() -> None:
    life = asleep()
    facts = replace(NOTHING, demand=1)
    life.observe(facts, now=0.0)
    refused = replace(facts, scale_error="no route to host")

    effects = life.observe(refused, now=0.1)
    assert acts(effects) == []
    assert wake(effects) == 0.6
    assert told(effects) == ["refused: 1 replicas: no route to host"]
    assert acts(life.observe(refused, now=0.6)) == [SetReplicas(1, "demand")]
    assert wake(life.observe(refused, now=0.7)) == 1.7


def test_a_driver_that_refuses_until_the_start_timeout_is_the_cause() -> None:
    life = asleep()
    life.observe(replace(NOTHING, demand=1), now=0.0)
    refused = replace(NOTHING, demand=1, scale_error="forbidden")
    life.observe(refused, now=0.1)

    life.observe(refused, now=900.0)

    assert life.failure == FailedStart("could not be asked to start within 15 m 0 s: forbidden")


def test_a_refused_stop_keeps_it_up_and_is_tried_again() -> None:
    life = draining()
    life.observe(seen(READY, quiet=True), now=600.1)

    effects = life.observe(seen(READY, quiet=True, scale_error="timeout"), now=600.2)
    assert acts(effects) == [Revive(), Retire(())]
    assert life.state is State.ACTIVE
    effects = life.observe(seen(READY, scale_error="timeout"), now=1200.2)
    assert acts(effects) == [AskQuiet()]


# operators


def test_paused_it_starts_nothing_and_goes_on_when_resumed() -> None:
    life = asleep()
    life.pause()
    facts = replace(NOTHING, demand=1)

    assert life.observe(facts, now=1.0) == []
    life.resume()
    assert acts(life.observe(facts, now=2.0)) == [SetReplicas(1, "demand")]


def test_paused_what_ends_is_not_replaced() -> None:
    life = active()
    life.pause()

    effects = life.observe(seen(demand=1, ended=ended("r1", was_ready=True)), now=50.0)

    assert acts(effects) == []
    assert life.state is State.INACTIVE


def test_paused_it_may_still_go_to_zero() -> None:
    life = active()
    life.pause()

    assert acts(life.observe(seen(READY), now=600.0)) == [AskQuiet()]


def test_paused_an_operators_activate_is_ignored_and_says_so() -> None:
    life = asleep()
    life.pause()
    life.activate()

    assert told(life.observe(NOTHING, now=1.0)) == ["ignored: activate: the endpoint is paused"]


def test_where_another_serves_it_starts_nothing_until_it_is_its_turn() -> None:
    life = Lifecycle(replace(POLICY, min=1), now=0.0)
    others = replace(NOTHING, demand=1, may_start=False, leading=False)

    assert life.observe(others, now=1.0) == []
    life.activate()
    assert told(life.observe(others, now=2.0)) == ["ignored: activate: another activator serves"]
    assert life.state is State.INACTIVE
    assert acts(life.observe(NOTHING, now=3.0)) == [SetReplicas(1, "min")]


def test_where_another_serves_what_it_starts_is_seen_and_left_alone() -> None:
    life = asleep()
    life.observe(seen(STARTING, may_start=False, leading=False), now=1.0)
    life.observe(seen(READY, may_start=False, leading=False), now=2.0)
    assert told(life.observe(seen(READY, may_start=False, leading=False), now=3.0)) == []

    assert acts(life.observe(seen(READY, may_start=False, leading=False), now=5000.0)) == []
    assert acts(life.observe(seen(may_start=False, leading=False), now=5001.0)) == []
    assert life.state is State.INACTIVE


def test_an_operator_stops_without_waiting_for_idleness() -> None:
    life = active()
    life.deactivate()

    asked = life.observe(seen(READY), now=10.0)
    assert acts(asked) == [AskQuiet()]
    assert answer(asked) is None
    ordered = life.observe(seen(READY, quiet=True), now=10.1)
    assert acts(ordered) == [SetReplicas(0, "operator", victims=("r1",))]
    assert answer(ordered) == ""


def test_an_operators_stop_that_another_activator_does_not_agree_to_is_answered_with_why() -> None:
    life = active()
    life.deactivate()
    life.observe(seen(READY), now=10.0)

    effects = life.observe(seen(READY, quiet=False), now=10.1)

    assert life.state is State.ACTIVE
    assert answer(effects) == "another activator is not quiet"


def test_a_drain_of_its_own_is_nobodys_answer() -> None:
    life = draining()

    assert answer(life.observe(seen(READY, quiet=True), now=601.0)) is None


def test_what_is_down_already_is_an_answer_at_once_and_stays_down() -> None:
    life = Lifecycle(replace(POLICY, min=1), now=0.0)
    life.pause()
    life.observe(NOTHING, now=0.0)
    life.deactivate()

    assert answer(life.observe(NOTHING, now=1.0)) == ""
    life.resume()
    assert acts(life.observe(NOTHING, now=2.0)) == []


def test_what_another_activator_was_asked_to_stop_stays_down_here_too() -> None:
    life = Lifecycle(replace(POLICY, min=1), now=0.0)
    life.pause()
    life.observe(NOTHING, now=0.0)
    life.resume()
    life.stay_down()

    assert acts(life.observe(NOTHING, now=1.0)) == []
    assert acts(life.observe(replace(NOTHING, demand=1), now=2.0)) == [SetReplicas(1, "demand")]


def test_what_another_activator_was_asked_to_start_is_not_idle_here() -> None:
    life = active()
    life.touch()

    life.observe(seen(READY), now=500.0)
    assert acts(life.observe(seen(READY), now=1099.9)) == []
    assert acts(life.observe(seen(READY), now=1100.0)) == [AskQuiet()]


def test_what_another_activator_was_asked_to_start_is_not_stopped_here() -> None:
    life = draining()
    life.touch()

    assert acts(life.observe(seen(READY), now=601.0)) == [Revive()]


def test_what_another_activator_was_asked_to_start_is_not_started_here_as_well() -> None:
    life = asleep()
    life.touch()

    assert acts(life.observe(NOTHING, now=1.0)) == []


def test_an_operators_stop_holds_below_the_minimum_until_there_is_demand() -> None:
    life = active(replace(POLICY, min=1))
    life.deactivate()
    life.observe(seen(READY), now=10.0)
    life.observe(seen(READY, quiet=True), now=10.1)

    assert acts(life.observe(NOTHING, now=11.0)) == []
    assert acts(life.observe(replace(NOTHING, demand=1), now=12.0)) == [SetReplicas(1, "demand")]


def test_a_changed_minimum_ends_an_operators_stop() -> None:
    life = active(replace(POLICY, min=1))
    life.deactivate()
    life.observe(seen(READY), now=10.0)
    life.observe(seen(READY, quiet=True), now=10.1)
    life.observe(NOTHING, now=11.0)

    life.reconfigure(replace(MANY, min=2))

    assert acts(life.observe(NOTHING, now=12.0)) == [SetReplicas(2, "min")]


def test_demand_makes_an_operators_stop_void() -> None:
    life = active()
    life.deactivate()

    effects = life.observe(seen(READY, demand=1), now=10.0)

    assert acts(effects) == []
    assert told(effects) == ["ignored: deactivate: there is a demand of 1"]
    assert answer(effects) == "there is a demand of 1"


def test_force_stops_in_spite_of_demand_and_what_waits_starts_it_anew() -> None:
    life = active()
    life.deactivate(force=True)

    effects = life.observe(seen(READY, demand=1), now=10.0)
    assert acts(effects) == [SetReplicas(0, "operator", victims=("r1",))]
    assert answer(effects) == ""
    assert life.state is State.ACTIVATING
    assert acts(life.observe(replace(NOTHING, demand=1), now=10.2)) == [SetReplicas(1, "demand")]


def test_force_waits_for_the_order_that_is_under_way() -> None:
    life = asleep()
    life.observe(replace(NOTHING, demand=1), now=0.0)
    life.deactivate(force=True)

    assert acts(life.observe(replace(NOTHING, demand=1, scaling=True), now=0.1)) == []
    assert acts(life.observe(seen(STARTING), now=0.2)) == [
        SetReplicas(0, "operator", victims=("r1",))
    ]


def test_an_operator_revives_a_drain_and_that_counts_as_activity() -> None:
    life = draining()
    life.activate()

    assert acts(life.observe(seen(READY), now=601.0)) == [Revive()]
    assert acts(life.observe(seen(READY), now=1200.9)) == []
    assert acts(life.observe(seen(READY), now=1201.0)) == [AskQuiet()]


@pytest.mark.parametrize("force", [False, True])
def test_who_does_not_lead_does_not_stop_for_an_operator_and_says_so(*, force: bool) -> None:
    life = active()
    life.deactivate(force=force)

    effects = life.observe(seen(READY, leading=False), now=10.0)

    assert acts(effects) == []
    assert answer(effects) == "this activator does not lead"
    assert told(effects) == ["ignored: deactivate: this activator does not lead"]
