"""When an endpoint starts and when it stops: one sentence each."""

from __future__ import annotations

from dataclasses import replace

from activator.core.effects import AskQuiet, Revive, SetReplicas
from activator.core.lifecycle import ASK_AGAIN_AFTER, QUIET_WITHIN, Lifecycle, SeenReplica, State
from tests.unit.core.lifecycle_playbook import (
    MANY,
    NOTHING,
    POLICY,
    READY,
    STARTING,
    activating,
    active,
    acts,
    asleep,
    draining,
    seen,
    told,
    wake,
)

# 0 → 1


def test_a_request_starts_what_sleeps() -> None:
    life = asleep()

    effects = life.observe(replace(NOTHING, demand=1), now=5.0)

    assert acts(effects) == [SetReplicas(1, "demand")]
    assert life.state is State.ACTIVATING
    assert told(effects) == ["activating: a demand of 1"]


def test_without_demand_it_sleeps_on_and_time_does_not_matter() -> None:
    life = asleep()

    assert life.observe(NOTHING, now=1e6) == []
    assert life.state is State.INACTIVE


def test_the_same_facts_ask_for_nothing_twice() -> None:
    life = asleep()
    facts = replace(NOTHING, demand=1)
    life.observe(facts, now=5.0)

    assert acts(life.observe(replace(facts, scaling=True), now=5.1)) == []
    assert acts(life.observe(replace(facts, scaling=True, demand=9), now=5.2)) == []
    assert acts(life.observe(replace(facts, wanted=1), now=5.3)) == []


def test_an_order_that_was_undone_before_it_was_seen_is_given_again() -> None:
    life = asleep()
    facts = replace(NOTHING, demand=1)
    life.observe(facts, now=5.0)
    life.observe(replace(facts, scaling=True), now=5.1)

    assert acts(life.observe(facts, now=5.2)) == [SetReplicas(1, "demand")]


def test_what_was_undone_before_it_was_seen_is_not_started_anew_for_nobody() -> None:
    life = asleep()
    life.observe(replace(NOTHING, demand=1), now=5.0)

    assert acts(life.observe(NOTHING, now=5.2)) == []
    assert life.state is State.INACTIVE


def test_it_is_active_as_soon_as_a_replica_is_ready() -> None:
    life = activating(at=5.0)

    effects = life.observe(seen(READY, demand=1), now=45.0)

    assert acts(effects) == []
    assert life.state is State.ACTIVE
    assert told(effects) == ["activated: after 40 s"]


def test_a_minimum_starts_without_demand() -> None:
    life = Lifecycle(replace(POLICY, min=2, max=3), now=0.0)

    assert acts(life.observe(NOTHING, now=0.0)) == [SetReplicas(2, "min")]


def test_an_operator_starts_without_demand_and_the_idle_clock_runs_from_readiness() -> None:
    life = asleep()
    life.activate()

    assert acts(life.observe(NOTHING, now=1.0)) == [SetReplicas(1, "operator")]
    effects = life.observe(seen(READY), now=11.0)
    assert wake(effects) == 611.0


def test_a_start_goes_on_though_its_client_has_left() -> None:
    life = activating()

    assert acts(life.observe(seen(STARTING), now=30.0)) == []
    assert life.state is State.ACTIVATING


def test_a_replica_that_runs_already_is_adopted_without_an_order() -> None:
    life = Lifecycle(POLICY, now=0.0)

    effects = life.observe(seen(READY), now=0.0)

    assert acts(effects) == []
    assert life.state is State.ACTIVE
    assert told(effects) == ["adopted: 1 wanted, 1 ready"]


def test_a_replica_that_starts_already_is_waited_for_without_an_order() -> None:
    life = Lifecycle(POLICY, now=0.0)

    assert acts(life.observe(seen(STARTING, demand=3), now=0.0)) == []
    assert life.state is State.ACTIVATING


def test_any_activator_starts_what_sleeps() -> None:
    life = asleep()

    effects = life.observe(replace(NOTHING, demand=1, leading=False), now=1.0)

    assert acts(effects) == [SetReplicas(1, "demand")]


# 1 → 0


def test_sleeps_only_after_a_full_idle_timeout() -> None:
    life = active()

    assert acts(life.observe(seen(READY, last_ended=0.0), now=599.9)) == []
    assert acts(life.observe(seen(READY, last_ended=250.0), now=849.9)) == []
    effects = life.observe(seen(READY, last_ended=250.0), now=850.0)

    assert acts(effects) == [AskQuiet()]
    assert life.state is State.DRAINING
    assert told(effects) == ["draining: no request for 10 m 0 s"]


def test_it_wakes_at_the_very_moment_of_idleness() -> None:
    life = active()

    moment = wake(life.observe(seen(READY, last_ended=0.1), now=0.1))

    assert moment is not None
    assert acts(life.observe(seen(READY, last_ended=0.1), now=moment)) == [AskQuiet()]


def test_idleness_counts_from_readiness_when_that_is_later() -> None:
    life = active(at=100.0)

    assert acts(life.observe(seen(READY), now=699.9)) == []
    assert acts(life.observe(seen(READY), now=700.0)) == [AskQuiet()]


def test_one_long_request_keeps_it_up() -> None:
    life = active()

    effects = life.observe(seen(replace(READY, in_flight=1), demand=1), now=1e6)

    assert acts(effects) == []
    assert life.state is State.ACTIVE


def test_while_it_is_busy_it_looks_again_after_an_idle_timeout_so_that_ends_need_not_be_told() -> (
    None
):
    life = active()

    effects = life.observe(seen(replace(READY, in_flight=1), demand=1), now=1000.0)

    assert wake(effects) == 1600.0


