"""Tokens of answers, read as they pass."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.core.tokens import TAIL, TokenCounter, Tokens, tells, tokens_of

CHAT = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
RESPONSES = {"input_tokens": 7, "output_tokens": 5, "output_tokens_details": {"x": 1}}


def counted(*pieces: bytes, is_stream: bool = False) -> Tokens | None:
    usage = TokenCounter(is_stream=is_stream)
    for piece in pieces:
        usage.data(piece)
    found = usage.tokens()
    assert tokens_of(b"".join(pieces), is_stream=is_stream) == found
    return found


def events(*said: dict[str, Any], done: bool = True) -> bytes:
    parts = [b"data: " + json.dumps(one).encode() + b"\n\n" for one in said]
    return b"".join(parts) + (b"data: [DONE]\n\n" if done else b"")


@pytest.mark.parametrize("usage", [CHAT, RESPONSES])
def test_an_answers_usage_counts(usage: dict[str, Any]) -> None:
    body = json.dumps({"choices": ["x" * 9000], "usage": usage, "metadata": None}).encode()

    assert counted(body) == Tokens(7, 5, told=True)
    assert counted(*(body[at : at + 7] for at in range(0, len(body), 7))) == Tokens(7, 5, told=True)


def test_what_a_text_says_of_usage_does_not_count() -> None:
    text = json.dumps({"usage": {"prompt_tokens": 1000}})

    assert counted(json.dumps({"text": text}).encode()) is None
    told = json.dumps({"text": text, "usage": CHAT, "more": text}).encode()
    assert counted(told) == Tokens(7, 5, told=True)


@pytest.mark.parametrize(
    "usage",
    [
        *(None, 5, {}, {"prompt_tokens": "7"}, {"prompt_tokens": -1}, {"prompt_tokens": True}),
        {"prompt_tokens": 10**100},
    ],
)
def test_what_is_no_usage_does_not_count(usage: object) -> None:
    assert counted(json.dumps({"usage": usage}).encode()) is None


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_usage_that_is_nested_too_deep_is_none(is_stream: bool) -> None:
    deep = b'{"usage": ' + b"[" * 1500 + b"]" * 1500 + b"}"

    assert counted(deep, is_stream=is_stream) is None


def test_of_a_stream_the_last_usage_counts() -> None:
    stream = events({"usage": None}, {"usage": {"prompt_tokens": 1}}, {"usage": CHAT})

    assert counted(stream, is_stream=True) == Tokens(7, 5, told=True)


@given(sizes=st.lists(st.integers(1, 40), max_size=30))
def test_a_stream_without_usage_is_counted_by_its_events(sizes: list[int]) -> None:
    stream = events(*({"text": f"\ndata: {n}", "usage": None} for n in range(12)))
    pieces = []
    for size in sizes:
        pieces.append(stream[:size])
        stream = stream[size:]

    assert counted(*pieces, stream, is_stream=True) == Tokens(0, 12, told=False)


def test_what_was_skipped_pushes_what_was_told_before_beyond_the_tail() -> None:
    told = events({"usage": CHAT}, done=False)
    room = TAIL - len(told)
    for skipped, is_there in ((10, True), (room, True), (room + 30, False), (10 * TAIL, False)):
        counter = TokenCounter(is_stream=True)
        counter.data(told)
        counter.skip(skipped, 1)

        heard = counter.tokens()
        assert heard == (Tokens(7, 5, told=True) if is_there else Tokens(0, 2, told=False))


@pytest.mark.parametrize(
    ("said", "is_told"),
    [
        (b'{"usage": null, "usage":null}', False),
        (b'{"usage": {}}', True),
        (b'{"usage":null}{"usage" : null}', True),
        (b'{"usage":null}{"usage":{"prompt_tokens":1}}', True),
    ],
)
def test_what_may_tell_a_usage(said: bytes, is_told: bool) -> None:
    assert tells(said) is is_told


@pytest.mark.parametrize(
    ("stream", "is_between"),
    [
        (b"", True),
        (b"data: 1\n\n", True),
        (b"data: 1\r\n\r\n", True),
        (b"data: 1\n\r\n", True),
        (b"data: 1\r\r", True),
        (b": waits\n", False),
        (b"data: 1\n", False),
        (b"data: 1\r\n\r", False),
        (b"data: 1\n\nd", False),
    ],
)
def test_where_another_event_may_begin(stream: bytes, is_between: bool) -> None:
    for size in (1, 3, 100):
        counter = TokenCounter(is_stream=True)
        for at in range(0, len(stream), size):
            counter.data(stream[at : at + size])

        assert counter.is_between is is_between


def test_a_stream_that_was_cut_counts_for_what_came() -> None:
    assert counted(events({}, {}, done=False), is_stream=True) == Tokens(0, 2, told=False)
    assert counted(is_stream=True) is None
