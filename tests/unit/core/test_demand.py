"""Demand averaged over time."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.core.demand import _KEPT, PANIC_WINDOW, STABLE_WINDOW, DemandWindow


def test_without_records_there_is_no_demand() -> None:
    window = DemandWindow()

    assert window.stable(100.0) == 0.0
    assert window.panic(100.0) == 0.0
    assert window.is_flat(100.0)


def test_the_first_record_is_the_average() -> None:
    window = DemandWindow()

    window.record(7, 1000.25)

    assert window.stable(1000.25) == 7.0
    assert window.stable(1010.0) == pytest.approx(7.0)


def test_a_young_window_averages_over_its_age() -> None:
    window = DemandWindow()
    window.record(0, 1000.0)
    window.record(10, 1010.0)

    assert window.stable(1020.0) == pytest.approx(5.0)


def test_a_level_counts_for_the_time_it_held() -> None:
    window = DemandWindow()
    window.record(0, 0.0)
    window.record(6, 120.0)
    window.record(0, 130.0)

    assert window.stable(150.0) == pytest.approx(6 * 10 / STABLE_WINDOW)


def test_the_short_window_notices_sooner() -> None:
    window = DemandWindow()
    window.record(0, 0.0)
    window.record(12, 100.0)

    assert window.panic(100.0 + PANIC_WINDOW / 2) == pytest.approx(6.0)
    assert window.stable(100.0 + PANIC_WINDOW / 2) == pytest.approx(0.6)


def test_what_is_older_than_the_window_is_forgotten() -> None:
    window = DemandWindow()
    window.record(100, 0.0)
    window.record(0, 10.0)

    assert window.stable(71.0) == pytest.approx(0.0)


def test_it_is_flat_once_nothing_has_changed_for_the_longer_window() -> None:
    window = DemandWindow()
    window.record(1, 0.0)
    window.record(3, 10.0)

    assert not window.is_flat(10.0 + STABLE_WINDOW - 0.1)
    assert window.is_flat(10.0 + STABLE_WINDOW)
    assert window.stable(10.0 + STABLE_WINDOW) == 3.0


def test_forgetting_begins_anew() -> None:
    window = DemandWindow()
    window.record(50, 0.0)

    window.forget()
    window.record(2, 10.0)

    assert window.stable(20.0) == pytest.approx(2.0)


def test_a_moment_in_the_past_counts_as_the_latest() -> None:
    window = DemandWindow()
    window.record(4, 100.0)

    window.record(4, 90.0)

    assert window.stable(100.0) == 4.0


def test_memory_is_bounded_by_the_window_and_not_by_traffic() -> None:
    window = DemandWindow()

    for step in range(20_000):
        window.record(step % 7 + 1, step * 0.05)

    assert len(window._numbers) <= _KEPT + 1


LEVELS = st.lists(st.tuples(st.floats(0.01, 40.0), st.integers(0, 30)), min_size=1, max_size=30)


@given(levels=LEVELS, start=st.floats(0, 1e6))
def test_averages_lie_between_the_lowest_and_the_highest_level(
    levels: list[tuple[float, int]], start: float
) -> None:
    window = DemandWindow()
    now = start
    for passed, level in levels:
        now += passed
        window.record(level, now)
    told = [level for _, level in levels]

    for average in (window.stable(now + 1.0), window.panic(now + 1.0)):
        assert min(told) - 1e-6 <= average <= max(told) + 1e-6


@given(levels=LEVELS)
def test_the_stable_average_is_the_area_under_the_levels(levels: list[tuple[float, int]]) -> None:
    window = DemandWindow()
    now, area, held = 0.0, 0.0, 0
    window.record(0, 0.0)
    moments = [(now, 0)]
    for passed, level in levels:
        now += passed
        window.record(level, now)
        moments.append((now, level))

    since = max(now - STABLE_WINDOW, 0.0)
    for (start, held), (end, _) in pairwise(moments):
        area += held * max(end - max(start, since), 0.0)

    # the oldest bucket is cut pro rata: up to a bucket's worth of the highest level is uncertain
    uncertain = max(level for _, level in moments) / (now - since)
    assert window.stable(now) == pytest.approx(area / (now - since), abs=uncertain + 1e-6)
