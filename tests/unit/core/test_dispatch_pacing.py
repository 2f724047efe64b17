"""After its start a replica is given one request, then two, then four."""

from __future__ import annotations

from collections import Counter

from activator.core.dispatch import Ticket, TicketState
from activator.core.endpoint import Balance, Replica
from activator.core.slots import WIDE_OPEN
from tests.unit.core.dispatching import READY, STARTED, A, B, line_of, submitted


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
