from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activator.core.endpoint import ScalePolicy
from activator.simulate.policies import Policy, parse_schedule
from activator.simulate.replay import Model, Outcome, replay
from activator.simulate.trace import Trace

START = 40.0
HOUR = 3600.0


def trace_of(*requests: tuple[float, float]) -> Trace:
    trace = Trace()
    for arrival, duration in requests:
        trace.add(arrival, duration)
    return trace


def outcome(trace: Trace, *, concurrency: int = 0, price: float = 0.0, **scale: float) -> Outcome:
    policy = Policy("x", ScalePolicy(**scale))  # type: ignore[arg-type]  # whatever it is called with
    model = Model((START,), concurrency=concurrency, price_per_hour=price)
    return replay(trace, policy, model=model)


def test_the_first_request_waits_for_the_start_and_the_next_for_nothing() -> None:
    seen = outcome(trace_of((0.0, 2.0), (100.0, 2.0)), idle_timeout=600)

    assert (seen.cold_starts, list(seen.waits), seen.waited) == (1, [START], 0.5)
    assert seen.span == 102.0


def test_who_comes_during_a_start_waits_for_the_rest_of_it_and_for_the_pacing() -> None:
    seen = outcome(trace_of((0.0, 0.5), (30.0, 0.5)))

    assert sorted(seen.waits) == [10.5, START]


def test_idle_for_longer_than_the_timeout_costs_another_start() -> None:
    """Asked for at 0, ready at 40, served until 50, idle until 110, and again from 1000."""
    seen = outcome(trace_of((0.0, 10.0), (1000.0, 10.0)), idle_timeout=60, price=36.0)

    assert seen.cold_starts == 2
    assert seen.replica_seconds == pytest.approx(110 + 50)
    assert seen.cost == pytest.approx(1.6)
    assert seen.saved_seconds == pytest.approx(1050 - 160)


def test_what_is_always_up_never_waits() -> None:
    seen = outcome(trace_of((0.0, 1.0), (HOUR, 1.0)), min=1)

    assert (seen.cold_starts, seen.waited) == (0, 0.0)
    assert seen.replica_seconds == pytest.approx(HOUR + 1)
    assert seen.saved_seconds == 0.0


def test_a_limit_makes_the_second_wait_for_the_first() -> None:
    seen = outcome(trace_of((0.0, 10.0), (0.0, 10.0)), concurrency=1, min=1)

    assert list(seen.waits) == [10.0]
    assert seen.span == 20.0


def test_a_slot_frees_before_who_comes_at_the_same_moment() -> None:
    seen = outcome(trace_of((0.0, 10.0), (10.0, 10.0)), concurrency=1, min=1)

    assert not seen.waits


def test_more_demand_than_one_carries_starts_others() -> None:
    steady = [(float(second), 30.0) for second in range(600)]

    one = outcome(trace_of(*steady), concurrency=10, target_concurrency=8, max=1)
    four = outcome(trace_of(*steady), concurrency=10, target_concurrency=8, max=4)

    assert four.mean_wait < one.mean_wait / 5
    assert four.replica_seconds > one.replica_seconds
    assert four.cold_starts == 1


def test_in_scheduled_hours_one_is_up_before_anybody_comes() -> None:
    schedule = parse_schedule("1:00-2:00")
    trace = trace_of((0.0, 1.0), (HOUR + START, 1.0), (3 * HOUR, 1.0))
    policy = Policy("x", ScalePolicy(idle_timeout=60), schedule)

    seen = replay(trace, policy, model=Model((START,)))

    assert seen.cold_starts == 3
    assert sorted(seen.waits) == [START, START]
    # two spells of a request, and the hour, which ends with a whole idle timeout behind it
    assert seen.replica_seconds == pytest.approx((40 + 1 + 60) + HOUR + 41)


def test_a_request_without_a_duration_takes_what_the_model_says() -> None:
    trace = trace_of((0.0, -1.0))

    seen = replay(trace, Policy("x", ScalePolicy(min=1)), model=Model((START,), service=7.0))

    assert seen.span == 7.0


def test_starts_are_taken_in_turn() -> None:
    trace = trace_of((0.0, 1.0), (1000.0, 1.0), (2000.0, 1.0))

    seen = replay(trace, Policy("x", ScalePolicy(idle_timeout=60)), model=Model((10.0, 20.0)))

    assert list(seen.waits) == [10.0, 20.0, 10.0]


def test_a_start_that_would_be_given_up_is_refused() -> None:
    with pytest.raises(ValueError, match="a start takes 40 s, and would be given up"):
        outcome(trace_of((0.0, 1.0)), start_timeout=30)


REQUESTS = st.lists(st.tuples(st.floats(0, 5000), st.floats(0, 100)), min_size=1, max_size=40).map(
    sorted
)


@settings(max_examples=60, deadline=None)
@given(
    requests=REQUESTS,
    concurrency=st.integers(0, 3),
    idle=st.floats(1, 2000),
    most=st.integers(1, 3),
    least=st.integers(0, 1),
)
def test_everybody_is_served_and_every_second_is_used_or_saved(
    requests: list[tuple[float, float]], concurrency: int, idle: float, most: int, least: int
) -> None:
    seen = outcome(
        trace_of(*requests),
        concurrency=concurrency,
        idle_timeout=idle,
        max=most,
        min=least,
        target_concurrency=2,
        down_delay=10,
    )

    assert seen.requests == len(requests)
    assert len(seen.waits) <= len(requests)
    assert all(wait >= 0 for wait in seen.waits)
    last = max(arrival + duration for arrival, duration in requests)
    assert seen.span >= last - requests[0][0] - 1e-6
    assert seen.replica_seconds + seen.saved_seconds >= seen.span - 1e-6
    if concurrency == 0 and least:
        assert not seen.waits
