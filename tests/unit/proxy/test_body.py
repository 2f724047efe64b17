"""What is kept of a request's body, and for how long it can be sent again."""

from __future__ import annotations

import pytest

from activator.proxy.body import REPEATABLE, SMALL, Body, HeldMemory
from activator.proxy.edits import Edit


def test_what_has_come_is_kept_in_order() -> None:
    body = Body(complete=False)
    for piece in (b"a" * SMALL, b"bc", b"d", b"e" * SMALL):
        body.add(piece)

    assert b"".join(body.chunks) == b"a" * SMALL + b"bcd" + b"e" * SMALL
    assert body.size == 2 * SMALL + 3
    assert not body.complete


def test_a_body_that_comes_byte_by_byte_is_kept_in_few_pieces() -> None:
    body = Body(complete=False)
    for _ in range(3 * SMALL):
        body.add(b"x")

    assert [len(chunk) for chunk in body.chunks] == [SMALL] * 3


def test_bodies_do_not_share_what_they_keep() -> None:
    first, second = Body(complete=False), Body(complete=False)
    first.add(b"mine")

    assert second.chunks == []


def test_an_empty_body_is_always_repeatable() -> None:
    body = Body(complete=True)
    body.sent()
    body.forget()

    assert body.repeatable


def test_a_small_body_that_is_passed_on_is_kept_for_a_repetition() -> None:
    body = Body(complete=False)
    body.passed(b"x" * (REPEATABLE - 1))
    body.passed(b"y")

    assert body.repeatable
    assert b"".join(body.chunks) == b"x" * (REPEATABLE - 1) + b"y"


def test_a_large_body_that_is_passed_on_is_not_kept() -> None:
    body = Body(complete=False)
    body.passed(b"x" * REPEATABLE)
    body.passed(b"y")
    body.passed(b"z")

    assert not body.repeatable
    assert body.chunks == []
    assert body.size == REPEATABLE + 2


def test_a_whole_body_is_repeatable_after_it_was_sent_whatever_its_size() -> None:
    body = Body(complete=False)
    body.add(b"x" * REPEATABLE * 4)
    body.end([])
    body.sent()

    assert body.repeatable


def test_a_large_part_of_a_body_is_not_repeatable_after_it_was_sent() -> None:
    body = Body(complete=False)
    body.add(b"x" * (REPEATABLE + 1))
    body.sent()

    assert not body.repeatable
    assert body.chunks == []


def test_a_body_leaves_for_the_store_and_comes_back() -> None:
    body = Body(complete=False)
    body.add(b"abc")
    body.end([(b"x", b"1", b"X: 1")])
    body.stored(3)
    assert body.chunks == []
    assert body.repeatable

    body.restore((b"ab", b"c"))

    assert body.chunks == [b"ab", b"c"]
    assert (body.size, body.trailers) == (3, [(b"x", b"1", b"X: 1")])


def test_a_forgotten_body_is_gone() -> None:
    body = Body(complete=False)
    body.add(b"abc")
    body.forget()

    assert body.chunks == []
    assert not body.repeatable


@pytest.mark.parametrize(("size", "fits"), [(10, True), (6, True), (11, False)])
def test_held_memory_is_given_up_to_its_limit(size: int, fits: bool) -> None:
    memory = HeldMemory(10)

    assert memory.reserve(size) is fits
    assert memory.used == (size if fits else 0)


def test_held_memory_that_was_freed_is_given_again() -> None:
    memory = HeldMemory(10)
    memory.reserve(7)
    assert not memory.reserve(4)

    memory.free(7)

    assert memory.reserve(10)


def test_some_bytes_of_what_has_come_can_be_exchanged() -> None:
    body = Body(complete=False)
    for piece in (b"a" * SMALL, b"bcdef"):
        body.add(piece)

    body.change([Edit(SMALL - 1, SMALL + 2, b"-new-")])
    body.add(b"g")

    assert b"".join(body.pieces()) == b"a" * (SMALL - 1) + b"-new-defg"
    assert body.size == SMALL + 8
