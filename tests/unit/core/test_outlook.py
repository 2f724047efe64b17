"""What is said to somebody who waits, and how precisely."""

from __future__ import annotations

import pytest

from activator.core.eta import Estimate, StartTimes
from activator.core.outlook import STEPS, Outlook, remaining, spread, usual
from activator.core.phases import Phase


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.0, 0.4, "up to 1 s"),
        (3.2, 4.1, "3\u20135 s"),
        (4.0, 4.0, "about 4 s"),
        (36.1, 43.9, "35\u201345 s"),
        (61.0, 88.0, "60\u201390 s"),
        (0.0, 31.0, "up to 35 s"),
        (130.0, 290.0, "2\u20135 min"),
        (0.0, 1500.0, "up to 25 min"),
    ],
)
def test_a_span_is_as_precise_as_is_worth_saying(low: float, high: float, words: str) -> None:
    assert spread(low, high) == words


def test_what_is_not_known_is_not_guessed() -> None:
    assert "not known" in usual(None)
    assert remaining(None) == ""


def test_ten_like_starts_are_told_as_the_span_they_were_in() -> None:
    times = StartTimes()
    for seconds in (40, 44, 38, 41, 36, 43, 40, 39, 42, 37):
        times.learn({"ready": seconds})

    assert usual(times.estimate()) == "usually 35\u201345 s"
    assert remaining(times.remaining(20.0)) == "15\u201325 s"


def test_a_start_that_takes_longer_than_any_says_so() -> None:
    assert remaining(Estimate(0.0, 0.0, 0.0)) == "longer than usual, so any moment now"


def test_every_phase_has_its_step_and_words_and_never_goes_back() -> None:
    phases = [phase for phase in Phase if phase is not Phase.STOPPING]
    steps = [Outlook(phase=phase).step for phase in phases]

    assert steps == sorted(steps)
    assert len({Outlook(phase=phase).headline for phase in Phase}) == len(Phase)
    assert Outlook(phase=Phase.STARTED, ready=True).step == len(STEPS) - 1


def test_what_keeps_it_from_going_on_is_the_headline() -> None:
    assert "Paused" in Outlook(phase=Phase.STARTED, paused=True, retry_in=3.0).headline
    assert "could not be started" in Outlook(phase=Phase.REQUESTED, retry_in=3.0).headline
