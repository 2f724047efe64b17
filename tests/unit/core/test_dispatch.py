from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from activator.core.dispatch import Ticket, TicketState
from activator.core.endpoint import Balance
from tests.unit.core.dispatching import READY, A, B, C, drained, line_of, submitted

if TYPE_CHECKING:
    from activator.core.endpoint import Replica

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


def test_a_ticket_that_runs_cannot_be_taken_again_where_there_is_room() -> None:
    dispatcher = line_of((A, READY), concurrency=2)
    ticket = Ticket()
    assert dispatcher.take(ticket) is A

    with pytest.raises(ValueError, match="cannot be submitted"):
        dispatcher.take(ticket)
    assert dispatcher.in_flight == 1
    assert dispatcher.give_back(ticket)
    assert dispatcher.take(ticket) is A


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


def test_a_slot_is_given_back_where_it_was_taken_whoever_is_there_now() -> None:
    dispatcher = line_of((A, READY))
    before, after = Ticket(), Ticket()
    assert dispatcher.take(before) is A
    dispatcher.offer([(B, READY)], now=1.0)
    assert dispatcher.take(after) is B

    assert not dispatcher.give_back(before)  # it takes more to do: the replica is to be forgotten
    dispatcher.release(before, now=2.0)
    assert dispatcher.give_back(after)

    assert (dispatcher.load("a"), dispatcher.load("b")) == (0, 0)


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


# --- slots that somebody else has given


def test_an_adopted_slot_counts_even_beyond_the_limit() -> None:
    line = line_of((A, READY), concurrency=1)
    adopted = [granted_elsewhere(A) for _ in range(2)]
    for ticket in adopted:
        line.adopt(ticket, now=0.0)
    waiting = Ticket()

    assert line.load("a") == 2
    assert line.submit(waiting, now=0.0) is None
    assert not line.release(adopted[0], now=1.0)
    assert line.release(adopted[1], now=1.0) == [waiting]


def test_a_slot_at_a_replica_that_is_not_offered_can_be_adopted_and_is_forgotten() -> None:
    line = line_of(concurrency=1)
    ticket = granted_elsewhere(B)

    line.adopt(ticket, now=0.0)
    assert line.load("b") == 1
    line.release(ticket, now=0.0)

    assert line.load("b") == 0
    assert line.full


def test_a_ticket_without_a_slot_cannot_be_adopted() -> None:
    with pytest.raises(ValueError, match="without a slot"):
        line_of().adopt(Ticket(), now=0.0)


def granted_elsewhere(replica: Replica) -> Ticket:
    ticket = Ticket()
    assert line_of((replica, READY)).submit(ticket, now=0.0) == replica
    return ticket
