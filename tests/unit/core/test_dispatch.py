from __future__ import annotations

import sys
from collections import Counter, deque
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from activator.core.dispatch import Dispatcher, Ticket, TicketState
from activator.core.endpoint import Balance, Replica
from activator.core.slots import WIDE_OPEN

if TYPE_CHECKING:
    from collections.abc import Sequence

A, B, C = (Replica(name, "127.0.0.1", port) for port, name in enumerate("abc", start=8000))
READY, STARTED = False, True


def line_of(
    *offer: tuple[Replica, bool],
    concurrency: int = 1,
    age: float = 30.0,
    balance: Balance = Balance.LEAST_LOADED,
) -> Dispatcher:
    dispatcher = Dispatcher(
        concurrency=concurrency, age=age, balance=balance, dice=Random(1).randrange
    )
    dispatcher.offer(offer, now=0.0)
    return dispatcher


def submitted(dispatcher: Dispatcher, *tickets: Ticket, now: float = 0.0) -> Sequence[Ticket]:
    for ticket in tickets:
        dispatcher.submit(ticket, now=now)
    return tickets


def drained(dispatcher: Dispatcher, granted: Sequence[Ticket], *, now: float) -> list[Ticket]:
    """Release in the order of the grants until nothing is granted any more; the whole order."""
    order: list[Ticket] = []
    running = deque(granted)
    while running:
        order.append(running.popleft())
        running.extend(dispatcher.release(order[-1], now=now))
    return order


# --- slots


def test_a_ticket_gets_a_free_slot_at_once() -> None:
    dispatcher, ticket = line_of((A, READY)), Ticket()

    assert dispatcher.submit(ticket, now=5.0) is A

    assert (ticket.state, ticket.replica, ticket.arrived) == (TicketState.GRANTED, A, 5.0)
    assert (dispatcher.in_flight, dispatcher.load("a"), dispatcher.waiting) == (1, 1, 0)


def test_with_every_slot_taken_a_ticket_waits_and_gets_the_first_one_released() -> None:
    dispatcher, first, second = line_of((A, READY)), Ticket(), Ticket()
    dispatcher.submit(first, now=0.0)

    assert dispatcher.submit(second, now=0.0) is None
    assert (second.state, second.replica, dispatcher.waiting) == (TicketState.WAITING, None, 1)

    assert dispatcher.release(first, now=1.0) == [second]
    assert (second.state, second.replica) == (TicketState.GRANTED, A)


def test_without_a_replica_everybody_waits_until_one_is_offered() -> None:
    dispatcher = line_of(concurrency=2)
    first, second, third = submitted(dispatcher, Ticket(), Ticket(), Ticket())

    assert dispatcher.offer([(A, READY)], now=1.0) == [first, second]
    assert third.state is TicketState.WAITING


def test_concurrency_zero_is_no_limit() -> None:
    dispatcher = line_of((A, READY), concurrency=0)

    assert all(dispatcher.submit(Ticket(), now=0.0) is A for _ in range(1000))
    assert not dispatcher.full


def test_releasing_twice_gives_back_one_slot() -> None:
    dispatcher, ticket = line_of((A, READY)), Ticket()
    dispatcher.submit(ticket, now=0.0)

    assert dispatcher.release(ticket, now=0.0) == ()
    assert dispatcher.release(ticket, now=0.0) == ()
    assert dispatcher.withdraw(ticket, now=0.0) == ()

    assert (dispatcher.in_flight, dispatcher.load("a")) == (0, 0)


def test_a_ticket_that_was_never_submitted_has_nothing_to_give_back() -> None:
    dispatcher, ticket = line_of((A, READY)), Ticket()

    dispatcher.withdraw(ticket, now=0.0)
    dispatcher.release(ticket, now=0.0)

    assert dispatcher.in_flight == 0
    assert dispatcher.submit(ticket, now=0.0) is A


def test_a_ticket_that_waits_or_runs_cannot_be_submitted_again() -> None:
    dispatcher = line_of((A, READY))
    running, waiting = submitted(dispatcher, Ticket(), Ticket())

    for ticket in (running, waiting):
        with pytest.raises(ValueError, match="cannot be submitted"):
            dispatcher.submit(ticket, now=0.0)
    assert (dispatcher.in_flight, dispatcher.waiting) == (1, 1)


def test_full_says_whether_a_ticket_would_wait() -> None:
    dispatcher = line_of()
    assert dispatcher.full
    dispatcher.offer([(A, READY), (B, READY)], now=0.0)
    assert not dispatcher.full
    first, _second = submitted(dispatcher, Ticket(), Ticket())
    assert dispatcher.full
    dispatcher.release(first, now=0.0)
    assert not dispatcher.full
    dispatcher.hold()
    assert dispatcher.full


