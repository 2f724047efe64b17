"""Since when nobody has used an endpoint, and when that is for long enough."""

from __future__ import annotations

from activator.core.idle_clock import NEVER, IdleClock
from activator.core.observation import Observation


def seen(*, last_ended: float = 0.0, demand: int = 0) -> Observation:
    return Observation(demand=demand, wanted=1, last_ended=last_ended)


def test_it_counts_from_the_latest_of_a_request_a_start_and_a_wish() -> None:
    clock = IdleClock()
    assert clock.over_at(seen(last_ended=10.0), timeout=60.0) == 70.0

    clock.became_ready(now=20.0)
    assert clock.over_at(seen(last_ended=10.0), timeout=60.0) == 80.0

    clock.touch(now=30.0)
    assert clock.over_at(seen(last_ended=10.0), timeout=60.0) == 90.0
    assert clock.since(seen(last_ended=40.0)) == 40.0


def test_without_a_timeout_it_is_never_over() -> None:
    assert IdleClock().over_at(seen(), timeout=0.0) == NEVER
    assert IdleClock().looks_at(seen(demand=1), timeout=0.0, now=5.0) == NEVER


def test_with_demand_nobody_need_look_before_a_whole_timeout_has_passed() -> None:
    clock = IdleClock()

    assert clock.looks_at(seen(last_ended=10.0), timeout=60.0, now=50.0) == 70.0
    assert clock.looks_at(seen(last_ended=10.0, demand=1), timeout=60.0, now=50.0) == 110.0
