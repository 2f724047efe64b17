"""What a waiting ticket weighs, and what draining a line costs."""

from __future__ import annotations

import sys
from collections import deque
from random import Random
from typing import Any

from activator.core.dispatch import Ticket
from activator.core.endpoint import Replica
from tests.unit.core.dispatching import READY, line_of, submitted


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
