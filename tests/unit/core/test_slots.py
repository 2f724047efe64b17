from __future__ import annotations

import pytest

from activator.core.endpoint import Replica
from activator.core.slots import NO_LIMIT, WIDE_OPEN, ReplicaSlots


def started(*, concurrency: int = 0, at: float = 0.0) -> ReplicaSlots:
    replica = Replica("r", "127.0.0.1", 1)
    return ReplicaSlots(replica, concurrency=concurrency, paced=True, now=at)


def test_a_replica_that_is_not_paced_has_its_whole_limit_at_once() -> None:
    replica = Replica("r", "127.0.0.1", 1)

    assert ReplicaSlots(replica, concurrency=8, paced=False, now=0.0).limit == 8
    assert ReplicaSlots(replica, concurrency=0, paced=False, now=0.0).limit == NO_LIMIT


def test_the_window_doubles_with_each_step_until_it_reaches_the_limit() -> None:
    slots = started(concurrency=6)

    widths = [slots.limit]
    while slots.window:
        slots.widen(concurrency=6, now=0.0)
        widths.append(slots.limit)

    assert widths == [1, 2, 4, 6]


@pytest.mark.parametrize(("now", "limit"), [(0.99, 1), (1.0, 2), (1.99, 2), (2.0, 4), (9.0, 8)])
def test_the_window_doubles_each_second_by_itself(now: float, limit: int) -> None:
    slots = started(concurrency=8)

    slots.catch_up(concurrency=8, now=now)

    assert slots.limit == limit


def test_a_second_is_counted_from_the_latest_step() -> None:
    slots = started(concurrency=8)

    slots.widen(concurrency=8, now=0.7)
    slots.catch_up(concurrency=8, now=1.6)
    assert slots.limit == 2
    slots.catch_up(concurrency=8, now=1.7)
    assert slots.limit == 4


def test_without_a_limit_pacing_ends_wide_open() -> None:
    slots = started()

    slots.catch_up(concurrency=0, now=7.0)
    assert slots.limit == WIDE_OPEN // 2
    slots.catch_up(concurrency=0, now=8.0)
    assert slots.limit == NO_LIMIT


def test_one_slot_needs_no_pacing() -> None:
    assert started(concurrency=1).window == 0


def test_a_lowered_limit_ends_the_pacing_of_a_wider_window() -> None:
    slots = started(concurrency=8)
    slots.catch_up(concurrency=8, now=2.0)

    slots.resize(3)

    assert (slots.limit, slots.window) == (3, 0)


def test_a_raised_limit_leaves_the_window_where_it_is() -> None:
    slots = started(concurrency=4)

    slots.resize(100)

    assert (slots.limit, slots.window) == (1, 1)
