"""Delays that grow to a cap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.core.backoff import Backoff


def test_each_delay_is_a_factor_longer_than_the_one_before() -> None:
    backoff = Backoff(first=0.5, factor=2.0, cap=60.0)

    assert [backoff.delay(attempt) for attempt in (1, 2, 3)] == [0.5, 1.0, 2.0]


def test_no_delay_is_longer_than_the_cap() -> None:
    assert Backoff(first=5.0, factor=2.0, cap=60.0).delay(5) == 60.0


def test_an_attempt_before_the_first_waits_as_long_as_the_first() -> None:
    assert Backoff(first=5.0).delay(0) == 5.0


def test_without_dice_there_is_no_jitter() -> None:
    backoff = Backoff(first=3.0)

    assert backoff.delay(2) == backoff.delay(2) == 6.0


def test_dice_spread_over_the_upper_half_of_the_delay() -> None:
    backoff = Backoff(first=4.0)

    assert backoff.delay(1, dice=0.0) == 2.0
    assert backoff.delay(1, dice=0.5) == 3.0


@pytest.mark.parametrize(
    ("first", "factor", "cap"), [(-1.0, 2.0, 60.0), (1.0, 0.5, 60.0), (10.0, 2.0, 5.0)]
)
def test_a_back_off_that_does_not_grow_is_refused(first: float, factor: float, cap: float) -> None:
    with pytest.raises(ValueError, match="grows"):
        Backoff(first=first, factor=factor, cap=cap)


@given(attempt=st.integers(min_value=-3, max_value=10**9))
def test_a_delay_stays_within_its_bounds_however_many_attempts_there_were(attempt: int) -> None:
    assert 0.5 <= Backoff(first=0.5, factor=2.0, cap=60.0).delay(attempt) <= 60.0
