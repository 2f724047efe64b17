"""What is learned from earlier starts."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.core.eta import REMEMBERED_STARTS, StartTimes

SECONDS = st.floats(min_value=0, max_value=3600)


def learned(*totals: float) -> StartTimes:
    times = StartTimes()
    for total in totals:
        times.learn({"requested": total * 0.1, "started": total * 0.9})
    return times


def test_nothing_is_expected_before_a_start_has_been_seen() -> None:
    times = StartTimes()

    assert times.estimate() is None
    assert times.remaining(3.0) is None
    assert times.phases() == {}


def test_a_start_without_phases_teaches_nothing() -> None:
    times = StartTimes()

    times.learn({})

    assert times.estimate() is None


def test_one_start_is_believed_with_doubt() -> None:
    estimate = learned(40.0).estimate()

    assert estimate is not None
    assert estimate.typical == pytest.approx(40.0)
    assert estimate.low < 40.0 < estimate.high


def test_after_ten_starts_of_about_forty_seconds_it_says_thirty_five_to_fifty() -> None:
    dice = Random(7)
    estimate = learned(*(dice.gauss(40.0, 4.0) for _ in range(10))).estimate()

    assert estimate is not None
    assert 30.0 <= estimate.low <= 38.0
    assert 37.0 <= estimate.typical <= 43.0
    assert 43.0 <= estimate.high <= 52.0


def test_one_slow_start_moves_the_typical_one_hardly() -> None:
    estimate = learned(*[40.0] * 9, 600.0).estimate()

    assert estimate is not None
    assert estimate.typical == pytest.approx(40.0)


def test_only_the_last_starts_count() -> None:
    estimate = learned(500.0, *[20.0] * REMEMBERED_STARTS).estimate()

    assert estimate is not None
    assert estimate.high < 25.0


def test_what_is_learned_or_recalled_after_somebody_asked_counts() -> None:
    times = learned(40.0)
    assert times.estimate() == learned(40.0).estimate()

    times.learn({"started": 400.0})
    assert times.estimate() == learned(40.0, 400.0).estimate()
    assert times.remaining(10.0) == learned(40.0, 400.0).remaining(10.0)

    times.recall([{"started": 4.0}])
    assert times.estimate() == learned(4.0, 40.0, 400.0).estimate()


def test_what_remains_is_the_rest_of_a_typical_start() -> None:
    rest = learned(*[40.0] * 5).remaining(30.0)

    assert rest is not None
    assert rest.typical == pytest.approx(10.0)


def test_a_start_beyond_all_that_is_known_is_expected_any_moment() -> None:
    rest = learned(*[40.0] * 5).remaining(100.0)

    assert rest is not None
    assert (rest.low, rest.typical, rest.high) == (0.0, 0.0, 0.0)


def test_phases_are_told_by_their_median_in_the_order_they_came() -> None:
    times = StartTimes()
    for started in (10.0, 30.0, 20.0):
        times.learn({"requested": 1.0, "started": started})

    assert list(times.phases().items()) == [("requested", 1.0), ("started", 20.0)]


def test_a_phase_that_seems_to_run_backwards_took_no_time() -> None:
    times = StartTimes()

    times.learn({"requested": -1.0, "started": 5.0})

    assert times.phases() == {"requested": 0.0, "started": 5.0}


@given(totals=st.lists(SECONDS, min_size=1, max_size=40), moments=st.lists(SECONDS, min_size=2))
def test_what_remains_never_grows_with_time_and_never_is_less_than_nothing(
    totals: list[float], moments: list[float]
) -> None:
    times = learned(*totals)
    rests = [rest for at in sorted(moments) if (rest := times.remaining(at)) is not None]

    assert len(rests) == len(moments)
    assert all(0 <= rest.low <= rest.typical <= rest.high for rest in rests)
    assert all(later.high <= sooner.high for sooner, later in pairwise(rests))


def test_what_is_recalled_counts_as_older_than_what_was_learned() -> None:
    times = learned(*[20.0] * (REMEMBERED_STARTS - 1))

    times.recall([{"ready": 500.0}] * 5)

    estimate = times.estimate()
    assert estimate is not None
    assert estimate.typical == pytest.approx(20.0)
    assert learned().estimate() is None


def test_after_ten_starts_the_eleventh_is_told_well_from_its_beginning_to_its_end() -> None:
    """Starts of 40 ± 4 s: 1000 endpoints with their own luck."""
    hits = 0
    for seed in range(1000):
        dice = Random(seed)
        times = StartTimes()
        times.recall([{"ready": dice.gauss(40.0, 4.0)} for _ in range(10)])
        took = dice.gauss(40.0, 4.0)

        told = [times.remaining(0.5 * tick) for tick in range(int(took / 0.5))]
        rests = [each.typical for each in told if each is not None]
        assert len(rests) == len(told)
        assert 35.0 <= rests[0] <= 45.0
        assert told[0] is not None
        assert 30.0 <= told[0].low <= told[0].typical <= told[0].high <= 55.0
        assert all(later <= sooner for sooner, later in pairwise(rests))
        assert rests[-1] == pytest.approx(max(rests[0] - took, 0.0), abs=1.0)
        hits += told[0].low <= took <= told[0].high
    assert 750 <= hits <= 950


@pytest.mark.parametrize("known", [1, 2, 3, 5, 10, REMEMBERED_STARTS])
@pytest.mark.parametrize("spread", [0.05, 0.1])
def test_eight_of_ten_starts_end_within_what_was_told(known: int, spread: float) -> None:
    hits = 0
    for seed in range(2000):
        dice = Random(seed)
        estimate = learned(*(dice.gauss(40.0, 40.0 * spread) for _ in range(known))).estimate()
        assert estimate is not None
        hits += estimate.low <= dice.gauss(40.0, 40.0 * spread) <= estimate.high

    assert hits >= 0.8 * 2000


def test_starts_of_two_kinds_are_told_as_wide_as_they_are_apart() -> None:
    estimate = learned(*[10.0] * 15, *[120.0] * 5).estimate()

    assert estimate is not None
    assert estimate.low <= 10.0
    assert estimate.typical == pytest.approx(10.0)
    assert estimate.high >= 120.0


def test_a_start_that_has_outlasted_one_kind_is_told_what_the_next_takes() -> None:
    times = learned(*[10.0] * 15, *[120.0] * 5)

    assert [rest.typical for at in (0.0, 6.0, 11.0) if (rest := times.remaining(at))] == (
        pytest.approx([10.0, 4.0, 0.0])
    )
    late = times.remaining(20.0)
    assert late is not None
    assert late.typical == pytest.approx(100.0)
    assert 80.0 <= late.low <= 100.0 <= late.high <= 130.0


def test_one_start_in_many_that_took_for_ever_does_not_make_late_ones_hopeless() -> None:
    rest = learned(*[40.0] * 19, 3600.0).remaining(60.0)

    assert rest is not None
    assert rest.high < 600.0
