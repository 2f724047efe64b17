"""Slots that activators keep for requests to come: nobody is worse off for them."""

from __future__ import annotations

import asyncio
import time
from itertools import count
from typing import TYPE_CHECKING, TypeAlias

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from activator.coordination.base import ASKED
from activator.coordination.ledger_talk import FRESH
from activator.core.dispatch import Ticket, TicketState
from tests.integration.coordination.house import A, B, House, endpoint, house
from tests.ledgers import settled
from tests.redis_server import executable, redis_server
from tests.support import eventually

if TYPE_CHECKING:
    from activator.coordination.redis_ledger import RedisLedger
    from activator.core.endpoint import Replica

LIMIT = 16
"""Slots are kept while half of them are free."""


async def use_and_keep(h: House, who: int, number: int) -> None:
    """So many slots are kept there afterwards."""
    first = len(h.granted)
    for _ in range(number):
        h.line_up(who)
    await eventually(lambda: len(h.granted) == first + number)
    for _, ticket in h.granted[first:]:
        h.end(who, ticket)
    await settled(*h.ledgers)
    assert in_flight(h) >= number


def in_flight(h: House, replica: str = "a") -> int:
    """To the store."""
    record = h.server.ask("HGET", f"{h.prefix}:{{m}}:slots:state", f"r:{replica}")
    return int(record.split()[0]) if record else 0


async def test_while_slots_are_plenty_a_request_asks_nobody() -> None:
    async with house("x", "y", model=endpoint(concurrency=LIMIT)) as h:
        for who in (0, 1):
            await use_and_keep(h, who, 2)
        before = h.calls()

        for number in range(500):
            ticket = Ticket()
            ledger = h.ledgers[number % 2]
            assert ledger.acquire_now(ticket, never) == A
            assert ledger.load("a") >= 1
            ledger.release(ticket)

        await settled(*h.ledgers)
        assert h.calls() - before < 20  # now and then what was missed
        assert in_flight(h) <= 4


def never(ticket: Ticket, replica: Replica | None) -> None:
    raise AssertionError("it was told at once")


