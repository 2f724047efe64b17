"""How many replicas the demand asks for, and who goes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.core.autoscaling import Autoscaler, desired_replicas, victims
from activator.core.demand import STABLE_WINDOW
from activator.core.endpoint import ScalePolicy
from activator.core.observation import SeenReplica

POLICY = ScalePolicy(min=0, max=10, target_concurrency=8.0, down_delay=300.0)


def running(count: int, *, at: float = 0.0) -> Autoscaler:
    scaler = Autoscaler()
    scaler.restart(count, now=at)
    return scaler


@pytest.mark.parametrize(
    ("average", "count"), [(0.0, 1), (1.0, 1), (8.0, 1), (8.1, 2), (40.0, 5), (1000.0, 10)]
)
def test_each_replica_carries_the_target_concurrency(average: float, count: int) -> None:
    assert desired_replicas(average, policy=POLICY) == count


def test_a_rounding_error_starts_no_gpu() -> None:
    assert desired_replicas(8.0 + 1e-12, policy=POLICY) == 1


def test_the_minimum_holds_without_demand() -> None:
    assert desired_replicas(0.0, policy=replace(POLICY, min=3)) == 3


def test_steady_demand_is_met_at_once() -> None:
    scaler = running(1)

    assert scaler.desired(40, ready=1, policy=POLICY, now=0.0) == 5


def test_a_short_burst_does_not_start_another_replica() -> None:
    scaler = running(4)
    scaler.desired(30, ready=4, policy=POLICY, now=0.0)

    assert scaler.desired(45, ready=4, policy=POLICY, now=300.0) == 4
    assert scaler.desired(30, ready=4, policy=POLICY, now=303.0) == 4


def test_a_surge_is_met_by_the_short_window() -> None:
    scaler = running(1)
    scaler.desired(4, ready=1, policy=POLICY, now=0.0)
    scaler.desired(80, ready=1, policy=POLICY, now=300.0)

    assert scaler.desired(80, ready=1, policy=POLICY, now=306.0) == 10


def test_nothing_goes_down_during_a_panic() -> None:
    policy = replace(POLICY, down_delay=0.0)
    scaler = running(1)
    scaler.desired(4, ready=1, policy=policy, now=0.0)
    scaler.desired(80, ready=1, policy=policy, now=300.0)
    peak = scaler.desired(0, ready=1, policy=policy, now=306.0)

    assert scaler.desired(0, ready=10, policy=policy, now=330.0) == peak == 10
    assert scaler.desired(0, ready=10, policy=policy, now=306.0 + STABLE_WINDOW) == 1


def test_fewer_only_after_a_whole_down_delay_of_asking_for_fewer() -> None:
    scaler = running(5)
    scaler.desired(40, ready=5, policy=POLICY, now=0.0)
    scaler.desired(8, ready=5, policy=POLICY, now=1000.0)
    lowered = 1000.0 + STABLE_WINDOW

    assert scaler.desired(8, ready=5, policy=POLICY, now=lowered) == 5
    assert scaler.desired(8, ready=5, policy=POLICY, now=lowered + 299.9) == 5
    assert scaler.desired(8, ready=5, policy=POLICY, now=lowered + 300.0) == 1


def test_a_peak_within_the_down_delay_keeps_the_replicas_it_asked_for() -> None:
    scaler = running(1)
    scaler.desired(24, ready=1, policy=POLICY, now=0.0)
    scaler.desired(0, ready=3, policy=POLICY, now=100.0)

    assert scaler.desired(0, ready=3, policy=POLICY, now=250.0) == 3


def test_what_was_activated_stays_for_a_down_delay() -> None:
    scaler = running(4, at=50.0)

    assert scaler.desired(1, ready=4, policy=POLICY, now=50.0) == 4
    assert scaler.desired(1, ready=4, policy=POLICY, now=349.9) == 4
    assert scaler.desired(1, ready=4, policy=POLICY, now=350.0) == 1


def test_without_a_down_delay_fewer_follow_the_average_at_once() -> None:
    policy = replace(POLICY, down_delay=0.0)
    scaler = running(5)

    assert scaler.desired(8, ready=5, policy=policy, now=0.0) == 1


def test_time_matters_while_the_averages_move() -> None:
    scaler = running(1)
    scaler.desired(3, ready=1, policy=POLICY, now=10.0)

    assert 10.0 < scaler.next_change(policy=POLICY, now=10.0) <= 12.0


def test_time_matters_until_the_down_delay_is_over() -> None:
    scaler = running(5)
    scaler.desired(8, ready=5, policy=POLICY, now=0.0)
    scaler.desired(8, ready=5, policy=POLICY, now=STABLE_WINDOW)

    assert scaler.next_change(policy=POLICY, now=STABLE_WINDOW) == 300.0
    assert scaler.desired(8, ready=5, policy=POLICY, now=300.0) == 1


def test_time_does_not_matter_when_all_is_settled() -> None:
    scaler = running(1)
    scaler.desired(3, ready=1, policy=POLICY, now=0.0)
    scaler.desired(3, ready=1, policy=POLICY, now=1000.0)

    assert scaler.next_change(policy=POLICY, now=1000.0) == float("inf")


def test_memory_of_what_was_asked_is_bounded() -> None:
    scaler = running(1)
    for step in range(5000):
        scaler.desired(step * 37 % 80, ready=5, policy=POLICY, now=step * 0.5)

    assert len(scaler._recent) <= POLICY.max


@given(
    steps=st.lists(
        st.tuples(st.floats(0.01, 200), st.integers(0, 200), st.integers(0, 12)), max_size=40
    ),
    low=st.integers(0, 4),
)
def test_the_count_stays_within_the_bounds(steps: list[tuple[float, int, int]], low: int) -> None:
    policy = replace(POLICY, min=low, max=6)
    scaler = running(1)
    now = 0.0
    for passed, demand, ready in steps:
        now += passed
        assert max(low, 1) <= scaler.desired(demand, ready=ready, policy=policy, now=now) <= 6


@given(demand=st.integers(0, 90), before=st.integers(0, 90))
def test_waking_when_told_is_enough_to_reach_what_the_demand_asks_for(
    demand: int, before: int
) -> None:
    scaler = running(1)
    scaler.desired(before, ready=1, policy=POLICY, now=0.0)
    now, count = 500.0, scaler.desired(demand, ready=3, policy=POLICY, now=500.0)
    for _ in range(400):
        now = scaler.next_change(policy=POLICY, now=now)
        if now == float("inf"):
            break
        count = scaler.desired(demand, ready=count, policy=POLICY, now=now)

    assert now == float("inf")
    assert count == desired_replicas(demand, policy=POLICY)


def test_those_that_are_not_ready_go_first_then_the_idlest_then_the_youngest() -> None:
    replicas = (
        SeenReplica("oldest", ready=True, in_flight=0),
        SeenReplica("busy", ready=True, in_flight=5),
        SeenReplica("young", ready=True, in_flight=0),
        SeenReplica("starting", ready=False, in_flight=0),
    )

    assert victims(replicas, count=4) == ("starting", "young", "oldest", "busy")
    assert victims(replicas, count=1) == ("starting",)
    assert victims(replicas, count=0) == victims(replicas, count=-2) == ()