def test_a_passive_ticket_takes_a_slot_like_any_other() -> None:
    dispatcher = line_of((A, READY))

    assert dispatcher.submit(Ticket(passive=True), now=0.0) is A
    assert dispatcher.full


# --- order


def test_slots_are_given_in_order_of_arrival() -> None:
    dispatcher = line_of((A, READY))
    tickets = submitted(dispatcher, *[Ticket() for _ in range(100)])

    assert drained(dispatcher, tickets[:1], now=1.0) == list(tickets)


def test_the_urgent_overtake_until_waiting_has_made_up_for_it() -> None:
    dispatcher = line_of(age=10.0)
    usual, patient = Ticket(urgency=4), Ticket(urgency=5)
    submitted(dispatcher, usual, patient, now=0.0)
    early, late = Ticket(urgency=3), Ticket(urgency=3)
    submitted(dispatcher, early, now=9.0)
    submitted(dispatcher, late, now=11.0)

    granted = dispatcher.offer([(A, READY)], now=12.0)

    assert drained(dispatcher, granted, now=12.0) == [early, usual, late, patient]


def test_a_retry_keeps_its_place() -> None:
    dispatcher = line_of((A, READY))
    retried, second, third = submitted(dispatcher, Ticket(), Ticket(), Ticket(), now=1.0)
    dispatcher.release(retried, now=2.0)
    assert second.state is TicketState.GRANTED

    dispatcher.submit(retried, now=2.0)

    assert dispatcher.place(retried) == 1
    assert drained(dispatcher, [second], now=3.0) == [second, retried, third]


def test_place_counts_from_one_and_over_all_lines() -> None:
    dispatcher = line_of((A, READY))
    running, first, second = submitted(dispatcher, Ticket(), Ticket(exclude=("b",)), Ticket())
    urgent = Ticket(urgency=0)
    submitted(dispatcher, urgent)

    assert dispatcher.place(running) is None
    assert [dispatcher.place(ticket) for ticket in (urgent, first, second)] == [1, 2, 3]
    dispatcher.withdraw(first, now=0.0)
    assert [dispatcher.place(ticket) for ticket in (urgent, first, second)] == [1, None, 2]


def test_a_ticket_that_left_the_line_never_gets_a_slot() -> None:
    dispatcher = line_of((A, READY))
    running, leaving, staying = submitted(dispatcher, Ticket(), Ticket(), Ticket())

    assert dispatcher.withdraw(leaving, now=0.0) == ()

    assert (leaving.state, dispatcher.waiting) == (TicketState.DONE, 1)
    assert dispatcher.release(running, now=0.0) == [staying]


def test_withdrawing_a_granted_ticket_passes_its_slot_on() -> None:
    dispatcher = line_of((A, READY))
    running, next_one = submitted(dispatcher, Ticket(), Ticket())

    assert dispatcher.withdraw(running, now=0.0) == [next_one]


def test_another_ageing_reorders_those_who_wait() -> None:
    dispatcher = line_of(age=1.0)
    old = Ticket(urgency=4)
    urgent = Ticket(urgency=3)
    submitted(dispatcher, old, now=0.0)
    submitted(dispatcher, urgent, now=5.0)
    assert dispatcher.place(old) == 1

    dispatcher.configure(concurrency=1, age=0.0, balance=Balance.LEAST_LOADED, now=6.0)

    assert dispatcher.place(urgent) == 1
    assert dispatcher.offer([(A, READY)], now=6.0) == [urgent]


# --- tickets that must not meet a replica again


def test_a_retry_never_meets_a_replica_that_it_excludes() -> None:
    dispatcher = line_of((A, READY))

    assert dispatcher.submit(Ticket(exclude=("a",)), now=0.0) is None
    assert not dispatcher.full
    assert dispatcher.next_step is None


def test_one_that_fits_no_free_replica_does_not_block_those_behind_it() -> None:
    dispatcher = line_of((A, READY), (B, READY))
    at_a, at_b = submitted(dispatcher, Ticket(exclude=("b",)), Ticket(exclude=("a",)))
    picky, easy = submitted(dispatcher, Ticket(exclude=("a",)), Ticket())

    assert dispatcher.release(at_a, now=1.0) == [easy]
    assert easy.replica is A
    assert dispatcher.release(at_b, now=1.0) == [picky]
    assert picky.replica is B


