"""Ends of replicas, each counted once."""

from __future__ import annotations

from activator.core.effects import FailedStart
from activator.core.endings import Endings
from activator.core.lifecycle import Ended, SeenReplica


def end(name: str, *, was_ready: bool = True) -> Ended:
    return Ended(name, FailedStart("exited"), was_ready=was_ready)


def test_what_is_told_first_is_of_an_earlier_life() -> None:
    assert Endings().new([end("a")]) == []


def test_each_end_is_new_once() -> None:
    endings = Endings()
    endings.new([])

    assert endings.new([end("a")]) == [end("a")]
    assert endings.new([end("a"), end("b")]) == [end("b")]
    assert endings.new([end("b")]) == []


def test_an_end_that_aged_out_is_not_remembered() -> None:
    endings = Endings()
    endings.new([])
    endings.new([end("a")])
    endings.new([])

    assert endings.new([end("a")]) == [end("a")]


def test_how_long_it_was_ready_counts_from_its_first_readiness() -> None:
    endings = Endings()
    endings.note([SeenReplica("a", ready=False)], now=0.0)
    endings.note([SeenReplica("a", ready=True)], now=10.0)
    endings.note([SeenReplica("a", ready=False)], now=20.0)
    endings.note([SeenReplica("a", ready=True)], now=30.0)

    assert endings.ready_for(end("a"), now=40.0) == 30.0


def test_one_that_was_never_seen_ready_was_not_ready_for_any_time() -> None:
    endings = Endings()
    endings.note([SeenReplica("a", ready=True)], now=0.0)

    assert endings.ready_for(end("b"), now=40.0) == 0.0
    assert endings.ready_for(end("a", was_ready=False), now=40.0) == 0.0