async def test_who_finds_none_gets_what_others_keep() -> None:
    async with house("x", "y", model=endpoint(concurrency=LIMIT)) as h:
        await use_and_keep(h, 0, LIMIT // 2)
        first = len(h.granted)

        mine = [h.line_up(1) for _ in range(LIMIT + 1)]

        await eventually(lambda: len(h.granted) == first + LIMIT, within=0.4)  # no check finds it
        await settled(*h.ledgers)
        assert h.most == {"a": LIMIT}
        assert mine[-1].state is TicketState.WAITING


async def test_nothing_is_kept_from_somebody_who_waits() -> None:
    async with house("x", "y", model=endpoint(concurrency=LIMIT)) as h:
        await use_and_keep(h, 0, 4)
        running = [h.line_up(0) for _ in range(LIMIT)]
        await eventually(lambda: h.running["a"] == LIMIT)
        behind = [h.line_up(1) for _ in range(LIMIT)]
        await settled(*h.ledgers)
        first = len(h.granted)

        for number, ticket in enumerate(running, 1):
            h.end(0, ticket)
            await h.grants(first + number)

        assert [ticket for _, ticket in h.granted[first:]] == behind
        assert h.most == {"a": LIMIT}


async def test_what_is_not_needed_is_given_back() -> None:
    async with house("x", model=endpoint(concurrency=LIMIT)) as h:
        await use_and_keep(h, 0, 5)
        assert in_flight(h) == 5
        assert h.ledgers[0].load("a") == 0
        assert not h.ledgers[0].full

        await eventually(lambda: in_flight(h) == 0, within=3.0)


async def test_a_slot_that_comes_free_is_for_who_asked_first() -> None:
    async with house("x", model=endpoint(concurrency=LIMIT)) as h:
        (ledger,) = h.ledgers
        await use_and_keep(h, 0, 1)
        running = h.line_up(0)
        assert running.state is TicketState.GRANTED, "from what is kept"
        said: list[tuple[str, Replica | None]] = []
        early, late = Ticket(), Ticket()

        assert ledger.acquire_now(early, lambda _, r: said.append(("early", r))) is ASKED
        h.end(0, running)
        assert ledger.acquire_now(late, lambda _, r: said.append(("late", r))) is ASKED
        await asyncio.sleep(0)  # before any answer can have come
        assert said == [("early", A)]

        await eventually(lambda: len(said) == 2)
        assert said[1] == ("late", A)
        await settled(ledger)
        assert in_flight(h) == 3, "what the store has said to the early one is kept"
        ledger.release(early)
        ledger.release(late)
        await settled(ledger)
        await eventually(lambda: in_flight(h) == 0, within=3.0)


async def test_who_was_served_from_what_is_kept_leaves_no_place_in_line() -> None:
    async with house("x", "y", model=endpoint(concurrency=LIMIT)) as h:
        (here, there) = h.ledgers
        await use_and_keep(h, 0, 1)
        running = h.line_up(0)
        assert running.state is TicketState.GRANTED
        for _ in range(LIMIT - 1):  # which the first does not hear of
            h.line_up(1)
        await settled(there)
        said: list[Replica | None] = []

        assert here.acquire_now(Ticket(), lambda _, r: said.append(r)) is ASKED
        h.end(0, running)

        await eventually(lambda: said == [A])
        await settled(here, there)
        assert h.server.ask("EXISTS", f"{h.prefix}:{{m}}:slots:line") == 0
        assert in_flight(h) == LIMIT


async def test_who_is_on_the_way_into_the_line_is_not_overtaken() -> None:
    async with house("x", model=endpoint(concurrency=LIMIT)) as h:
        (ledger,) = h.ledgers
        await use_and_keep(h, 0, 1)
        running = h.line_up(0)
        assert running.state is TicketState.GRANTED
        answered = asyncio.Event()
        assert ledger.acquire_now(Ticket(), lambda *_: answered.set()) is ASKED
        await asyncio.sleep(0)  # it is asked by now, and of the next nothing is known there
        early = h.line_up(0)
        first = len(h.granted)

        await answered.wait()
        h.end(0, running)
        late = h.line_up(0)

        assert (await h.grants(first + 2))[first:] == [early, late]


async def test_nothing_is_kept_while_somebody_waits_for_another_replica() -> None:
    async with house("x", model=endpoint(concurrency=LIMIT)) as h:
        await use_and_keep(h, 0, 4)
        waiting = h.line_up(0, Ticket(exclude=(A.id,)))
        await settled(*h.ledgers)
        assert in_flight(h) == 0

        for _ in range(3):
            first = len(h.granted)
            ticket = h.line_up(0)
            await h.grants(first + 1)
            h.end(0, ticket)
            await settled(*h.ledgers)
            assert in_flight(h) == 0

        assert waiting.state is TicketState.WAITING


async def test_nothing_is_kept_once_one_that_would_not_wait_has_found_none() -> None:
    async with house("x", model=endpoint(concurrency=LIMIT)) as h:
        await use_and_keep(h, 0, 4)
        answers: list[Replica | None] = []
        asks = Ticket(passive=True, exclude=(A.id,))
        assert h.ledgers[0].acquire_now(asks, lambda _, r: answers.append(r)) is ASKED
        await eventually(lambda: answers == [None])
        await settled(*h.ledgers)
        assert in_flight(h) == 0, "the store has struck it off those who keep some"


async def test_a_question_that_is_answered_no_brings_back_what_others_keep() -> None:
    async with house("x", "y", model=endpoint(concurrency=LIMIT)) as h:
        await use_and_keep(h, 0, 1)
        for _ in range(LIMIT - 1):
            h.line_up(1)
        await settled(*h.ledgers)
        answers: list[Replica | None] = []

        def ask() -> None:
            ticket = Ticket(passive=True)
            assert h.ledgers[1].acquire_now(ticket, lambda _, r: answers.append(r)) is ASKED

        ask()
        await eventually(lambda: answers == [None])
        await eventually(lambda: in_flight(h) == LIMIT - 1, within=0.4)
        ask()
        await eventually(lambda: answers == [None, A])


def spares_end(ledger: RedisLedger, change: str) -> None:
    match change:
        case "hold":
            ledger.hold()
        case "another replica":
            ledger.offer([(A, False), (B, False)])
        case "limit":
            ledger.configure(endpoint(concurrency=LIMIT - 1))
        case _:
            ledger.offer([])


@pytest.mark.parametrize("change", ["hold", "another replica", "limit", "none"])
async def test_whatever_changes_all_are_given_back_at_once(change: str) -> None:
    async with house("x", "y", model=endpoint(concurrency=LIMIT)) as h:
        await use_and_keep(h, 0, 4)

        spares_end(h.ledgers[0], change)

        await settled(*h.ledgers)
        assert in_flight(h) == 0


async def test_over_several_replicas_the_store_balances() -> None:
    both = ((A, False), (B, False))
    async with house("x", model=endpoint(concurrency=LIMIT), replicas=both) as h:
        for number in range(6):
            ticket = h.line_up(0)
            await h.grants(number + 1)
            h.end(0, ticket)
            await settled(*h.ledgers)
            assert in_flight(h) == in_flight(h, "b") == 0


# --- in trouble


async def test_what_a_silent_activator_keeps_passes_on() -> None:
    async with house("x", "y", model=endpoint(concurrency=LIMIT)) as h:
        await use_and_keep(h, 0, LIMIT // 2)
        h.server.ask("CLIENT", "KILL", "TYPE", "pubsub")  # it hears nothing
        await h.activators[0].link.aclose()  # … and says nothing
        first = len(h.granted)
        for _ in range(LIMIT):
            h.line_up(1)
        await eventually(lambda: len(h.granted) == first + LIMIT // 2)

        h.activators[1].roster.silence("x")

        await eventually(lambda: len(h.granted) == first + LIMIT)


async def test_a_recall_that_was_lost_is_made_up_for() -> None:
    async with house("x", "y", model=endpoint(concurrency=LIMIT)) as h:
        await use_and_keep(h, 0, LIMIT // 2)
        first = len(h.granted)
        h.server.ask("CLIENT", "KILL", "TYPE", "pubsub")

        for _ in range(LIMIT):
            h.line_up(1)

        await eventually(lambda: len(h.granted) == first + LIMIT)
        assert h.most == {"a": LIMIT}


async def test_without_the_stores_word_nothing_is_given_from_what_is_kept() -> None:
    with redis_server() as server:
        model = endpoint(concurrency=LIMIT)
        async with house("x", "y", model=model, server=server, timeout=0.3) as h:
            await use_and_keep(h, 0, LIMIT // 2)
            heard = asyncio.get_running_loop().time()
            server.pause()
            mine = [h.line_up(0) for _ in range(LIMIT)]

            await eventually(lambda: h.ledgers[0].is_alone)

            assert asyncio.get_running_loop().time() - heard < FRESH + 1.0
            await eventually(lambda: h.running["a"] == LIMIT // 2)  # its share
            server.resume()
            await eventually(lambda: not h.ledgers[0].is_alone, within=5)
            await eventually(lambda: h.running["a"] == LIMIT)
            for ticket in mine:
                h.end(0, ticket)
            await eventually(lambda: in_flight(h) == 0, within=5.0)


async def test_one_that_stood_still_asks_before_it_gives_anything_from_what_it_keeps() -> None:
    async with house("x", "y", model=endpoint(concurrency=LIMIT)) as h:
        await use_and_keep(h, 0, 4)
        answers: list[Replica | None] = []

        stand_still(FRESH)

        assert h.ledgers[0].acquire_now(Ticket(), lambda _, r: answers.append(r)) is ASKED
        await eventually(lambda: answers == [A])


def stand_still(seconds: float) -> None:
    """As a process that is stopped, with its loop."""
    time.sleep(seconds)


async def test_a_store_that_has_forgotten_hears_what_runs_on_a_kept_slot() -> None:
    with redis_server() as server:
        async with house("x", "y", model=endpoint(concurrency=LIMIT), server=server) as h:
            await use_and_keep(h, 0, 4)
            running = [h.line_up(0) for _ in range(3)]
            assert all(each.state is TicketState.GRANTED for each in running)

            server.ask("FLUSHALL")
            for _ in range(LIMIT + 4):
                h.line_up(1)

            await eventually(lambda: h.running["a"] == LIMIT, within=5.0)
            assert h.most == {"a": LIMIT}


# --- whatever is done

Step: TypeAlias = "tuple[str, int, int]"

steps = st.lists(
    st.one_of(
        st.tuples(st.just("acquire"), st.integers(0, 2), st.integers(1, 8)),
        st.tuples(st.just("ask"), st.integers(0, 2), st.integers(1, 8)),
        st.tuples(st.just("end"), st.integers(0, 40), st.integers(1, 12)),
        st.tuples(st.just("rush"), st.integers(0, 2), st.integers(1, 6)),
        st.tuples(st.just("limit"), st.integers(6, 20), st.just(0)),
        st.tuples(st.sampled_from(["hold", "resume", "again"]), st.integers(0, 2), st.just(0)),
    ),
    max_size=25,
)


class Course:
    """Three activators, and what is true of them whenever all has been said."""

    def __init__(self, h: House, limit: int) -> None:
        self.h = h
        self.limit = limit
        self.highest = limit
        self.held: set[int] = set()
        self.numbers = count()
        self.began = asyncio.get_running_loop().time() - 60.0
        self.all: list[tuple[int, Ticket]] = []

    def ticket(self, who: int) -> Ticket:
        # in order by more than their ideas of the store's clock may differ
        made = Ticket(arrived=self.began + next(self.numbers))
        self.all.append((who, made))
        return made

    def take(self, step: Step) -> None:
        match step:
            case ("acquire", who, number):
                for _ in range(number):
                    self.h.line_up(who, self.ticket(who))
            case ("ask", who, number):
                for _ in range(number):
                    self.ask(who, self.ticket(who))
            case ("end", which, number):
                running = [each for each in self.h.granted if is_running(each[1])]
                for at in range(min(number, len(running))):
                    self.h.end(*running[(which + at) % len(running)])
            case ("rush", who, number):  # one after the other, and each is answered at once
                for _ in range(number):
                    ticket = self.h.line_up(who, self.ticket(who))
                    if is_running(ticket):
                        self.h.end(who, ticket)
            case ("limit", limit, _):
                self.limit, self.highest = limit, max(limit, self.highest)
                for ledger in self.h.ledgers:
                    ledger.configure(endpoint(concurrency=limit))
            case ("hold", who, _):
                self.held.add(who)
                self.h.ledgers[who].hold()
            case ("resume", who, _):
                self.held.discard(who)
                self.h.ledgers[who].resume()
            case ("again", who, _):
                self.h.ledgers[who].catch_up()

    def ask(self, who: int, ticket: Ticket) -> None:
        def decided(ticket: Ticket, replica: Replica | None) -> None:
            if replica is None:
                self.h.line_up(who, ticket)
            else:
                self.h._got(who, ticket, replica)

        said = self.h.ledgers[who].acquire_now(ticket, decided)
        if said is not ASKED:
            decided(ticket, said)

    def waiting(self) -> list[Ticket]:
        """In order, of those that may be given something."""
        return [
            ticket
            for who, ticket in self.all
            if ticket.state is TicketState.WAITING and who not in self.held
        ]

    def is_just(self) -> bool:
        """Nobody waits who could have a slot."""
        if any(ticket.state is TicketState.NEW for _, ticket in self.all):
            return False
        return not self.waiting() or self.h.running["a"] >= self.limit


def is_running(ticket: Ticket) -> bool:
    return ticket.state is TicketState.GRANTED


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
@given(limit=st.integers(8, 20), course=steps)
@example(limit=16, course=[("acquire", 0, 8), ("end", 0, 8), ("acquire", 1, 8), ("ask", 1, 8)])
@example(limit=16, course=[("ask", 0, 8), ("end", 0, 4), ("ask", 1, 8), ("ask", 0, 8)])
def test_limits_are_exact_and_nobody_waits_in_vain_or_out_of_order(
    limit: int, course: list[Step]
) -> None:
    executable()
    asyncio.run(play(limit, course))


async def play(limit: int, course: list[Step]) -> None:
    async with house("x", "y", "z", model=endpoint(concurrency=limit)) as h:
        told = Course(h, limit)
        for number, step in enumerate(course):
            so_far = f"after {course[: number + 1]}"
            before, granted = told.waiting(), len(h.granted)
            told.take(step)
            await eventually(told.is_just, within=5.0)
            await settled(*h.ledgers)
            assert h.most["a"] <= told.highest, so_far
            left = [ticket for ticket in before if ticket in told.waiting()]
            new = [ticket for _, ticket in h.granted[granted:]]
            for waits in left:  # nobody who came later was given anything
                assert all(each.arrived < waits.arrived for each in new), so_far
        for ledger in h.ledgers:
            ledger.resume()
        ended = 0
        while any(ticket.state is not TicketState.DONE for _, ticket in told.all):
            for who, ticket in h.granted[ended:]:
                if is_running(ticket):
                    h.end(who, ticket)
                ended += 1
            await asyncio.sleep(0.001)
        for ledger in h.ledgers:  # nothing is kept any more
            ledger.hold()
        await settled(*h.ledgers)
        assert in_flight(h) == 0
        assert h.running["a"] == 0