def test_lines_with_different_exclusions_are_served_in_one_order() -> None:
    dispatcher = line_of()
    excludes: list[tuple[str, ...]] = [("x",), (), ("x", "y"), ("y", "x"), (), ("x",)]
    tickets = submitted(dispatcher, *[Ticket(exclude=exclude) for exclude in excludes])

    granted = dispatcher.offer([(A, READY)], now=1.0)

    assert drained(dispatcher, granted, now=1.0) == list(tickets)


# --- replicas come and go


def test_a_replica_that_is_no_longer_offered_gets_nothing_new_and_finishes_what_it_has() -> None:
    dispatcher = line_of((A, READY))
    (running,) = submitted(dispatcher, Ticket())

    dispatcher.offer([(B, READY)], now=1.0)

    assert dispatcher.load("a") == 1
    assert dispatcher.submit(Ticket(), now=1.0) is B
    dispatcher.submit(Ticket(), now=1.0)
    assert dispatcher.release(running, now=2.0) == ()
    assert (dispatcher.load("a"), dispatcher.waiting) == (0, 1)


def test_a_replica_that_comes_back_still_counts_what_it_has_in_flight() -> None:
    dispatcher = line_of((A, READY), concurrency=2)
    submitted(dispatcher, Ticket())

    dispatcher.offer([], now=1.0)
    dispatcher.offer([(A, READY)], now=2.0)

    assert dispatcher.submit(Ticket(), now=2.0) is A
    assert dispatcher.submit(Ticket(), now=2.0) is None


def test_a_replica_offered_twice_in_one_breath_is_one_replica() -> None:
    dispatcher = line_of((A, READY), (A, READY))

    submitted(dispatcher, Ticket(), Ticket())

    assert dispatcher.load("a") == 1


@pytest.mark.parametrize("balance", Balance)
def test_every_policy_uses_every_slot_and_no_more(balance: Balance) -> None:
    dispatcher = line_of((A, READY), (B, READY), (C, READY), concurrency=4, balance=balance)
    tickets = [Ticket(affinity=b"same" if number % 2 else None) for number in range(20)]

    submitted(dispatcher, *tickets)

    loads = Counter(ticket.replica.id for ticket in tickets if ticket.replica)
    assert loads == {"a": 4, "b": 4, "c": 4}


# --- pacing


def test_a_started_replica_is_given_one_then_two_then_four() -> None:
    dispatcher = line_of(concurrency=8)
    submitted(dispatcher, *[Ticket() for _ in range(20)])

    granted = [dispatcher.offer([(A, STARTED)], now=0.0)]
    for _ in range(4):
        granted.append(dispatcher.answered(granted[-1][0], now=0.1))

    # in flight 1, 2, 4, 8, and then no more than the limit
    assert [len(tickets) for tickets in granted] == [1, 1, 2, 4, 0]


def test_a_silent_replica_is_given_more_each_second_while_somebody_waits() -> None:
    dispatcher = line_of(concurrency=8)
    submitted(dispatcher, *[Ticket() for _ in range(20)])
    assert dispatcher.next_step is None

    dispatcher.offer([(A, STARTED)], now=10.0)

    seen: list[tuple[float, int]] = []
    while (at := dispatcher.next_step) is not None:
        assert dispatcher.tick(now=at - 0.01) == ()
        seen.append((at, len(dispatcher.tick(now=at))))
    assert seen == [(11.0, 1), (12.0, 2), (13.0, 4)]


def test_the_window_opens_with_time_even_if_nobody_was_there_to_see_it() -> None:
    dispatcher = line_of((A, STARTED), concurrency=4)
    assert dispatcher.next_step is None

    tickets = submitted(dispatcher, *[Ticket() for _ in range(5)], now=2.5)

    assert [ticket.replica for ticket in tickets] == [A, A, A, A, None]
    assert dispatcher.next_step is None


def test_a_newcomer_does_not_take_the_slot_that_time_has_opened_for_those_in_line() -> None:
    dispatcher = line_of((A, STARTED), concurrency=4)
    _running, waiting = submitted(dispatcher, Ticket(), Ticket())

    newcomer = Ticket()
    assert dispatcher.submit(newcomer, now=1.5) is None

    assert dispatcher.tick(now=1.5) == [waiting]
    assert newcomer.state is TicketState.WAITING


def test_offering_a_replica_again_does_not_restart_its_pacing() -> None:
    dispatcher = line_of((A, STARTED), concurrency=4)

    dispatcher.offer([(A, STARTED)], now=1.5)

    assert [dispatcher.submit(Ticket(), now=2.0) for _ in range(5)] == [A, A, A, A, None]


