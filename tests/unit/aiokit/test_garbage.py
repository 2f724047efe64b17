"""The collector stands by while much is made, and never looks at what has stayed of it."""

from __future__ import annotations

import gc
import sys
import weakref
from typing import TYPE_CHECKING

import pytest

from activator.aiokit import garbage
from activator.aiokit.garbage import AT_MOST, BLOCKS, MANY, PART, put_away, uncollected
from tests.support import end_of_freezing

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def frozen_before() -> Iterator[int]:
    gc.collect()
    garbage._stays = 0
    yield gc.get_freeze_count()
    end_of_freezing()


def test_nothing_is_collected_until_the_last_of_those_who_overlap_has_done() -> None:
    one, other = uncollected(), uncollected()
    with one:
        other.__enter__()
        assert not gc.isenabled()
    assert not gc.isenabled()
    other.__exit__(None, None, None)

    assert gc.isenabled()


def test_what_fails_leaves_the_collector_at_work() -> None:
    with pytest.raises(LookupError), uncollected():
        raise LookupError

    assert gc.isenabled()


def test_many_objects_that_stay_are_not_looked_at_again(frozen_before: int) -> None:
    with uncollected():
        made = [[] for _ in range(MANY + 1)]  # type: ignore[var-annotated]  # nobody reads them

    assert gc.get_freeze_count() > frozen_before + MANY
    assert len(made) > MANY


def test_what_takes_the_place_of_as_much_that_was_freed_counts(frozen_before: int) -> None:
    stays = [[number] for number in range(2 * MANY)]
    gc.collect()
    with uncollected():
        stays = [[number] for number in range(MANY + 1)]

    assert gc.get_freeze_count() > frozen_before + MANY
    assert len(stays) > MANY


def test_few_are_looked_at_as_usual(frozen_before: int) -> None:
    with uncollected():
        made = [[] for _ in range(MANY // 2)]  # type: ignore[var-annotated]  # nobody reads them

    assert gc.get_freeze_count() == frozen_before
    assert len(made) < MANY


class Knot:
    """What only the collector frees."""

    def __init__(self) -> None:
        self.itself = self


def test_what_is_made_again_and_again_is_freed_once_it_may_be_as_much_as_what_stays() -> None:
    with uncollected():
        stays = [[number] for number in range(2 * PART * MANY)]
    blocks = sys.getallocatedblocks()
    last: weakref.ref[Knot] | None = None
    for _ in range(blocks // MANY + 2):
        with uncollected():
            knots = [Knot() for _ in range(MANY + 1)]
        last = weakref.ref(knots[0])
        del knots
    gc.collect()

    assert last is not None
    assert last() is None
    assert len(stays) < blocks
    assert sys.getallocatedblocks() < AT_MOST * blocks + 2 * BLOCKS * MANY


def test_how_much_is_never_looked_at_is_not_counted_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(gc, "get_freeze_count")
    with uncollected():
        made = [[] for _ in range(MANY + 1)]  # type: ignore[var-annotated]  # nobody reads them

    assert len(made) > MANY


def test_what_a_long_work_has_left_is_put_away_bit_by_bit(frozen_before: int) -> None:
    put_away()  # of nobody's work
    assert gc.get_freeze_count() == frozen_before
    with uncollected():
        made = [[] for _ in range(MANY + 1)]  # type: ignore[var-annotated]  # nobody reads them
        put_away()

        assert gc.get_freeze_count() > frozen_before + MANY
        assert not gc.isenabled()
        assert len(made) > MANY


def test_what_grows_by_a_part_each_time_is_not_looked_at_again(frozen_before: int) -> None:
    stays: list[list[int]] = []
    for _ in range(PART):
        with uncollected():
            stays += [[number] for number in range(MANY + 1)]

    assert gc.get_freeze_count() > frozen_before + PART * MANY


def test_a_collector_that_somebody_else_has_stopped_is_left_alone(frozen_before: int) -> None:
    gc.disable()
    try:
        with uncollected():
            made = [[] for _ in range(MANY + 1)]  # type: ignore[var-annotated]  # nobody reads them
        assert not gc.isenabled()
        assert gc.get_freeze_count() == frozen_before
        assert len(made) > MANY
    finally:
        gc.enable()
