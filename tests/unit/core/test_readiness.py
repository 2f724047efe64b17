"""When a replica may be given requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.core.endpoint import ProbePolicy
from activator.core.readiness import (
    FAILURES_TO_EJECT,
    FASTEST,
    IN_DOUBT,
    MAX_OPEN_PROBES,
    SLOWEST,
    TOGETHER,
    Answer,
    ProbeOutcome,
    Readiness,
    pace_while_away,
)

POLICY = ProbePolicy(interval=0.05, ready_interval=5.0, timeout=1.0)
OK = ProbeOutcome(Answer.ANSWERED, "HTTP 200")
REFUSED = ProbeOutcome(Answer.REFUSED, "connection refused")
TIMEOUT = ProbeOutcome(Answer.TIMEOUT, "no answer within 1 s")
LOADING = ProbeOutcome(Answer.ERROR, "HTTP 503")


def starting() -> Readiness:
    return Readiness(POLICY, now=0.0)


def ready_since(now: float) -> Readiness:
    replica = Readiness(POLICY, now=0.0)
    replica.probed(OK, in_flight=0, now=now)
    return replica


def test_a_replica_is_not_ready_before_it_has_answered() -> None:
    replica = starting()

    assert not replica.ready
    assert "not answered" in replica.reason
    assert replica.generation == 0


def test_one_answer_is_enough() -> None:
    replica = starting()
    replica.probed(REFUSED, in_flight=0, now=1.0)
    replica.probed(LOADING, in_flight=0, now=2.0)

    replica.probed(OK, in_flight=0, now=3.0)

    assert replica.ready
    assert replica.generation == 1
    assert "HTTP 200" in replica.reason


def test_a_starting_replica_keeps_the_last_answer_as_its_reason() -> None:
    replica = starting()

    replica.probed(LOADING, in_flight=0, now=1.0)

    assert "HTTP 503" in replica.reason


def pace(silent: float, *, awaited: bool, crowd: int = 1) -> float:
    return pace_while_away(silent, interval=POLICY.interval, awaited=awaited, crowd=crowd)


def test_a_replica_that_somebody_waits_for_is_asked_at_the_interval_and_then_a_little_less() -> (
    None
):
    paces = [pace(silent, awaited=True) for silent in (0.0, 50.0, 100.0, 180.0, 900.0, 7200.0)]

    assert paces == pytest.approx([0.05, 0.05, 0.1, 0.18, 0.9, SLOWEST])


def test_one_that_nobody_waits_for_is_soon_asked_seldom() -> None:
    paces = [pace(silent, awaited=False) for silent in (0.0, 1.0, 10.0, 40.0, 7200.0)]

    assert paces == pytest.approx([0.05, 0.05, 0.5, SLOWEST, SLOWEST])


@given(
    silent=st.floats(0, 1e6),
    interval=st.floats(0, 60),
    awaited=st.booleans(),
    crowd=st.integers(1, 10_000),
)
def test_all_who_do_not_answer_are_together_asked_so_often_and_no_more(
    silent: float, interval: float, awaited: bool, crowd: int
) -> None:
    paced = pace_while_away(silent, interval=interval, awaited=awaited, crowd=crowd)

    assert crowd / paced <= TOGETHER * 1.001
    assert max(interval, FASTEST) <= paced <= max(interval, SLOWEST, crowd / TOGETHER)


@given(silent=st.floats(0, 1e6))
def test_a_long_wait_is_made_longer_by_no_more_than_a_thousandth(silent: float) -> None:
    longest = max(POLICY.interval, silent / 1000)
    assert pace(silent, awaited=True) <= longest * (1 + 1e-12)  # their last digits may differ


def test_a_sign_of_life_makes_the_pace_quick_again() -> None:
    replica = starting()
    replica.probed(REFUSED, in_flight=0, now=890.0)
    assert replica.next_probe(900.0) == pytest.approx(900.9)

    replica.stirred(900.4)

    assert replica.next_probe(900.0) == pytest.approx(900.05)
    assert replica.next_probe(900.5) == pytest.approx(900.55)


def test_a_ready_replica_is_probed_at_the_long_interval() -> None:
    assert ready_since(10.0).next_probe(10.0) == 15.0


def test_a_refused_probe_ejects_even_a_busy_replica() -> None:
    replica = ready_since(0.0)

    replica.probed(REFUSED, in_flight=3, now=5.0)

    assert not replica.ready
    assert "refused" in replica.reason


@pytest.mark.parametrize("outcome", [TIMEOUT, LOADING])
def test_a_busy_replica_is_not_ejected_by_slow_or_failing_probes(outcome: ProbeOutcome) -> None:
    replica = ready_since(0.0)

    for step in range(50):
        replica.probed(outcome, in_flight=1, now=5.0 * step)

    assert replica.ready


@pytest.mark.parametrize("outcome", [TIMEOUT, LOADING])
def test_an_idle_replica_is_ejected_after_three_failures_in_a_row(outcome: ProbeOutcome) -> None:
    replica = ready_since(0.0)

    for step in range(FAILURES_TO_EJECT - 1):
        replica.probed(outcome, in_flight=0, now=5.0 + step)
        assert replica.ready
    replica.probed(outcome, in_flight=0, now=8.0)

    assert not replica.ready
    assert outcome.detail in replica.reason


def test_an_answer_in_between_begins_the_count_anew() -> None:
    replica = ready_since(0.0)

    for outcome in (TIMEOUT, TIMEOUT, OK, TIMEOUT, TIMEOUT):
        replica.probed(outcome, in_flight=0, now=5.0)

    assert replica.ready


def test_failures_while_busy_do_not_count_once_it_is_idle() -> None:
    replica = ready_since(0.0)

    for in_flight in (0, 0, 1, 0, 0):
        replica.probed(TIMEOUT, in_flight=in_flight, now=5.0)

    assert replica.ready


def test_a_replica_in_doubt_is_looked_at_again_soon() -> None:
    replica = ready_since(0.0)

    replica.probed(TIMEOUT, in_flight=0, now=5.0)

    assert replica.next_probe(5.0) == 5.0 + IN_DOUBT


def test_a_refused_request_ejects_at_once() -> None:
    replica = ready_since(0.0)

    replica.refused(7.0)

    assert not replica.ready
    assert "refused or reset" in replica.reason


def test_a_refused_request_changes_nothing_for_a_starting_replica() -> None:
    replica = starting()
    reason = replica.reason

    replica.refused(1.0)

    assert replica.reason == reason
    assert replica.next_probe(10.0) == pytest.approx(10.05)


def test_ejected_and_ready_again_is_a_new_generation() -> None:
    replica = ready_since(0.0)
    replica.refused(1.0)

    replica.probed(OK, in_flight=0, now=1.1)

    assert replica.ready
    assert replica.generation == 2


def test_answers_of_a_ready_replica_are_no_new_generation() -> None:
    replica = ready_since(0.0)

    replica.probed(OK, in_flight=0, now=5.0)

    assert replica.generation == 1


def test_an_ejected_replica_is_probed_eagerly_and_then_ever_slower() -> None:
    replica = ready_since(0.0)
    replica.refused(100.0)

    moments = (100.0, 101.0, 110.0, 140.0, 500.0)
    paces = [replica.next_probe(at, awaited=False) - at for at in moments]

    assert paces == pytest.approx([0.05, 0.05, 0.5, SLOWEST, SLOWEST])
    assert replica.away_for(109.0) == "9 s"


def test_a_ready_replica_is_not_away() -> None:
    assert ready_since(0.0).away_for(5.0) == ""


def test_why_it_was_ejected_stays_while_it_is_away() -> None:
    replica = ready_since(0.0)
    replica.refused(1.0)

    replica.probed(TIMEOUT, in_flight=0, now=2.0)

    assert "refused or reset" in replica.reason


def test_a_stalled_replica_is_out_though_it_answers_probes() -> None:
    replica = ready_since(0.0)

    replica.stalled(200.0)
    replica.probed(OK, in_flight=2, now=200.1)

    assert not replica.ready
    assert "not one byte" in replica.reason


def test_a_stalled_replica_comes_back_when_what_was_stuck_has_ended() -> None:
    replica = ready_since(0.0)
    replica.stalled(200.0)

    replica.probed(OK, in_flight=0, now=230.0)

    assert replica.ready
    assert replica.generation == 2


def test_a_stalled_replica_comes_back_when_bytes_move_again() -> None:
    replica = ready_since(0.0)
    replica.stalled(200.0)

    replica.moved()
    replica.probed(OK, in_flight=2, now=210.0)

    assert replica.ready


def test_a_changed_policy_holds_from_the_next_probe_on() -> None:
    replica = ready_since(0.0)

    replica.reconfigure(ProbePolicy(ready_interval=2.0))

    assert replica.next_probe(10.0) == 12.0


def test_a_ready_interval_of_zero_means_no_probes_while_ready() -> None:
    replica = Readiness(ProbePolicy(ready_interval=0.0), now=0.0)
    replica.probed(OK, in_flight=0, now=0.0)

    assert replica.next_probe(1.0) == float("inf")


def test_an_interval_of_zero_does_not_spin() -> None:
    assert Readiness(ProbePolicy(interval=0.0), now=1.0).next_probe(1.0) == 1.0 + FASTEST


def test_an_outcome_without_detail_is_told_by_its_kind() -> None:
    replica = ready_since(0.0)

    replica.probed(ProbeOutcome(Answer.REFUSED), in_flight=0, now=1.0)

    assert "refused" in replica.reason


def test_few_probes_may_hang_at_a_time() -> None:
    assert MAX_OPEN_PROBES == 4


@given(
    history=st.lists(
        st.tuples(st.sampled_from(list(Answer)), st.integers(0, 3), st.floats(0.01, 30)),
        max_size=40,
    )
)
def test_it_is_ready_if_and_only_if_the_rules_say_so(
    history: list[tuple[Answer, int, float]],
) -> None:
    replica = starting()
    now, expected, in_a_row = 0.0, False, 0
    for kind, in_flight, passed in history:
        now += passed
        replica.probed(ProbeOutcome(kind), in_flight=in_flight, now=now)
        idle_failure = kind in {Answer.TIMEOUT, Answer.ERROR} and not in_flight and expected
        in_a_row = in_a_row + 1 if idle_failure else 0
        if kind is Answer.ANSWERED:
            expected = True
        elif kind is Answer.REFUSED or in_a_row >= FAILURES_TO_EJECT:
            expected, in_a_row = False, 0

        assert replica.ready is expected
        assert replica.next_probe(now) > now
