"""A head that has been read: its fields, looked up and folded."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from activator.wire.heads import HeadLimits
from activator.wire.parsing import parse_request

if TYPE_CHECKING:
    from activator.wire.heads import Field, RequestHead


def get(*fields: bytes) -> RequestHead:
    lines = (b"GET / HTTP/1.1", b"Host: a", *fields, b"", b"")
    return parse_request(b"\r\n".join(lines), HeadLimits())


def test_fields_are_found_by_their_lower_case_name_in_the_order_in_which_they_came() -> None:
    head = get(b"X-A: 1", b"x-b: 2", b"X-A: 3", b"X-Empty:")
    assert head.get(b"x-a") == b"1"
    assert head.get_all(b"x-a") == [b"1", b"3"]
    assert head.get(b"x-empty") == b""
    assert head.get(b"x-c") is None
    assert head.get_all(b"x-c") == []


def test_a_folded_head_is_read_as_before_and_can_be_folded_again() -> None:
    fields = (b"X-A:  one ", b"x-a: two", b"Content-Length: 5", b"Empty:", b"Latin: caf\xe9")
    head, same = get(*fields), get(*fields)

    for _ in range(2):
        head.fold()

        assert head.get(b"x-a") == b"one"
        assert (head.fields, head.first) == (same.fields, same.first)

    head.fold()
    assert head.get_all(b"x-a") == [b"one", b"two"]
    assert (head.length, head.host, head.method) == (5, b"a", b"GET")


def test_a_folded_head_without_fields_has_none() -> None:
    head = parse_request(b"GET / HTTP/1.0\r\n\r\n", HeadLimits())

    head.fold()

    assert head.fields == []
    assert head.get(b"host") is None


def test_a_folded_head_keeps_little() -> None:
    head = get(*(b"X-Field-%d: some value or other" % number for number in range(12)))

    before = _kept(head.fields, head.first)
    lines = sum(len(line) for _, _, line in head.fields)
    head.fold()

    assert before > 5 * lines
    assert sys.getsizeof(head.folded) < 1.2 * lines
    with pytest.raises(AttributeError):
        head._fields  # noqa: B018  # `fields` would make them anew


def _kept(fields: list[Field], first: dict[bytes, Field]) -> int:
    within = [part for field in fields for part in (field, *field)]
    return sum(map(sys.getsizeof, [fields, first, *within]))


def test_a_head_has_no_attributes_but_its_own() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        getattr(get(), "nonsense")  # noqa: B009 -- a checker would refuse the plain form
