"""One leader at a time: single steps."""

from __future__ import annotations

import pytest

from activator.core.duty import Duty
from activator.core.election import (
    Acquire,
    Election,
    LeaseRecord,
    Look,
    Pace,
    Renew,
    StepDown,
    Wait,
)

PACE = Pace()
OTHERS = LeaseRecord("other", term=4, beat=9)


def leader(*, since: float = 0.0) -> Election:
    election = Election("me")
    election.answered(Look(), LeaseRecord(), done=True, asked=since, now=since)
    election.answered(
        Acquire(LeaseRecord(), 1), LeaseRecord("me", 1, 1), done=True, asked=since, now=since
    )
    return election


def follower(record: LeaseRecord = OTHERS, *, at: float = 0.0) -> Election:
    election = Election("me")
    election.answered(Look(), record, done=True, asked=at, now=at)
    return election


def test_reads_before_it_asks_for_anything() -> None:
    assert Election("me").step(now=0.0) == Look()


def test_a_lease_that_nobody_ever_had_is_taken_at_once() -> None:
    election = follower(LeaseRecord())

    assert election.step(now=0.0) == Acquire(LeaseRecord(), 1)


def test_one_that_has_been_given_back_is_taken_as_soon_as_that_is_seen() -> None:
    election = follower()
    election.answered(Look(), LeaseRecord("", 4, 10), done=True, asked=1.0, now=1.2)

    assert election.step(now=1.2) == Acquire(LeaseRecord("", 4, 10), 5)


def test_who_is_not_the_first_to_take_it_looks_again_in_its_time() -> None:
    election, free = follower(LeaseRecord("", 4, 1)), LeaseRecord("", 4, 2)
    question = election.step(now=0.0)
    assert isinstance(question, Acquire)
    election.answered(question, free, done=False, asked=0.0, now=0.1)

    assert election.step(now=0.1) == Wait(PACE.look)


def test_leading_counts_from_the_moment_of_asking() -> None:
    election = follower(LeaseRecord())
    question = election.step(now=1.0)
    assert isinstance(question, Acquire)
    election.answered(question, LeaseRecord("me", 1, 1), done=True, asked=1.0, now=1.9)

    assert election.leads(now=1.0 + PACE.hold - 0.01)
    assert not election.leads(now=1.0 + PACE.hold)


def test_a_renewal_is_asked_for_in_time_and_prolongs() -> None:
    election = leader()

    assert election.step(now=0.0) == Wait(PACE.renew)
    assert election.step(now=PACE.renew) == Renew(LeaseRecord("me", 1, 1))
    election.answered(
        Renew(LeaseRecord("me", 1, 1)), LeaseRecord("me", 1, 2), done=True, asked=2.0, now=2.1
    )

    assert election.leads(now=2.0 + PACE.hold - 0.01)


def test_steps_down_once_when_the_store_has_not_answered_in_time() -> None:
    election = leader()
    for second in (2.5, 3.5, 4.5, 5.5, 6.5):
        election.failed(now=second)
        assert election.leads(now=second)

    assert election.step(now=PACE.hold) == StepDown()
    assert not election.leads(now=PACE.hold)
    assert election.step(now=PACE.hold) != StepDown()


def test_waits_no_longer_than_its_leading_lasts() -> None:
    election = leader()
    election.failed(now=6.5)

    assert election.step(now=6.6) == Wait(PACE.hold)


def test_leads_again_with_the_same_term_if_nobody_took_the_lease_meanwhile() -> None:
    election = leader()
    election.failed(now=8.0)
    assert election.step(now=9.0) == StepDown()
    question = election.step(now=9.0)
    assert question == Renew(LeaseRecord("me", 1, 1))
    election.answered(Renew(question.seen), LeaseRecord("me", 1, 2), done=True, asked=9.0, now=9.1)

    assert election.leads(now=9.1)


def test_a_refused_renewal_ends_leading_at_once() -> None:
    election = leader()
    election.answered(Renew(LeaseRecord("me", 1, 1)), OTHERS, done=False, asked=2.0, now=2.1)

    assert not election.leads(now=2.1)
    assert election.step(now=2.1) == StepDown()


def test_a_record_that_stands_still_for_a_whole_lapse_is_taken_and_not_sooner() -> None:
    election = follower()
    for second in range(1, 10):
        assert election.step(now=float(second)) == Look()
        election.answered(Look(), OTHERS, done=True, asked=float(second), now=second + 0.1)

    assert election.step(now=9.5) == Wait(PACE.lapse)
    assert election.step(now=PACE.lapse) == Acquire(OTHERS, 5)


