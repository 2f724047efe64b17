from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from activator.proxy.openai.pieces import SLICE, Pieces


@given(sizes=st.lists(st.sampled_from([1, 7, SLICE - 1, SLICE, SLICE + 1, 3 * SLICE]), max_size=8))
def test_what_was_added_is_taken_once_and_in_order_in_small_slices(sizes: list[int]) -> None:
    pieces = [bytes([number]) * size for number, size in enumerate(sizes)]
    waiting = Pieces()
    for piece in pieces:
        waiting.add(piece)

    taken = []
    while waiting:
        taken.append(waiting.take())

    assert b"".join(taken) == b"".join(pieces)
    assert all(0 < len(each) <= SLICE for each in taken)


def test_after_clearing_it_begins_anew() -> None:
    waiting = Pieces()
    waiting.add(b"x" * 2 * SLICE)
    waiting.take()

    waiting.clear()
    waiting.add(b"new")

    assert waiting.take() == b"new"
    assert not waiting
