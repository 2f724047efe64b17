"""Top-level values of JSON in pieces: what a parser finds, at the offsets where it stands."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activator.proxy.openai.pieces import SLICE
from activator.proxy.openai.toplevel import TopLevel

if TYPE_CHECKING:
    from collections.abc import Callable

WANTED = {"model": 1024, "stream": 16, "messages": 256}


def read(body: bytes, *, sizes: tuple[int, ...] = (), wanted: Any = WANTED) -> TopLevel:
    """All of it, in pieces of these sizes; what is left comes at once."""
    scanner = TopLevel(wanted)
    for size in sizes:
        scanner.feed(body[:size])
        body = body[size:]
    scanner.feed(body)
    while scanner.pending:
        scanner.step()
    return scanner


def whole(body: bytes, **options: Any) -> dict[str, Any]:
    return {name: json.loads(value.raw) for name, value in read(body, **options).found.items()}


json_values = st.recursive(
    st.none() | st.integers(-9, 9) | st.sampled_from(["", "\\", '"', '\\"', "é,:{[", "model"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["model", "stream", 'mod"el', "é"]), inner, max_size=3)
    ),
    max_leaves=6,
)
objects = st.dictionaries(st.sampled_from(["a", "messages", "\\", '"', "é"]), json_values)


@settings(max_examples=60)
@given(
    around=st.tuples(objects, objects),
    model=st.text(max_size=5),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 1]),
    sizes=st.lists(st.integers(1, 9), max_size=20),
)
def test_it_finds_what_a_parser_finds_however_the_body_comes(
    *,
    around: tuple[dict[str, Any], dict[str, Any]],
    model: str,
    ascii_only: bool,
    indent: int | None,
    sizes: list[int],
) -> None:
    before, after = around
    fields = {**before, "model": model, "stream": True} | after
    body = json.dumps(fields, ensure_ascii=ascii_only, indent=indent).encode("utf-8")

    scanner = read(body, sizes=tuple(sizes))

    assert scanner.over
    value = scanner.found["model"]
    assert json.loads(value.raw) == model
    assert body[value.start : value.end] == value.raw
    assert scanner.found["stream"].raw == b"true"


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "m"}',
        b' \r\n{"model":"m","x":1}',
        b'\xef\xbb\xbf{"model":"m"}',
        b'{"messages":[{"content":"\\"model\\":\\"x\\""}],"model":"m"}',
        b'{"a":{"model":"x"},"b":["model","x"],"model":"m"}',
        b'{"a":"\\\\","model":"m"}',
        b'{"a":"\\\\\\"","model":"m"}',
        b'{"mod\\u0065l":"m"}',
        b'{"x":"model","model":"m"}',
        b'{"x":[],"y":{},"z":[[]],"model":"m"}',
    ],
)
def test_only_the_objects_own_key_counts(body: bytes) -> None:
    for size in range(1, len(body)):
        assert whole(body, sizes=(size,))["model"] == "m"
    assert whole(body, sizes=(1,) * len(body))["model"] == "m"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'["model"]', b'"model"', b"12", b"{}", b'{"other":1}', b"{", b"{{{{"]
)
def test_where_there_is_none_none_is_found(body: bytes) -> None:
    assert read(body, sizes=(1,)).found == {}


@pytest.mark.parametrize("body", [b'[{"model":"m"}]', b'"model', b"nonsense", b'{} {"model":"m"}'])
def test_what_is_no_object_is_given_up_at_once(body: bytes) -> None:
    scanner = read(body)

    assert scanner.over
    assert scanner.found == {}


def test_the_first_of_two_counts_because_the_second_may_never_come() -> None:
    assert whole(b'{"model":"a","model":"b"}')["model"] == "a"


def test_of_a_long_value_only_its_beginning_is_kept() -> None:
    body = json.dumps({"messages": ["x" * 100_000], "model": "y" * 2000}).encode()

    found = read(body).found

    assert found["messages"].raw == body[12:268].strip()
    assert not found["messages"].whole
    assert not found["model"].whole


def test_a_beginning_is_told_before_the_value_has_ended() -> None:
    scanner = TopLevel(WANTED)
    scanner.feed(b'{"messages":["' + b"x" * 1000)

    scanner.step()

    assert scanner.found["messages"].raw.startswith(b'["xxx')
    assert not scanner.over


HALF = 1 << 19


def chat() -> list[dict[str, str]]:
    said = (f'said "{number}"\nand a little more of it' for number in range(10_000))
    return [{"role": "user", "content": words} for words in said]


# each as hard as it can be in its way
BODIES: dict[str, Callable[[], bytes]] = {
    "images": lambda: json.dumps({"messages": ["A" * 2 * HALF], "model": "m"}).encode(),
    "chat": lambda: json.dumps({"messages": chat(), "model": "m"}).encode(),
    "json in json": lambda: json.dumps({"x": json.dumps(chat()), "model": "m"}).encode(),
    "tokens": lambda: json.dumps({"prompt": list(range(100_000)), "model": "m"}).encode(),
    "quotes": lambda: b'{"x":[' + b'""' * HALF + b'],"model":"m"}',
    "brackets": lambda: b'{"x":[' + b"[]" * HALF + b'],"model":"m"}',
    "deep": lambda: b'{"x":' + b"[" * HALF + b"]" * HALF + b',"model":"m"}',
    "keys": lambda: b"{" + b'"x":[],' * (HALF // 7) + b'"model":"m"}',
    "backslashes": lambda: b'{"x":"' + b"\\\\" * HALF + b'","model":"m"}',
}


@pytest.mark.parametrize("kind", BODIES)
def test_a_step_is_short_whatever_the_body(kind: str) -> None:
    body = BODIES[kind]()
    scanner = TopLevel(WANTED)
    for at in range(0, len(body), 256 << 10):
        scanner.feed(body[at : at + (256 << 10)])
    steps: list[float] = []

    while scanner.pending:
        began = time.thread_time()
        scanner.step()
        steps.append(time.thread_time() - began)

    assert json.loads(scanner.found["model"].raw) == "m"
    assert len(steps) >= len(body) // SLICE
    # far below, even for the worst; but a machine may be slow and busy
    assert sorted(steps)[int(len(steps) * 0.9)] < 0.02
