"""One leader at a time: single steps, then simulated activators whose clocks, pauses and questions
to the store go as badly as the assumptions allow."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from itertools import count, pairwise
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.core.election import Question

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


# --- many of them


@dataclass
class Store:
    record: LeaseRecord = field(default_factory=LeaseRecord)

    def do(self, me: str, question: Question) -> tuple[LeaseRecord, bool]:
        now = self.record
        match question:
            case Acquire(seen, term) if seen == now:
                self.record = LeaseRecord(me, term, 1)
            case Renew(seen) if (now.holder, now.term) == (me, seen.term):
                self.record = LeaseRecord(me, now.term, now.beat + 1)
            case Look():
                return now, True
            case _:
                return now, False
        return self.record, True


@dataclass
class Candidate:
    election: Election
    name: str
    rate: float
    offset: float
    paused_until: float = 0.0
    is_dead: bool = False
    led: list[int] = field(default_factory=list)
    """Terms."""

    def clock(self, t: float) -> float:
        return self.offset + self.rate * t

    def leads(self, t: float) -> bool:
        return not self.is_dead and self.election.leads(now=self.clock(t))


class Town:
    """Activators and one store in simulated real time. `trouble`: how often something goes wrong
    (a question or its answer lost or slow, an activator or the store paused)."""

    def __init__(self, random: Random, *, size: int, trouble: float) -> None:
        self.random = random
        self.trouble = trouble
        self.t = 0.0
        self.store = Store()
        self.store_paused_until = 0.0
        self.queue: list[tuple[float, int, Callable[[], None]]] = []
        self.numbers = count()
        self.all = [
            Candidate(
                Election(f"a{n}"),
                f"a{n}",
                rate=random.choice([0.95, 1.0, 1.05]),
                offset=random.uniform(-1e4, 1e4),
            )
            for n in range(size)
        ]
        for each in self.all:
            self.at(random.uniform(0.0, 3.0), lambda each=each: self.act(each))  # type: ignore[misc]

    def at(self, moment: float, what: Callable[[], None]) -> None:
        heapq.heappush(self.queue, (moment, next(self.numbers), what))

    def goes_wrong(self) -> bool:
        return self.random.random() < self.trouble

    def run(self, until: float) -> None:
        while self.queue and self.queue[0][0] <= until:
            self.t, _, what = heapq.heappop(self.queue)
            what()
            leaders = [each.name for each in self.all if each.leads(self.t)]
            assert len(leaders) <= 1, leaders
        self.t = until

    def act(self, each: Candidate) -> None:
        if each.is_dead:
            return
        if self.t < each.paused_until:
            self.at(each.paused_until, lambda: self.act(each))
            return
        if self.goes_wrong():
            each.paused_until = self.t + self.random.uniform(0.0, 40.0)
        if self.goes_wrong():
            self.store_paused_until = self.t + self.random.uniform(0.0, 30.0)
        now = each.clock(self.t)
        match each.election.step(now=now):
            case Wait(until):
                assert until > now
                self.at(self.t + (until - now) / each.rate + 1e-6, lambda: self.act(each))
            case StepDown():
                assert not each.leads(self.t)
                self.act(each)
            case question:
                self.ask(each, question, asked=now)

    def ask(self, each: Candidate, question: Question, *, asked: float) -> None:
        """It is carried out at some time, or never; answered by then, or given up after 0.5 s."""
        arrives = self.t + self.delay()
        arrives = max(arrives, self.store_paused_until)
        replies = arrives + self.delay()
        gives_up = self.t + 0.5
        answer: list[tuple[LeaseRecord, bool]] = []
        if not self.goes_wrong():
            self.at(arrives, lambda: answer.append(self.store.do(each.name, question)))
        patient = self.goes_wrong()  # a shell that waits long is no worse
        if replies > gives_up and not patient:
            self.at(gives_up, lambda: self.told(each, question, [], asked=asked))
        else:
            lost = self.goes_wrong()
            self.at(replies, lambda: self.told(each, question, [] if lost else answer, asked=asked))

    def delay(self) -> float:
        return self.random.uniform(0.0, 3.0 if self.goes_wrong() else 0.02)

    def told(
        self,
        each: Candidate,
        question: Question,
        answer: list[tuple[LeaseRecord, bool]],
        *,
        asked: float,
    ) -> None:
        if each.is_dead:
            return
        if self.t < each.paused_until:
            self.at(each.paused_until, lambda: self.told(each, question, answer, asked=asked))
            return
        now = each.clock(self.t)
        if answer:
            record, done = answer[0]
            each.election.answered(question, record, done=done, asked=asked, now=now)
        else:
            each.election.failed(now=now)
        if each.leads(self.t) and each.election.record.term not in each.led[-1:]:
            each.led.append(each.election.record.term)
        self.act(each)

    def leader(self) -> Candidate | None:
        return next((each for each in self.all if each.leads(self.t)), None)


RANDOM = st.builds(Random, st.integers(0, 2**32))


@settings(max_examples=150, deadline=None)
@given(random=RANDOM, size=st.integers(2, 4), trouble=st.sampled_from([0.0, 0.02, 0.1, 0.3]))
def test_two_never_lead_at_the_same_time(random: Random, size: int, trouble: float) -> None:
    town = Town(random, size=size, trouble=trouble)

    town.run(until=300.0)

    terms = [term for each in town.all for term in each.led]
    assert len(terms) == len(set(terms)), "a term had two holders"
    for each in town.all:
        assert all(one < other for one, other in pairwise(each.led))


@settings(max_examples=100, deadline=None)
@given(random=RANDOM, size=st.integers(2, 4), trouble=st.sampled_from([0.0, 0.1]))
def test_when_the_leader_is_killed_another_leads_within_fifteen_seconds(
    random: Random, size: int, trouble: float
) -> None:
    town = Town(random, size=size, trouble=trouble)
    town.run(until=random.uniform(60.0, 100.0))
    town.trouble = 0.0
    town.run(until=town.t + 120.0)
    first = town.leader()
    assert first is not None
    killed_at = town.t

    first.is_dead = True
    town.run(until=killed_at + 15.0)

    second = town.leader()
    assert second is not None
    assert second.election.record.term > first.election.record.term


@settings(max_examples=50, deadline=None)
@given(random=RANDOM)
def test_while_all_is_well_the_leader_stays(random: Random) -> None:
    town = Town(random, size=3, trouble=0.0)
    town.run(until=60.0)
    first = town.leader()
    assert first is not None
    for _ in range(100):
        town.run(until=town.t + random.uniform(0.0, 10.0))

        assert town.leader() is first
