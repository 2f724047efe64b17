"""Collections are counted while requests are made, and not those that the benchmark asks for."""

from __future__ import annotations

import gc

from bench.benchmarks.garbage import _collections


def leaves_cycles() -> None:
    for _ in range(1000):
        cycle: list[object] = []
        cycle.append(cycle)


def leaves_nothing() -> None:
    return


def test_what_is_left_is_collected_and_counted() -> None:
    gc.collect()
    taken = _collections([leaves_cycles], times=10)

    assert sum(taken.counts) > 0
    assert taken.total > 0
    assert taken.requests == 10


def test_where_nothing_is_left_there_are_none() -> None:
    gc.collect()
    taken = _collections([leaves_nothing], times=10)

    assert taken.counts == [0, 0, 0]
    assert taken.total == 0
    assert taken.full > 0
