"""What an entry adds to the book, and what waits for it."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.core.usage import (
    APART,
    NOTHING,
    Booked,
    Entry,
    Unbooked,
    Usage,
    day_of,
    midnight,
    months,
)

MIDNIGHT = midnight(date(2026, 3, 2))


def cost(amount: float, *, starts: int = 0) -> Usage:
    return Usage(ready_seconds=amount, cost=amount, cold_starts=starts)


def test_an_entry_adds_all_of_itself_to_a_book_that_ends_before_it() -> None:
    entry = Entry("m", 10.0, 20.0, cost(4.0, starts=1))

    assert entry.beyond(10.0) == entry.usage
    assert entry.beyond(0.0) == entry.usage


def test_what_is_booked_already_adds_nothing() -> None:
    entry = Entry("m", 10.0, 20.0, cost(4.0))

    assert entry.beyond(20.0) is None
    assert entry.beyond(25.0) is None


def test_what_is_booked_in_part_adds_the_rest_of_its_time() -> None:
    entry = Entry("m", 10.0, 20.0, cost(4.0, starts=1))

    assert entry.beyond(12.5) == cost(3.0, starts=1)
    assert entry.beyond(19.0) == cost(0.4, starts=0)


def test_the_day_of_an_entry_is_the_one_it_began_in() -> None:
    over = Entry("m", MIDNIGHT - 10.0, MIDNIGHT + 0.01, NOTHING)

    assert over.day == date(2026, 3, 1)
    assert day_of(MIDNIGHT) == date(2026, 3, 2)


def test_readings_become_entries_of_what_came_between_them() -> None:
    unbooked = Unbooked("m", at=0.0)

    unbooked.read(cost(3.0), at=10.0)
    unbooked.read(cost(5.0), at=20.0)

    assert unbooked.entries == [Entry("m", 0.0, 10.0, cost(3.0)), Entry("m", 10.0, 20.0, cost(2.0))]


def test_what_came_while_the_clock_went_back_counts_with_the_next_reading() -> None:
    unbooked = Unbooked("m", at=10.0)

    unbooked.read(cost(3.0), at=5.0)
    unbooked.read(cost(5.0), at=20.0)

    assert unbooked.entries == [Entry("m", 10.0, 20.0, cost(5.0))]


def test_a_count_that_begins_again_is_no_refund() -> None:
    unbooked = Unbooked("m", at=0.0)
    unbooked.read(cost(100.0), at=10.0)

    unbooked.restart()
    unbooked.read(cost(2.0), at=20.0)

    assert unbooked.entries[-1].usage == cost(2.0)


def test_a_day_is_what_is_booked_what_waits_and_what_has_come_since() -> None:
    unbooked = Unbooked("m", at=MIDNIGHT - 10.0)
    unbooked.read(cost(100.0), at=MIDNIGHT)  # yesterday's
    unbooked.read(cost(102.0), at=MIDNIGHT + 10.0)  # booked
    unbooked.read(cost(103.0), at=MIDNIGHT + 20.0)  # waits

    book = Booked(cost(7.0), until=MIDNIGHT + 10.0)
    day = unbooked.on(date(2026, 3, 2), book=book, total=cost(103.5))

    assert day == cost(8.5)


def test_without_a_store_the_past_becomes_one_entry_a_day_and_nothing_is_lost() -> None:
    unbooked = Unbooked("m", at=MIDNIGHT)
    readings = 3 * APART
    for number in range(1, readings + 1):
        unbooked.read(cost(float(number), starts=number), at=MIDNIGHT + 10.0 * number)

    assert len(unbooked.entries) == APART
    assert sum((each.usage for each in unbooked.entries), NOTHING) == cost(
        float(readings), starts=readings
    )
    assert unbooked.entries[0].began == MIDNIGHT


def test_two_days_never_become_one_entry_and_their_number_is_bounded() -> None:
    unbooked = Unbooked("m", at=MIDNIGHT)
    for number in range(1, 3 * APART):
        unbooked.read(cost(float(number)), at=MIDNIGHT + 86400.0 * number)

    assert len(unbooked.entries) == APART
    assert len({each.day for each in unbooked.entries}) == APART


@given(
    cuts=st.lists(st.floats(0.0, 100.0), max_size=5),
    readings=st.lists(st.floats(0.0, 100.0), min_size=1, max_size=8, unique=True),
)
def test_whoever_books_when_every_moment_is_booked_once(
    cuts: list[float], readings: list[float]
) -> None:
    """Two activators read at different moments; the first has booked up to any of its own."""
    one, other = Unbooked("m", at=0.0), Unbooked("m", at=0.0)
    for at in sorted({*cuts, 100.0} - {0.0}):
        one.read(cost(at), at=at)
    for at in sorted({*readings, 100.0} - {0.0}):
        other.read(cost(at), at=at)
    for taken in range(len(one.entries) + 1):
        booked = sum((each.usage.cost for each in one.entries[:taken]), 0.0)
        until = one.entries[taken - 1].ended if taken else 0.0
        rest = [more for each in other.entries if (more := each.beyond(until))]
        assert booked + sum(more.cost for more in rest) == pytest.approx(100.0)


def test_months_are_those_that_the_days_lie_in() -> None:
    assert list(months(date(2025, 12, 31), date(2026, 2, 1))) == [
        date(2025, 12, 1),
        date(2026, 1, 1),
        date(2026, 2, 1),
    ]
    assert list(months(date(2026, 2, 3), date(2026, 2, 3))) == [date(2026, 2, 1)]