def test_an_idle_timeout_of_zero_means_never() -> None:
    life = active(replace(POLICY, idle_timeout=0.0))

    assert life.observe(seen(READY), now=1e9) == []


def test_a_minimum_is_never_given_up() -> None:
    life = active(replace(POLICY, min=1))

    assert life.observe(seen(READY), now=1e9) == []


def test_quiet_is_asked_for_once() -> None:
    life = draining()

    assert acts(life.observe(seen(READY), now=600.0)) == []
    assert acts(life.observe(seen(READY), now=600.5)) == []


def test_it_stops_when_every_activator_is_quiet() -> None:
    life = draining()

    effects = life.observe(seen(READY, quiet=True), now=600.2)

    assert acts(effects) == [SetReplicas(0, "idle", victims=("r1",))]
    assert told(effects) == ["deactivated: no request for 10 m 0 s"]
    assert life.state is State.INACTIVE


def test_it_stops_once() -> None:
    life = draining()
    life.observe(seen(READY, quiet=True), now=600.2)

    for facts in (
        seen(READY, quiet=True, scaling=True),
        seen(READY, quiet=True, wanted=0),
        NOTHING,
    ):
        assert acts(life.observe(facts, now=600.3)) == []
        assert life.state is State.INACTIVE


def test_a_request_in_the_moment_of_stopping_revives_it() -> None:
    life = draining()

    effects = life.observe(seen(READY, demand=1, quiet=True), now=600.1)

    assert acts(effects) == [Revive()]
    assert life.state is State.ACTIVE


def test_a_revived_one_drains_again_after_a_full_idle_timeout() -> None:
    life = draining()
    life.observe(seen(READY, demand=1), now=600.1)

    effects = life.observe(seen(READY, last_ended=610.0), now=611.2)

    assert wake(effects) == 1210.0
    assert acts(life.observe(seen(READY, last_ended=610.0), now=1210.0)) == [AskQuiet()]


def test_a_request_that_came_and_went_while_draining_revives_it() -> None:
    life = draining()

    effects = life.observe(seen(READY, last_ended=600.1, quiet=True), now=600.2)

    assert acts(effects) == [Revive()]


def test_an_activator_that_is_not_quiet_revives_it_and_is_asked_again_later() -> None:
    life = draining()

    effects = life.observe(seen(READY, quiet=False), now=600.1)
    assert acts(effects) == [Revive()]
    assert wake(effects) == 600.1 + ASK_AGAIN_AFTER
    assert acts(life.observe(seen(READY), now=600.2)) == []
    assert acts(life.observe(seen(READY), now=600.1 + ASK_AGAIN_AFTER)) == [AskQuiet()]


def test_an_answer_that_does_not_come_revives_it() -> None:
    life = draining()
    late = 600.0 + QUIET_WITHIN

    assert wake(life.observe(seen(READY), now=600.0)) == late
    assert acts(life.observe(seen(READY), now=late)) == [Revive()]


def test_a_leader_that_leads_no_longer_stops_nothing() -> None:
    life = draining()

    assert acts(life.observe(seen(READY, quiet=True, leading=False), now=600.1)) == [Revive()]


def test_only_the_leader_drains() -> None:
    life = active()

    assert acts(life.observe(seen(READY, leading=False), now=1e6)) == []
    assert acts(life.observe(seen(READY), now=1e6)) == [AskQuiet()]


def test_a_request_after_the_stop_waits_for_its_end_and_starts_anew() -> None:
    life = draining()
    life.observe(seen(READY, quiet=True), now=600.2)

    assert acts(life.observe(seen(READY, demand=1, scaling=True), now=600.21)) == []
    assert life.state is State.ACTIVATING, "the replica that goes does not count as ready"
    assert acts(life.observe(seen(READY, demand=1), now=600.22)) == []
    assert acts(life.observe(seen(READY, demand=1, wanted=0), now=600.23)) == [
        SetReplicas(1, "demand")
    ]


def test_after_a_drain_what_is_held_is_let_go_when_replicas_are_ready_again() -> None:
    life = draining()
    life.observe(seen(READY, quiet=True), now=600.2)
    life.observe(replace(NOTHING, demand=1), now=601.0)

    effects = life.observe(seen(SeenReplica("r2", ready=True), demand=1), now=641.0)

    assert acts(effects) == [Revive()]
    assert life.state is State.ACTIVE


def test_the_count_that_ran_before_is_restored_within_the_bounds() -> None:
    life = Lifecycle(replace(MANY, idle_timeout=10.0), now=0.0)
    three = tuple(SeenReplica(each, ready=True) for each in ("a", "b", "c"))
    life.observe(seen(*three), now=0.0)
    life.observe(seen(*three), now=10.0)
    life.observe(seen(*three, quiet=True), now=10.1)
    life.observe(NOTHING, now=11.0)

    assert acts(life.observe(replace(NOTHING, demand=1), now=20.0)) == [SetReplicas(3, "demand")]


def test_a_restored_count_is_cut_to_a_lowered_maximum() -> None:
    life = Lifecycle(replace(MANY, idle_timeout=10.0), now=0.0)
    three = tuple(SeenReplica(each, ready=True) for each in ("a", "b", "c"))
    life.observe(seen(*three), now=0.0)
    life.observe(seen(*three), now=10.0)
    life.observe(seen(*three, quiet=True), now=10.1)
    life.observe(NOTHING, now=11.0)
    life.reconfigure(replace(MANY, max=2))

    assert acts(life.observe(replace(NOTHING, demand=1), now=20.0)) == [SetReplicas(2, "demand")]
