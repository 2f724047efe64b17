"""What is charged while the division of a day's cost still changes."""

from __future__ import annotations

from itertools import pairwise
from math import fsum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.core.key_charges import DayCharges
from activator.core.key_usage import NOBODY

KEYS = ("alice", "bob", NOBODY)
MONEY = st.floats(min_value=0, max_value=1000)


def charged(*divisions: dict[str, float], over: bool = True) -> dict[str, float]:
    """By key, when a day was divided like this time and again; it is over with the last one."""
    day, told = DayCharges(), dict.fromkeys(KEYS, 0.0)
    for number, costs in enumerate(divisions, 1):
        for key, cost in day.charge(costs, over=over and number == len(divisions)).items():
            told[key] += cost
    return told


def test_each_is_charged_what_their_share_has_grown_by() -> None:
    told = charged({"alice": 2.0}, {"alice": 3.0, "bob": 1.0}, {"alice": 3.5, "bob": 4.0})

    assert told == {"alice": 3.5, "bob": 4.0, NOBODY: 0.0}


def test_a_share_that_shrinks_stays_charged_and_the_others_lack_it() -> None:
    told = charged({"alice": 10.0}, {"alice": 6.0, "bob": 6.0})

    assert told["alice"] == 10.0
    assert told["bob"] == pytest.approx(2.0)


def test_what_others_lack_is_made_up_for_out_of_what_comes() -> None:
    told = charged({"alice": 10.0}, {"alice": 6.0, "bob": 6.0}, {"alice": 10.0, "bob": 6.0})

    assert told == {"alice": 10.0, "bob": pytest.approx(6.0), NOBODY: 0.0}


def test_what_is_nobodys_waits_for_somebody_until_the_day_is_over() -> None:
    assert charged({NOBODY: 4.0}, {"alice": 4.5, NOBODY: 0.0})["alice"] == 4.5
    assert charged({NOBODY: 4.0}, over=False)[NOBODY] == 0.0
    assert charged({NOBODY: 4.0, "bob": 1.0})[NOBODY] == 4.0


@st.composite
def _days(draw: st.DrawFn) -> list[dict[str, float]]:
    """Divisions of a cost that only grows, each as it may be."""
    divisions, whole = [], 0.0
    for more in draw(st.lists(MONEY, min_size=1, max_size=12)):
        whole += more
        weights = [draw(st.floats(min_value=0, max_value=1)) for _ in KEYS]
        total = fsum(weights) or 1.0
        divisions.append(
            {key: whole * each / total for key, each in zip(KEYS, weights, strict=True)}
            if fsum(weights)
            else {NOBODY: whole}
        )
    return divisions


@given(divisions=_days())
def test_charges_only_grow_never_exceed_the_cost_and_are_it_in_the_end(
    divisions: list[dict[str, float]],
) -> None:
    day, told = DayCharges(), [dict.fromkeys(KEYS, 0.0)]
    for number, costs in enumerate(divisions, 1):
        charges = day.charge(costs, over=number == len(divisions))
        told.append({key: told[-1][key] + charges.get(key, 0.0) for key in KEYS})
        assert fsum(told[-1].values()) <= fsum(costs.values()) * (1 + 1e-9)
        assert all(told[-1][key] <= max(costs[key], told[-2][key]) + 1e-9 for key in costs)

    for sooner, later in pairwise(told):
        assert all(later[key] >= sooner[key] for key in KEYS)
    assert fsum(told[-1].values()) == pytest.approx(fsum(divisions[-1].values()), abs=1e-6)
