"""What activators call out arrives as it was said; what is not understood is passed over."""

from __future__ import annotations

import json
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.coordination.base import Share
from activator.coordination.board_talk import (
    Answered,
    Concluded,
    Declared,
    Revived,
    Shares,
    Told,
    decode,
    encode,
    read_replicas,
    replicas_word,
)

names = st.text(min_size=1, max_size=20)
counts = st.integers(0, 10**9)
told = st.builds(
    Told,
    st.builds(Share, counts, counts, counts, st.dictionaries(names, counts, max_size=3)),
    st.one_of(st.just(inf), st.integers(0, 10**6).map(float)),
)
replicas = st.none() | st.lists(names, max_size=3).map(tuple)


@given(
    st.builds(Shares, names, st.dictionaries(names, told, max_size=4), st.booleans(), st.booleans())
)
def test_shares_arrive_as_they_were_told(said: Shares) -> None:
    assert decode(encode(said)) == said


@given(st.builds(Declared, names, st.integers(1, 2**53), names, replicas, st.none() | names))
def test_questions_arrive_as_they_were_asked(said: Declared) -> None:
    assert decode(encode(said)) == said


@given(replicas)
def test_replicas_arrive_as_they_were_named(named: tuple[str, ...] | None) -> None:
    assert read_replicas(replicas_word(named)) == named


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"k": "answered", "e": "m", "n": "7", "a": "x", "q": 1}, Answered("m", 7, "x", True)),
        ({"k": "answered", "e": "m", "n": "7", "a": "x", "q": 0}, Answered("m", 7, "x", False)),
        ({"k": "revived", "e": "m", "n": "7"}, Revived("m", 7)),
        (
            {"k": "declared", "e": "m", "n": "7", "a": "x", "r": "", "f": "1.2"},
            Declared("m", 7, "x", None, "1.2"),
        ),
        (
            {"k": "declared", "e": "m", "n": "7", "a": "x", "r": ""},
            Declared("m", 7, "x", None, None),
        ),
        ({"k": "concluded", "e": "m", "n": "7", "o": 0}, Concluded("m", 7, ordered=False)),
    ],
)
def test_what_the_store_calls_out_is_understood(words: dict[str, object], said: object) -> None:
    assert decode(json.dumps({"v": 1, **words}).encode()) == said


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b'{"v":1}',
        b'{"v":2,"k":"revived","e":"m","n":"7"}',
        b'{"v":1,"k":"sung","e":"m","n":"7"}',
        b'{"v":1,"k":"revived","e":"m","n":"seven"}',
        b'{"v":1,"k":"shares","a":"x","w":0,"q":0,"s":{"m":[1]}}',
        b'{"v":1,"k":"shares","a":"x","w":0,"q":0,"s":[]}',
    ],
)
def test_what_is_not_understood_is_passed_over(message: bytes) -> None:
    assert decode(message) is None
