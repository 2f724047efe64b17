"""A short body looked at as a whole tells the same model as one that is read in pieces."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.proxy.openai.quick import MOST, model_of
from activator.proxy.openai.toplevel import TopLevel, Value


def looked_at_closely(body: bytes) -> Value | None:
    scanner = TopLevel({"model": 1 << 10})
    scanner.feed(body)
    while scanner.pending and not scanner.over:
        scanner.step()
    return scanner.found.get("model")


def test_a_body_as_clients_send_it() -> None:
    body = b'{"messages": [{"role": "user", "content": "the \\"model\\" says"}], "model": "m/1"}'
    found = model_of(body)

    assert found is not None
    model, value = found
    assert model == "m/1"
    assert value == looked_at_closely(body)
    assert body[value.start : value.end] == value.raw == b'"m/1"'


AFTER = [
    b'"model": "a", "model": "b"}',
    b'"model": "a", "mod\\u0065l": "b"}',
    b'"model": "a", "\\u006Dodel": "b"}',
    b'"model": "a", "\\u006d\\u006F\\u0064\\u0065\\u006c": "b"}',
    b'"model": "a"} more',
    b'"model": "a", "x": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    b'"model": "a", "x": ' + b"9" * 5000 + b"}",
    b'"model": "a", "x": "' + b"x" * MOST + b'"}',
    b'"model": "a", "x": oh no',
]
"""What follows a name may be odd."""


@pytest.mark.parametrize(
    "body",
    [
        *(b'{"first": 1, ' + after for after in AFTER),
        b'{"mod\\u0065l": "b", "model": "a"}',
        b'{"inner": {"model": "a"}}',
        b'{"kind": "model"}',
        b'["model"]',
        b'{"model": 1}',
        b'{"model": "a"',
        b'{"model": "a" "b"}',
        b'\xef\xbb\xbf{"model": "a"}',
        b'{"model": "\xff"}',
        b'{"model": "\n"}',
        b'{"model": "' + b"a" * 1000 + b'"}',
        b'{"first": 1, "model": "' + b"a" * 1000 + b'"}',
        b'{"model": ' + b" " * 1100 + b'"a"}',
        b'{"model": "a"' + b" " * 1100 + b"}",
        b'{"first": 1, "model": ' + b" " * 1100 + b'"a"}',
        '{"model": "a"}'.encode("utf-16"),
        b"",
    ],
)
def test_what_is_not_plain_is_left_to_who_looks_closely(body: bytes) -> None:
    assert model_of(body) is None


@pytest.mark.parametrize("after", AFTER)
def test_behind_a_name_that_stands_first_nothing_counts(after: bytes) -> None:
    for before in (b"{", b" \r\n{ "):
        found = model_of(before + after)

        assert found is not None
        assert found == ("a", looked_at_closely(before + after))


def test_what_others_escape_hides_no_model() -> None:
    said = {"messages": [{"content": "\u4f60\u597d \U0001f600 \x01 \u00e9"}], "model": "m-\u00e9"}
    body = json.dumps(said).encode()
    found = model_of(body)

    assert b"\\u4f60" in body
    assert found is not None
    assert found[0] == "m-\u00e9"
    assert found[1] == looked_at_closely(body)


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["model", 'a"model"b']),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text() | st.just("model"), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    said=st.dictionaries(st.text() | st.sampled_from(["model", "stream"]), _values),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 1]),
)
def test_whatever_it_finds_who_looks_closely_finds_too(
    said: dict[str, Any], ascii_only: bool, indent: int | None
) -> None:
    body = json.dumps(said, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "replace")
    found = model_of(body)

    if found is not None:
        model, value = found
        assert value == looked_at_closely(body)
        assert json.loads(value.raw) == model == said["model"]


@given(
    said=st.dictionaries(st.text(max_size=5) | st.sampled_from(["model", "stream"]), _values),
    spots=st.lists(
        st.tuples(
            st.floats(0, 1),
            st.integers(0, 3),
            st.sampled_from(
                [
                    b"",
                    b'"',
                    b"\\",
                    b'"model"',
                    b'"model":"x",',
                    b"{",
                    b"}",
                    b" ",
                    b"\xff",
                    b"\x00",
                    b'"mod\\u0065l":"y",',
                    b"\\u0065",
                    b"\\u00",
                ]
            ),
        ),
        max_size=3,
    ),
    is_first=st.booleans(),
)
def test_of_what_was_damaged_too(
    said: dict[str, Any], spots: list[tuple[float, int, bytes]], is_first: bool
) -> None:
    both = {"model": "m", **said} if is_first else {**said, "model": "m"}
    body = json.dumps(both).encode()
    for where, cut, put in spots:
        at = int(where * len(body))
        body = body[:at] + put + body[at + cut :]
    found = model_of(body)

    if found is not None:
        assert found[1] == looked_at_closely(body)
        assert found[1].whole
        assert json.loads(found[1].raw) == found[0]