def test_a_record_that_moves_is_left_alone() -> None:
    election = follower()
    moved = LeaseRecord("other", 4, 10)
    election.answered(Look(), moved, done=True, asked=9.0, now=9.0)

    assert election.step(now=18.9) == Look()
    assert election.step(now=19.0) == Acquire(moved, 5)


def test_whoever_holds_no_lease_stands_by() -> None:
    assert Election("me").duty(now=0.0) is Duty.STANDS_BY
    assert follower().duty(now=0.0) is Duty.STANDS_BY
    assert follower(LeaseRecord("", 4, 1)).duty(now=0.0) is Duty.STANDS_BY


def test_one_that_could_not_renew_serves_no_longer_than_it_may() -> None:
    election = leader()

    assert election.duty(now=PACE.hold - 0.01) is Duty.SERVES
    assert election.duty(now=PACE.hold) is Duty.LAPSED


def test_one_is_cut_off_when_two_questions_in_a_row_had_no_answer() -> None:
    election = leader()
    election.failed(now=5.0)
    assert election.duty(now=PACE.hold) is Duty.LAPSED
    election.failed(now=6.5)

    assert election.duty(now=6.6) is Duty.SERVES
    assert election.duty(now=PACE.hold) is Duty.CUT_OFF
    election.answered(Look(), LeaseRecord("me", 1, 1), done=True, asked=8.0, now=8.0)
    assert election.duty(now=8.0) is Duty.LAPSED  # until it has moved it
    election.answered(Look(), OTHERS, done=True, asked=9.0, now=9.0)
    assert election.duty(now=9.0) is Duty.STANDS_BY


def test_one_that_gave_it_back_is_leaving_whatever_comes() -> None:
    election = leader()
    assert election.give_back() == LeaseRecord("me", 1, 1)

    assert election.duty(now=0.1) is Duty.LEAVING
    assert election.give_back() is None


def test_a_holder_knows_whom_it_took_the_lease_from() -> None:
    election = follower()
    assert election.taken_from is None
    question = election.step(now=PACE.lapse)
    assert question == Acquire(OTHERS, 5)
    election.failed(now=PACE.lapse)  # the answer was lost
    mine = LeaseRecord("me", 5, 10)
    election.answered(Look(), mine, done=True, asked=12.0, now=12.0)
    assert election.step(now=12.0 + PACE.renew) == Renew(mine)
    election.answered(Renew(mine), LeaseRecord("me", 5, 11), done=True, asked=14.0, now=14.0)

    assert election.leads(now=14.0)
    assert election.taken_from == OTHERS


@pytest.mark.parametrize("slow", [True, False])
def test_a_store_that_does_not_answer_proves_nothing(slow: bool) -> None:
    election = follower()
    if slow:
        election.answered(Look(), OTHERS, done=True, asked=1.0, now=9.0)
    else:
        election.failed(now=8.0)
        election.answered(Look(), OTHERS, done=True, asked=9.0, now=9.0)

    assert election.step(now=18.9) == Look()
    assert isinstance(election.step(now=19.0), Acquire)


def test_a_holder_that_is_seen_gone_need_not_lapse() -> None:
    election = follower()
    election.is_gone("other")

    assert election.step(now=0.1) == Acquire(OTHERS, 5)


def test_a_lease_that_was_given_back_is_free() -> None:
    election = follower()
    free = LeaseRecord("", 4, 10)
    election.answered(Look(), free, done=True, asked=1.0, now=1.0)

    assert election.step(now=2.0) == Acquire(free, 5)


def test_giving_back_ends_leading_before_the_store_hears_of_it() -> None:
    election = leader()

    assert election.give_back() == LeaseRecord("me", 1, 1)
    assert not election.leads(now=0.0)
    assert follower().give_back() is None


def test_a_term_is_never_given_twice_even_if_the_store_forgets() -> None:
    election = follower()
    election.answered(Look(), LeaseRecord(), done=True, asked=1.0, now=1.0)

    assert election.step(now=2.0) == Acquire(LeaseRecord(), 5)


def test_a_lease_taken_by_a_question_whose_answer_was_lost_does_not_count_until_it_is_moved() -> (
    None
):
    election = follower(LeaseRecord())
    election.failed(now=1.5)  # Acquire was carried out, its answer never came
    mine = LeaseRecord("me", 1, 1)
    election.answered(Look(), mine, done=True, asked=9.0, now=9.0)
    assert not election.leads(now=9.0)

    assert election.step(now=9.0 + PACE.renew) == Renew(mine)
    election.answered(
        Acquire(LeaseRecord(), 1), LeaseRecord("me", 1, 1), done=False, asked=9.0, now=9.1
    )
    assert not election.leads(now=9.1)
