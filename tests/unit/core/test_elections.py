"""One leader at a time, of many: simulated activators whose clocks, pauses and questions to the
store go as badly as the assumptions allow."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from itertools import count, pairwise
from random import Random
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from activator.core.election import (
    Acquire,
    Election,
    LeaseRecord,
    Look,
    Renew,
    StepDown,
    Wait,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.core.election import Question


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
