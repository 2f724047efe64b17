from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from activator.proxy.edits import Edit, Editor


@given(st.data())
def test_however_a_body_is_cut_the_same_bytes_are_exchanged(data: st.DataObject) -> None:
    body = data.draw(st.binary(min_size=1, max_size=40))
    places = data.draw(st.lists(st.integers(0, len(body) - 1), max_size=6, unique=True).map(sorted))
    pairs = list(zip(places[::2], places[1::2], strict=False))
    edits = [Edit(start, end, data.draw(st.binary(max_size=5))) for start, end in pairs]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    expected = body
    for edit in reversed(edits):
        expected = expected[: edit.start] + edit.new + expected[edit.end :]

    editor = Editor(edits[::-1])
    bounds = [0, *cuts, len(body)]
    pieces = [body[a:b] for a, b in pairwise(bounds)]

    assert b"".join(editor.piece(piece) for piece in pieces) == expected
    assert len(expected) == len(body) + sum(edit.growth for edit in edits)


def test_bytes_can_be_put_in_between() -> None:
    editor = Editor([Edit(2, 2, b"-")])

    assert [editor.piece(b"ab"), editor.piece(b"cd")] == [b"ab", b"-cd"]
