"""Replica time used and saved, and its price."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.core.costs import Ledger


def test_replicas_that_are_up_are_used_time() -> None:
    ledger = Ledger(now=100.0)

    ledger.observe(2, now=100.0)
    ledger.observe(0, now=130.0)

    assert ledger.used == 60.0


def test_time_at_zero_is_saved_against_one_that_never_stops() -> None:
    ledger = Ledger(now=0.0)

    ledger.observe(0, now=50.0)
    ledger.observe(1, now=50.0)
    ledger.observe(1, now=80.0)

    assert (ledger.saved, ledger.used) == (50.0, 30.0)


def test_savings_count_against_the_minimum_when_it_is_more_than_one() -> None:
    ledger = Ledger(now=0.0, always_on=3)

    ledger.observe(1, now=0.0)
    ledger.observe(1, now=10.0)

    assert ledger.saved == 20.0


def test_an_endpoint_without_a_minimum_is_compared_with_one_replica() -> None:
    ledger = Ledger(now=0.0, always_on=0)

    ledger.observe(0, now=10.0)

    assert ledger.saved == 10.0


def test_more_than_always_on_costs_but_does_not_undo_what_was_saved() -> None:
    ledger = Ledger(now=0.0)

    ledger.observe(4, now=10.0)
    ledger.observe(4, now=20.0)

    assert (ledger.saved, ledger.used) == (10.0, 40.0)


def test_money_is_replica_hours_at_the_price() -> None:
    ledger = Ledger(now=0.0, price_per_hour=2.50)

    ledger.observe(1, now=3600.0)
    ledger.observe(1, now=3 * 3600.0)

    assert ledger.cost == pytest.approx(5.0)
    assert ledger.cost_saved == pytest.approx(2.5)


def test_a_new_price_leaves_the_past_at_the_old_one() -> None:
    ledger = Ledger(now=0.0, price_per_hour=1.0)
    ledger.observe(1, now=0.0)

    ledger.reprice(always_on=1, price_per_hour=10.0, now=3600.0)
    ledger.observe(1, now=7200.0)

    assert ledger.cost == pytest.approx(11.0)


def test_a_moment_in_the_past_books_nothing_twice() -> None:
    ledger = Ledger(now=0.0)
    ledger.observe(1, now=0.0)
    ledger.observe(1, now=10.0)

    ledger.observe(1, now=5.0)
    ledger.observe(1, now=10.0)

    assert ledger.used == 10.0


@given(steps=st.lists(st.tuples(st.floats(0, 1e5), st.integers(0, 5)), max_size=30))
def test_figures_only_grow_and_used_and_saved_cover_what_always_on_would_have_used(
    steps: list[tuple[float, int]],
) -> None:
    ledger = Ledger(now=0.0, always_on=2, price_per_hour=1.0)
    now = 0.0

    for passed, up in steps:
        before = (ledger.used, ledger.saved, ledger.cost, ledger.cost_saved)
        now += passed
        ledger.observe(up, now=now)
        after = (ledger.used, ledger.saved, ledger.cost, ledger.cost_saved)
        assert all(b <= a for b, a in zip(before, after, strict=True))

    assert ledger.used + ledger.saved >= 2 * now * (1 - 1e-9)


def test_no_time_counts_before_it_begins() -> None:
    ledger = Ledger(now=inf)

    ledger.observe(1, now=50.0)
    ledger.reprice(always_on=1, price_per_hour=3600.0, now=60.0)
    ledger.begin(now=100.0)
    ledger.book(now=110.0)

    assert (ledger.used, ledger.cost, ledger.saved) == (10.0, 10.0, 0.0)