def test_offering_a_paced_replica_as_ready_does_not_end_its_pacing() -> None:
    dispatcher = line_of((A, STARTED), concurrency=4)

    dispatcher.offer([(A, READY)], now=0.5)

    assert [dispatcher.submit(Ticket(), now=0.5) for _ in range(2)] == [A, None]


def test_each_replica_is_paced_by_itself() -> None:
    dispatcher = line_of((A, READY), concurrency=4, balance=Balance.FIRST_AVAILABLE)
    dispatcher.offer([(A, READY), (B, STARTED)], now=0.0)

    tickets = submitted(dispatcher, *[Ticket() for _ in range(10)])

    assert Counter(ticket.replica for ticket in tickets) == {A: 4, B: 1, None: 5}


def test_a_passive_answer_is_no_step_of_the_pacing() -> None:
    dispatcher = line_of((A, STARTED), concurrency=4)
    (passive, _) = submitted(dispatcher, Ticket(passive=True), Ticket())

    assert dispatcher.answered(passive, now=0.1) == ()


def test_an_answer_of_a_ticket_that_has_ended_is_no_step() -> None:
    dispatcher = line_of((A, STARTED), concurrency=4)
    (ended,) = submitted(dispatcher, Ticket())
    dispatcher.release(ended, now=0.0)
    submitted(dispatcher, Ticket(), Ticket())

    assert dispatcher.answered(ended, now=0.1) == ()


def test_without_a_limit_pacing_ends_at_a_bound() -> None:
    dispatcher = line_of(concurrency=0)
    tickets = submitted(dispatcher, *[Ticket() for _ in range(1000)])
    dispatcher.offer([(A, STARTED)], now=0.0)

    assert len(dispatcher.tick(now=7.0)) == WIDE_OPEN // 2 - 1
    dispatcher.tick(now=8.0)

    assert all(ticket.state is TicketState.GRANTED for ticket in tickets)


def test_a_replica_that_is_forgotten_is_paced_again_when_it_is_started_again() -> None:
    dispatcher = line_of((A, STARTED), concurrency=4)
    (running,) = submitted(dispatcher, Ticket())
    dispatcher.offer([], now=5.0)
    dispatcher.release(running, now=5.0)

    dispatcher.offer([(A, STARTED)], now=6.0)

    assert [dispatcher.submit(Ticket(), now=6.0) for _ in range(2)] == [A, None]


# --- hold and configure


def test_while_held_nothing_is_granted_and_everything_comes_with_resume() -> None:
    dispatcher = line_of((A, READY), concurrency=2)
    running = Ticket()
    submitted(dispatcher, running)
    dispatcher.hold()

    waiting = submitted(dispatcher, Ticket(), Ticket())
    assert dispatcher.release(running, now=1.0) == ()
    assert dispatcher.offer([(A, READY), (B, READY)], now=1.0) == ()
    assert dispatcher.next_step is None

    assert dispatcher.resume(now=2.0) == list(waiting)


def test_a_lowered_limit_breaks_nobody_off_and_gives_nothing_new_until_below() -> None:
    dispatcher = line_of((A, READY), concurrency=3)
    *running, waiting = submitted(dispatcher, *[Ticket() for _ in range(4)])

    dispatcher.configure(concurrency=1, age=30.0, balance=Balance.LEAST_LOADED, now=1.0)

    assert dispatcher.in_flight == 3
    assert dispatcher.release(running[0], now=2.0) == ()
    assert dispatcher.release(running[1], now=2.0) == ()
    assert dispatcher.release(running[2], now=2.0) == [waiting]


def test_a_raised_limit_is_used_at_once() -> None:
    dispatcher = line_of((A, READY), concurrency=1)
    _running, *waiting = submitted(dispatcher, Ticket(), Ticket(), Ticket())

    assert (
        dispatcher.configure(concurrency=3, age=30.0, balance=Balance.LEAST_LOADED, now=1.0)
        == waiting
    )


# --- size and cost


def test_a_waiting_ticket_is_small() -> None:
    ticket = Ticket()
    line_of().submit(ticket, now=1.5)

    parts: list[Any] = [ticket, ticket.arrived, ticket.seq, ticket.entry]
    assert sum(sys.getsizeof(part) for part in parts) < 320


class CountedMoment(float):
    """An arrival that counts how often the line compares it."""

    comparisons = 0

    def __lt__(self, other: float) -> bool:
        CountedMoment.comparisons += 1
        return float.__lt__(self, other)

    def __eq__(self, other: object) -> bool:
        CountedMoment.comparisons += 1
        return float.__eq__(self, other)

    __hash__ = float.__hash__


