"""What follows when starts fail and replicas go away."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from activator.core.effects import AskQuiet, FailedStart, FailHeld, SetReplicas
from activator.core.lifecycle import Lifecycle, SeenReplica, State
from tests.unit.core.lifecycle_playbook import (
    CAUSE,
    MANY,
    NOTHING,
    POLICY,
    READY,
    STARTING,
    activating,
    active,
    acts,
    asleep,
    ended,
    failed,
    seen,
    told,
    wake,
)

if TYPE_CHECKING:
    from activator.core.effects import Effect

# starts that fail


def test_a_failed_start_is_tried_again_after_half_a_second_and_after_one() -> None:
    life = activating()
    gone = seen(demand=1, ended=ended("r1"))

    effects = life.observe(gone, now=0.2)
    assert acts(effects) == []
    assert wake(effects) == 0.7
    assert acts(life.observe(gone, now=0.7)) == [SetReplicas(1, "demand")]

    gone = seen(demand=1, ended=ended("r1", "r2"))
    assert wake(life.observe(gone, now=0.9)) == 1.9
    assert acts(life.observe(gone, now=1.9)) == [SetReplicas(1, "demand")]


def test_each_end_counts_once_however_often_it_is_told() -> None:
    life = activating()
    gone = seen(demand=1, ended=ended("r1"))
    life.observe(gone, now=0.0)

    for at in (0.1, 0.2, 0.3):
        assert told(life.observe(gone, now=at)) == []

    assert life.state is State.ACTIVATING


def test_what_ended_before_it_was_first_looked_at_is_no_failed_start() -> None:
    life = Lifecycle(POLICY, now=0.0)

    effects = life.observe(seen(demand=1, ended=ended("old")), now=0.0)

    assert acts(effects) == [SetReplicas(1, "demand")]
    assert life.failure is None


def test_a_start_that_failed_and_then_took_too_long_is_told_with_its_cause() -> None:
    timeout = POLICY.start_timeout
    life = activating()
    gone = seen(demand=1, ended=ended("r1"))
    life.observe(gone, now=timeout - 1.0)
    assert life.refusal(now=timeout - 1.0) is None

    life.observe(gone, now=timeout)

    assert life.state is State.FAILED
    words = f"did not become ready within 15 m 0 s: {CAUSE.message}"
    assert life.failure == replace(CAUSE, message=words)


def test_after_three_failures_everyone_who_waits_is_told_why() -> None:
    life = activating()
    effects: list[Effect] = []
    for count, at in ((1, 0.0), (2, 0.5), (3, 1.5)):
        gone = seen(demand=1, ended=ended("r1", "r2", "r3")[:count])
        effects = life.observe(gone, now=at)
        assert acts(effects) in ([], [FailHeld(CAUSE, retry_after=5.0)])
        life.observe(gone, now=at + 2.0 ** (count - 2))

    assert life.state is State.FAILED
    assert life.failure == CAUSE


def test_those_who_wait_are_told_within_eight_seconds_of_the_first_failure() -> None:
    life = activating()
    life.observe(seen(demand=1, ended=ended("r1")), now=60.0)
    life.observe(seen(demand=1, ended=ended("r1")), now=60.5)
    slow = seen(SeenReplica("r2", ready=False), demand=1, ended=ended("r1"))

    assert wake(life.observe(slow, now=61.0)) == 68.0
    effects = life.observe(slow, now=68.0)

    assert acts(effects) == [
        FailHeld(CAUSE, retry_after=5.0),
        SetReplicas(0, "failed", victims=("r2",)),
    ]


def test_a_start_beside_the_failed_one_is_waited_for() -> None:
    life = asleep(replace(MANY, min=2))
    two = (STARTING, SeenReplica("r2", ready=False))
    life.observe(seen(*two, demand=1), now=0.0)
    rest = seen(two[1], demand=1, ended=ended("r1"))
    life.observe(rest, now=5.0)

    effects = life.observe(rest, now=13.0)

    assert FailHeld(CAUSE, retry_after=5.0) not in effects
    assert life.state is State.ACTIVATING


def test_replicas_of_one_order_that_fail_together_are_one_attempt() -> None:
    life = activating(replace(MANY, min=3))
    gone = seen(demand=1, ended=ended("r1", "r2", "r3"))

    effects = life.observe(gone, now=1.0)

    assert life.state is State.ACTIVATING
    assert wake(effects) == 1.5


def test_while_the_breaker_is_open_nothing_starts_and_the_reason_is_told() -> None:
    life = failed()

    assert acts(life.observe(seen(demand=1), now=6.9)) == []
    refusal = life.refusal(now=3.0)
    assert refusal is not None
    assert refusal[0] == CAUSE
    assert refusal[1] == pytest.approx(4.0)


def test_the_breaker_wakes_when_it_may_let_one_through() -> None:
    life = failed()

    assert wake(life.observe(seen(), now=3.0)) == 7.0
    assert life.refusal(now=7.0) is None


def test_after_the_rest_demand_starts_exactly_one_attempt() -> None:
    life = failed()

    effects = life.observe(seen(demand=1), now=7.0)
    assert acts(effects) == [SetReplicas(1, "demand")]
    life.observe(seen(STARTING, demand=1), now=7.1)
    effects = life.observe(seen(demand=1, ended=ended("r9")), now=8.0)

    assert acts(effects) == [FailHeld(CAUSE, retry_after=10.0)]
    assert life.refusal(now=8.0) == (CAUSE, 10.0)


def test_the_attempt_after_the_rest_may_take_its_time() -> None:
    life = failed()
    life.observe(seen(demand=1), now=7.0)
    life.observe(seen(STARTING, demand=1), now=7.1)

    life.observe(seen(READY, demand=1), now=300.0)

    assert life.state is State.ACTIVE


def test_without_demand_a_failed_endpoint_stays_down() -> None:
    life = failed()

    assert acts(life.observe(seen(), now=1e6)) == []
    assert life.state is State.FAILED


def test_a_minimum_is_tried_again_after_the_rest_without_demand() -> None:
    life = failed()
    life.reconfigure(replace(POLICY, min=1))

    assert acts(life.observe(seen(), now=6.9)) == []
    assert acts(life.observe(seen(), now=7.0)) == [SetReplicas(1, "min")]


def test_an_operator_starts_through_an_open_breaker() -> None:
    life = failed()
    life.activate()

    assert acts(life.observe(seen(), now=3.0)) == [SetReplicas(1, "operator")]


def test_a_replica_that_stays_ready_resets_everything() -> None:
    life = failed()
    life.observe(seen(demand=1), now=7.0)
    life.observe(seen(READY, demand=1), now=20.0)
    assert life.failure is None
    assert life.refusal(now=20.0) is None

    gone = seen(demand=1, ended=ended("r1", was_ready=True))
    assert acts(life.observe(gone, now=25.0)) == [SetReplicas(1, "replace")]
    life.observe(seen(SeenReplica("r2", ready=False), demand=1), now=25.1)
    effects = life.observe(seen(demand=1, ended=ended("r2")), now=26.0)

    assert life.state is State.ACTIVATING, "one failure is one of three again"
    assert wake(effects) == 26.5


def test_ready_for_a_moment_and_gone_is_a_failed_start() -> None:
    life = activating()
    for count, at in ((1, 0.0), (2, 2.0), (3, 5.0)):
        replica = SeenReplica(f"r{count}", ready=True)
        life.observe(seen(replica, demand=1), now=at)
        ends = ended("r1", "r2", "r3", was_ready=True)[:count]
        life.observe(seen(demand=1, ended=ends), now=at + 1.0)
        life.observe(seen(demand=1, ended=ends), now=at + 2.0)

    assert life.state is State.FAILED


def test_not_ready_within_the_start_timeout_opens_the_breaker_at_once() -> None:
    life = activating()
    facts = seen(STARTING, demand=1)
    assert wake(life.observe(facts, now=1.0)) == 900.0

    effects = life.observe(facts, now=900.0)

    cause = FailedStart("did not become ready within 15 m 0 s")
    assert acts(effects) == [
        FailHeld(cause, retry_after=5.0),
        SetReplicas(0, "failed", victims=("r1",)),
    ]
    assert life.failure == cause


def test_a_start_timeout_of_zero_means_no_limit() -> None:
    life = activating(replace(POLICY, start_timeout=0.0))

    assert life.observe(seen(STARTING, demand=1), now=1e6) == []


def test_a_broken_replica_with_requests_in_flight_is_not_cut_by_the_breaker() -> None:
    life = active()
    away = SeenReplica("r1", ready=False, in_flight=1)
    life.observe(seen(away, demand=2), now=10.0)

    effects = life.observe(seen(away, demand=2), now=910.0)
    assert [type(each) for each in acts(effects)] == [FailHeld]
    assert wake(effects) == 911.0, "the end of a request need not be told"
    idle = replace(away, in_flight=0)
    assert acts(life.observe(seen(idle), now=911.0)) == [SetReplicas(0, "failed", victims=("r1",))]


def test_what_waits_for_an_operator_after_the_rest_keeps_replicas_from_being_stopped() -> None:
    life = activating()
    facts = seen(STARTING, demand=1, leading=False)
    life.observe(facts, now=900.0)
    life.pause()

    assert acts(life.observe(seen(STARTING, demand=1), now=950.0)) == []
    assert acts(life.observe(seen(STARTING), now=951.0)) == [
        SetReplicas(0, "failed", victims=("r1",))
    ]


def test_an_end_of_a_replica_that_was_ordered_away_is_no_failed_start() -> None:
    life = active()
    life.deactivate()
    life.observe(seen(READY), now=1.0)
    life.observe(seen(READY, quiet=True), now=1.1)
    life.observe(seen(READY, demand=1, scaling=True), now=1.2)

    effects = life.observe(seen(demand=1, ended=ended("r1", was_ready=True)), now=1.3)

    assert acts(effects) == [SetReplicas(1, "demand")]
    assert told(effects) == []
    assert life.failure is None


def test_a_replica_that_is_ready_after_all_ends_the_failure() -> None:
    life = activating()
    facts = seen(STARTING, demand=1, leading=False)
    effects = life.observe(facts, now=900.0)
    assert [type(each) for each in acts(effects)] == [FailHeld]

    life.observe(seen(READY, leading=False), now=901.0)

    assert life.state is State.ACTIVE
    assert life.failure is None


# replicas that go away


def test_a_crash_with_demand_is_replaced_at_once() -> None:
    life = active()

    effects = life.observe(seen(demand=2, ended=ended("r1", was_ready=True)), now=100.0)

    assert acts(effects) == [SetReplicas(1, "replace")]
    assert life.state is State.ACTIVATING
    assert told(effects)[0] == "crashed: exited with status 3, ready for 1 m 40 s"


def test_a_crash_without_demand_ends_it() -> None:
    life = active()

    effects = life.observe(seen(ended=ended("r1", was_ready=True)), now=100.0)

    assert acts(effects) == []
    assert life.state is State.INACTIVE
    assert "deactivated: the last replica ended" in told(effects)


def test_a_crash_without_demand_that_others_would_repair_is_drained() -> None:
    life = active()

    effects = life.observe(seen(wanted=1, ended=ended("r1", was_ready=True)), now=100.0)

    assert acts(effects) == [AskQuiet()]
    assert acts(life.observe(seen(wanted=1, quiet=True), now=100.1)) == [SetReplicas(0, "crashed")]


def test_a_crash_is_replaced_for_the_minimum() -> None:
    life = active(replace(POLICY, min=1))

    effects = life.observe(seen(ended=ended("r1", was_ready=True)), now=100.0)

    assert acts(effects) == [SetReplicas(1, "replace")]


def test_one_of_two_that_ends_is_replaced_only_with_demand() -> None:
    life = Lifecycle(MANY, now=0.0)
    two = (READY, SeenReplica("r2", ready=True))
    life.observe(seen(*two), now=0.0)
    crash = ended("r2", was_ready=True)

    assert acts(life.observe(seen(READY, ended=crash), now=50.0)) == []
    assert acts(life.observe(seen(READY, demand=1, ended=crash), now=51.0)) == [
        SetReplicas(2, "replace")
    ]


def test_an_ejected_replica_with_demand_is_waited_for() -> None:
    life = active()

    effects = life.observe(seen(replace(READY, ready=False), demand=1), now=50.0)

    assert acts(effects) == []
    assert life.state is State.ACTIVATING
    assert told(effects) == ["lost: no replica is ready any more"]


def test_an_ejected_replica_without_demand_goes_on_being_idle() -> None:
    life = active()
    away = replace(READY, ready=False)

    assert acts(life.observe(seen(away), now=300.0)) == []
    assert acts(life.observe(seen(away), now=600.0)) == [AskQuiet()]


def test_beside_a_ready_one_a_replica_that_never_gets_ready_is_exchanged() -> None:
    life = Lifecycle(replace(MANY, min=2), now=0.0)
    two = (READY, SeenReplica("r2", ready=False))
    life.observe(seen(*two), now=0.0)
    life.observe(seen(*two), now=899.0)

    assert acts(life.observe(seen(*two), now=900.0)) == [
        SetReplicas(1, "overdue", victims=("r2",)),
    ]
    assert acts(life.observe(seen(READY), now=900.1)) == [SetReplicas(2, "replace")]


# starts that never end


def test_a_start_that_took_too_long_is_told_with_what_its_probe_and_its_output_say() -> None:
    life = activating()
    facts = SeenReplica(
        "r1", ready=False, reason="starting, last probe: HTTP 404", last_lines=("loaded", "listens")
    )

    effects = life.observe(seen(facts, demand=1), now=900.0)

    cause = FailedStart(
        "did not become ready within 15 m 0 s (starting, last probe: HTTP 404)",
        last_lines=("loaded", "listens"),
    )
    assert FailHeld(cause, retry_after=5.0) in effects
    assert life.failure == cause
    assert told(effects)[0].startswith(f"failed: {cause.message}; no start for")


def test_the_start_timeout_does_not_run_while_a_predecessor_is_still_stopping() -> None:
    life = asleep()
    facts = seen(STARTING, demand=1)
    life.observe(replace(NOTHING, demand=1, held_up=True), now=0.0)
    life.observe(replace(facts, held_up=True), now=1.0)

    # nothing happens for longer than the timeout, then the predecessor is gone
    assert told(life.observe(facts, now=1000.0)) == []
    assert told(life.observe(facts, now=1899.9)) == []

    (failed_at_last,) = told(life.observe(facts, now=1900.0))
    assert failed_at_last.startswith("failed: did not become ready within 15 m 0 s")
