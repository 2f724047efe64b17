"""Whatever comes, however it is cut: no exception, no hanging, and one reading of it.

`ACTIVATOR_FUZZ_EXAMPLES=100000 pytest tests/unit/wire/test_fuzz.py` is a long run, each time with
other examples.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from activator.wire.framing import ChunkedDecoder
from activator.wire.heads import HeadLimits, Malformed, TooLarge
from activator.wire.parsing import parse_request, parse_response
from activator.wire.server import ServerLimits
from tests.unit.wire.messages import (
    answers,
    chunked,
    cuts,
    fuzz,
    mutated,
    mutated_answers,
    mutated_requests,
    request_streams,
)
from tests.unit.wire.paper import cut

if TYPE_CHECKING:
    from tests.unit.wire.paper import Asked, Desk

LIMITS = HeadLimits()
TIGHT = ServerLimits(head=HeadLimits(line=40, total=80, fields=4))


@fuzz(150)
@given(stream=request_streams, places=cuts)
def test_valid_requests_are_read_whole_wherever_they_are_cut(
    desk: Desk, stream: bytes, places: list[int]
) -> None:
    once, again = desk.serve([stream]), desk.serve(cut(stream, places))
    assert not once.is_refused
    assert again.whole == once.whole
    assert again.written == once.written


@fuzz(500)
@given(stream=mutated_requests, places=cuts)
def test_a_stream_has_one_reading_wherever_it_is_cut(
    desk: Desk, stream: bytes, places: list[int]
) -> None:
    once, again = desk.serve([stream]), desk.serve(cut(stream, places))
    assert again.whole == once.whole
    assert again.is_refused == once.is_refused
    assert again.is_open == once.is_open


@fuzz(100)
@given(stream=mutated_requests, places=cuts)
def test_tight_limits_are_the_same_wherever_a_stream_is_cut(
    desk: Desk, stream: bytes, places: list[int]
) -> None:
    once = desk.serve([stream], limits=TIGHT)
    again = desk.serve(cut(stream, places), limits=TIGHT)
    assert again.whole == once.whole


@fuzz(150)
@given(stream=mutated_requests, end=st.integers(0, 400))
def test_what_has_come_is_read_alike_whatever_follows(desk: Desk, stream: bytes, end: int) -> None:
    part, whole = desk.serve([stream[:end]]).whole, desk.serve([stream]).whole
    assert whole[: len(part)] == part


@fuzz(100)
@given(stream=answers(), places=cuts)
def test_valid_answers_are_read_whole_wherever_they_are_cut(
    desk: Desk, stream: bytes, places: list[int]
) -> None:
    once, _ = desk.ask([stream], eof=True)
    again, _ = desk.ask(cut(stream, places), eof=True)
    assert once.failure is None
    assert once.trailers is not None
    assert reading(again) == reading(once)


@fuzz(300)
@given(stream=mutated_answers, places=cuts)
def test_an_answer_has_one_reading_wherever_it_is_cut(
    desk: Desk, stream: bytes, places: list[int]
) -> None:
    once, usable = desk.ask([stream])
    again, usable_again = desk.ask(cut(stream, places))
    if once.trailers is not None or again.trailers is not None:
        # what follows is seen at once or not yet: the connection is closed now or as it is seen
        assert reading(again) == reading(once)
    else:
        assert (again.failure is None) == (once.failure is None)
        assert not usable
        assert not usable_again


def reading(asked: Asked) -> tuple[object, ...]:
    head = asked.head
    return (
        head and (head.status, head.reason, head.fields),
        bytes(asked.body),
        asked.trailers,
        len(asked.interims),
        asked.failure is None,
    )


@fuzz(300)
@given(data=st.binary(max_size=200), places=cuts)
def test_any_bytes_do_no_harm(desk: Desk, data: bytes, places: list[int]) -> None:
    desk.serve(cut(data, places))
    desk.ask(cut(data, places), eof=True)
    for parse in (
        lambda: parse_request(data, LIMITS),
        lambda: parse_response(data, method=b"GET", limits=LIMITS),
    ):
        with contextlib.suppress(Malformed, TooLarge):
            parse()


@fuzz(300)
@given(stream=mutated(st.binary(max_size=40).flatmap(chunked)), places=cuts)
def test_chunks_have_one_reading_wherever_they_are_cut(stream: bytes, places: list[int]) -> None:
    assert unchunk(cut(stream, places)) == unchunk([stream])


def unchunk(reads: list[bytes]) -> tuple[bytes, object] | None:
    """(body, trailers) if it comes to its end"""
    decoder, body = ChunkedDecoder(LIMITS), b""
    with contextlib.suppress(Malformed, TooLarge):
        for data in reads:
            if data and not decoder.done:
                body += decoder.feed(data)[0]
    return (body, decoder.trailers) if decoder.done else None
