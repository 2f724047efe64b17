"""What is read last may lie where what was read before lay, unless somebody still looks there."""

from __future__ import annotations

from activator.wire.pouring import JUG, Jug


def test_there_is_no_jug_before_it_is_needed() -> None:
    jug = Jug()

    assert len(jug.content) == 0
    assert len(jug.empty()) == JUG


def test_one_jug_serves_for_all_that_is_read() -> None:
    jug = Jug()
    first = jug.empty()
    first[:5] = b"hello"

    assert jug.empty() is first
    assert len(first) == JUG


def test_what_somebody_still_looks_into_is_not_read_over() -> None:
    jug = Jug()
    first = jug.empty()
    first[:5] = b"hello"
    kept = memoryview(first)[:5][1:]

    second = jug.empty()

    assert second is not first
    assert len(second) == JUG
    second[:5] = b"world"
    assert bytes(kept) == b"ello"