def steps_to_drain(count: int, *, excluded: int = 0) -> int:
    """Lines of Python run plus comparisons in the heap, to drain `count` through 4 times 8 slots.

    Every third ticket leaves instead; the `excluded` first fit no replica and stay in front.
    """
    dispatcher = line_of(concurrency=8, age=0.0)
    moments = list(range(count))
    Random(1).shuffle(moments)
    tickets = [
        Ticket(
            arrived=CountedMoment(moment),
            exclude=("r0", "r1", "r2", "r3") if moment < excluded else (),
        )
        for moment in moments
    ]
    lines = 0

    def each_line(_frame: object, event: str, _arg: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return each_line

    replicas = [(Replica(f"r{number}", "127.0.0.1", 1), READY) for number in range(4)]
    served: list[Ticket] = []
    CountedMoment.comparisons = 0
    before = sys.gettrace()
    sys.settrace(each_line)
    try:
        submitted(dispatcher, *tickets)
        for ticket in tickets[::3]:
            dispatcher.withdraw(ticket, now=0.0)
        running = deque(dispatcher.offer(replicas, now=0.0))
        while running:
            served.append(running.popleft())
            running.extend(dispatcher.release(served[-1], now=0.0))
    finally:
        sys.settrace(before)

    left = set(tickets[::3])
    expected = [t for t in tickets if t not in left and not t.exclude]
    assert served == sorted(expected, key=lambda ticket: float(ticket.arrived))
    assert dispatcher.in_flight == 0
    return lines + CountedMoment.comparisons


def test_draining_ten_thousand_keeps_order_and_costs_ten_times_a_thousand() -> None:
    assert steps_to_drain(10_000) < 15 * steps_to_drain(1_000)


def test_tickets_in_front_that_fit_no_replica_do_not_slow_the_others_down() -> None:
    assert steps_to_drain(2_000, excluded=1_000) < 2 * steps_to_drain(2_000)


# --- a replica that was out of rotation and is back under another id

A2 = Replica("a~2", "127.0.0.1", 8000, before="a")
A3 = Replica("a~3", "127.0.0.1", 8000, before="a~2")


def test_back_under_another_id_a_replica_keeps_what_it_has_in_flight() -> None:
    dispatcher = line_of((A, READY), concurrency=2)
    before = submitted(dispatcher, Ticket(), Ticket())
    dispatcher.offer([], now=1.0)
    [waiting] = submitted(dispatcher, Ticket(), now=1.0)

    assert dispatcher.offer([(A2, READY)], now=2.0) == ()
    assert (dispatcher.load("a~2"), dispatcher.in_flight) == (2, 2)
    assert dispatcher.release(before[0], now=3.0) == [waiting]
    assert waiting.replica is A2
    assert dispatcher.load("a~2") == 2
    dispatcher.release(before[1], now=4.0)
    dispatcher.release(waiting, now=4.0)
    assert (dispatcher.load("a"), dispatcher.load("a~2"), dispatcher.in_flight) == (0, 0, 0)


def test_what_is_in_flight_is_handed_down_over_several_ids() -> None:
    dispatcher = line_of((A, READY), concurrency=3)
    [first] = submitted(dispatcher, Ticket())
    dispatcher.offer([(A2, READY)], now=1.0)
    [second] = submitted(dispatcher, Ticket(), now=1.0)
    dispatcher.offer([], now=2.0)
    dispatcher.offer([(A3, READY)], now=3.0)
    assert dispatcher.load("a~3") == 2

    dispatcher.release(first, now=4.0)
    assert [dispatcher.load(each) for each in ("a", "a~2", "a~3")] == [0, 1, 1]
    dispatcher.release(second, now=5.0)
    assert [dispatcher.load(each) for each in ("a", "a~2", "a~3")] == [0, 0, 0]


def test_one_that_is_back_idle_begins_afresh() -> None:
    dispatcher = line_of((A, READY), concurrency=1)
    [done] = submitted(dispatcher, Ticket())
    dispatcher.offer([], now=1.0)
    dispatcher.release(done, now=2.0)
    dispatcher.offer([(A2, READY)], now=3.0)

    assert dispatcher.submit(Ticket(), now=3.0) is A2


def test_the_pacing_of_one_that_is_back_goes_on_above_what_it_has() -> None:
    dispatcher = line_of((A, READY), concurrency=0)
    submitted(dispatcher, *(Ticket() for _ in range(5)))
    dispatcher.offer([(A2, STARTED)], now=1.0)
    tickets = submitted(dispatcher, *(Ticket() for _ in range(5)), now=1.0)

    # a window of 8 has room for three more
    assert [ticket.state for ticket in tickets].count(TicketState.GRANTED) == 3
