from __future__ import annotations

from random import Random

import pytest

from activator.core.line import SPARE, Line, Ticket


def arrived(at: float, *, urgency: int = 3, seq: int = 0) -> Ticket:
    ticket = Ticket(urgency=urgency, arrived=at)
    ticket.seq = seq
    return ticket


def lined_up(*tickets: Ticket, age: float = 30.0) -> Line:
    line = Line()
    for ticket in tickets:
        line.enter(ticket, age=age)
    return line


def emptied(line: Line) -> list[Ticket]:
    order = []
    while line:
        order.append(line.head[3])
        line.leave(order[-1])
    return order


def test_first_come_is_first_within_an_urgency() -> None:
    late, early = arrived(2.0), arrived(1.0)

    assert emptied(lined_up(late, early)) == [early, late]


def test_tickets_of_the_same_moment_keep_the_order_of_their_submission() -> None:
    second, first = arrived(1.0, seq=2), arrived(1.0, seq=1)

    assert emptied(lined_up(second, first)) == [first, second]


def test_waiting_age_seconds_is_worth_exactly_one_level_of_urgency() -> None:
    old = arrived(0.0, urgency=4)
    just_before, just_after = arrived(29.9, urgency=3), arrived(30.1, urgency=3)

    assert emptied(lined_up(just_after, old, just_before)) == [just_before, old, just_after]


def test_without_ageing_the_more_urgent_always_goes_first() -> None:
    old, urgent = arrived(0.0, urgency=4), arrived(1e6, urgency=3)

    assert emptied(lined_up(old, urgent, age=0.0)) == [urgent, old]


def test_resort_applies_another_ageing_to_those_who_wait() -> None:
    old, urgent, gone = arrived(0.0, urgency=4), arrived(31.0, urgency=3), arrived(0.0)
    line = lined_up(old, urgent, gone)
    line.leave(gone)

    line.resort(age=0.0)

    assert emptied(line) == [urgent, old]


def test_a_ticket_that_left_and_came_back_is_in_line_once() -> None:
    ticket, other = arrived(1.0, seq=1), arrived(2.0, seq=2)
    line = lined_up(ticket, other)

    line.leave(ticket)
    line.enter(ticket, age=30.0)

    assert len(line) == 2
    assert emptied(line) == [ticket, other]


def test_ahead_of_counts_only_those_who_still_wait() -> None:
    first, second, third = (arrived(float(at), seq=at) for at in range(3))
    line = lined_up(first, second, third)
    line.leave(first)

    assert third.entry is not None
    assert line.ahead_of(third.entry) == 1


def test_whoever_comes_out_of_order_stands_where_they_belong() -> None:
    dice = Random(7)
    tickets = [arrived(float(at), seq=at) for at in range(300)]
    late = dice.sample(tickets, 100)
    line = lined_up(*(each for each in tickets if each not in late), *late)
    gone = dice.sample(tickets, 50)
    for each in gone:
        line.leave(each)

    assert emptied(line) == [each for each in tickets if each not in gone]


@pytest.mark.parametrize("place", [1.0, -1.0], ids=["behind", "in front"])
def test_those_who_left_do_not_pile_up(place: float) -> None:
    stays = arrived(0.0)
    line = lined_up(stays)

    for at in range(10_000):
        passing = arrived(place * (1.0 + at))
        line.enter(passing, age=30.0)
        line.leave(passing)

    assert sum(1 for _ in line._all()) <= 2 + SPARE
    assert line.head[3] is stays


@pytest.mark.parametrize("age", [0.0, 30.0])
def test_to_take_the_first_is_to_have_it_leave(age: float) -> None:
    dice = Random(5)
    for _ in range(50):
        tickets = [
            arrived(dice.choice((float(seq), dice.uniform(0, 40))), urgency=dice.choice((2, 3, 3)))
            for seq in range(40)
        ]
        for seq, ticket in enumerate(tickets):
            ticket.seq = seq
        line = lined_up(*tickets, age=age)
        for ticket in dice.sample(tickets, dice.randrange(40)):
            line.leave(ticket)
            if dice.random() < 0.3:
                line.enter(ticket, age=age)  # its former entry stays behind
        taken = []
        while line:
            first = line.head[3]
            taken.append(line.take())
            assert taken[-1] is first
            assert first.entry is None
        for ticket in taken:
            line.enter(ticket, age=age)
        assert emptied(line) == taken
