from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from activator.proxy.openai.slices import SLICE, Slices


@given(sizes=st.lists(st.sampled_from([1, 7, SLICE - 1, SLICE, SLICE + 1, 3 * SLICE]), max_size=8))
def test_what_was_added_is_taken_once_and_in_order_in_small_slices(sizes: list[int]) -> None:
    pieces = [bytes([number]) * size for number, size in enumerate(sizes)]
    slices = Slices()
    for piece in pieces:
        slices.add(piece)

    taken = []
    while slices:
        taken.append(slices.take())

    assert b"".join(taken) == b"".join(pieces)
    assert all(0 < len(each) <= SLICE for each in taken)


def test_after_clearing_it_begins_anew() -> None:
    slices = Slices()
    slices.add(b"x" * 2 * SLICE)
    slices.take()

    slices.clear()
    slices.add(b"new")

    assert slices.take() == b"new"
    assert not slices
