"""Fields of a form in pieces, among files."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.proxy.openai.multipart import Multipart, boundary_of

WANTED = {"model": 64, "stream": 8}
FILE = b'Content-Disposition: form-data; name="file"; filename="a; name=model"\r\nX: y\r\n'
MODEL = b'Content-Disposition: form-data; name="model"\r\n'


def form(*parts: tuple[bytes, bytes], boundary: bytes = b"B", after: bytes = b"") -> bytes:
    lines = b"".join(b"--%b\r\n%b\r\n%b\r\n" % (boundary, head, value) for head, value in parts)
    return lines + b"--" + boundary + b"--\r\n" + after


def read(body: bytes, *, sizes: tuple[int, ...] = (), boundary: bytes = b"B") -> Multipart:
    scanner = Multipart(boundary, WANTED)
    for size in sizes:
        scanner.feed(body[:size])
        body = body[size:]
    scanner.feed(body)
    while scanner.pending:
        scanner.step()
    return scanner


@given(
    before=st.binary(max_size=60) | st.sampled_from([b"\r\n--", b"\r\n--X\r\n\r\n", b"\r\n"]),
    after=st.binary(max_size=60),
    model=st.binary(max_size=20),
    sizes=st.lists(st.integers(1, 30), max_size=20),
)
def test_a_field_is_found_before_or_after_a_file_however_it_comes(
    before: bytes, after: bytes, model: bytes, sizes: list[int]
) -> None:
    boundary = b"------------------------d74496d66958873e"
    body = form((FILE, before), (MODEL, model), (FILE, after), boundary=boundary)

    scanner = read(body, sizes=tuple(sizes), boundary=boundary)

    value = scanner.found["model"]
    assert value.raw == model
    assert body[value.start : value.end] == model
    assert value.is_text
    assert scanner.over


@pytest.mark.parametrize(
    "head",
    [
        b"content-disposition: form-data; name=model\r\n",
        b'Content-Type: text/plain\r\nContent-Disposition:form-data;name="model"\r\n',
        b'Content-Disposition: form-data; filename="name=x"; name="model"\r\n',
    ],
)
def test_a_field_may_be_written_in_many_ways(head: bytes) -> None:
    assert read(form((head, b"m"))).found["model"].raw == b"m"


@pytest.mark.parametrize(
    "parts",
    [
        [(FILE, b"model")],
        [(b'Content-Disposition: form-data; name="models"\r\n', b"m")],
        [(b'Content-Disposition: attachment; name="model"\r\n', b"m")],
        [(b"", b"m")],
        [(MODEL, b"m" * 65)],
    ],
)
def test_what_is_no_such_field_is_not_taken_for_it(parts: Any) -> None:
    scanner = read(form(*parts))

    assert scanner.found == {}
    assert scanner.over


def test_the_first_of_two_counts() -> None:
    assert read(form((MODEL, b"a"), (MODEL, b"b"))).found["model"].raw == b"a"


def test_what_stands_before_and_after_the_form_is_none_of_it() -> None:
    inner = form((MODEL, b"no"))
    body = b"preamble\r\n" + form((MODEL, b"m"), after=inner)

    assert read(body).found["model"].raw == b"m"


def test_endless_headers_are_given_up() -> None:
    scanner = read(b"--B\r\n" + b"X: y\r\n" * 5000)

    assert scanner.over
    assert scanner.found == {}


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        (b"multipart/form-data; boundary=abc", b"abc"),
        (b'Multipart/Form-Data;charset=utf-8; BOUNDARY="a b"', b"a b"),
        (b"multipart/form-data; boundary=----x; charset=y", b"----x"),
        (b"multipart/form-data", None),
        (b"multipart/mixed; boundary=abc", None),
        (b"application/json", None),
        (b"", None),
    ],
)
def test_the_boundary_is_in_the_content_type(content_type: bytes, boundary: bytes | None) -> None:
    assert boundary_of(content_type) == boundary
