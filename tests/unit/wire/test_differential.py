"""What we accept, h11 and httptools read in the same way: nobody behind us sees another message.

We may refuse what they accept. Where one of them refuses what we accept, `excused` says why that
does no harm.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from activator.wire.parsing import NEVER_IN_TRAILERS
from tests.unit.wire.corpus import (
    REFUSED_ANSWER_BODIES,
    REFUSED_ANSWERS,
    REFUSED_BODIES,
    REFUSED_HEADS,
    Refused,
)
from tests.unit.wire.messages import (
    SENTINEL,
    answers,
    fuzz,
    mutated_answers,
    mutated_requests,
    request_streams,
)
from tests.unit.wire.others import (
    CLOSED,
    UPGRADE,
    Message,
    h11_answer,
    h11_requests,
    httptools_answer,
    httptools_knows,
    httptools_requests,
    normal,
)
from tests.unit.wire.paper import cut

if TYPE_CHECKING:
    from tests.unit.wire.paper import Asked, Desk


def our_requests(desk: Desk, stream: bytes) -> list[Message]:
    return [
        Message(
            method=method,
            target=target,
            http_1_0=minor == 0,
            fields=[normal(name, value) for name, value, _ in fields],
            body=body,
            trailers=[normal(name, value) for name, value, _ in trailers],
            ended=True,
        )
        for method, target, minor, fields, body, trailers in desk.serve([stream]).whole
    ]


def our_answer(asked: Asked) -> Message:
    head = asked.head
    assert head is not None
    return Message(
        status=head.status,
        http_1_0=head.minor == 0,
        fields=[normal(name, value) for name, value, _ in head.fields],
        body=bytes(asked.body),
        trailers=[normal(name, value) for name, value, _ in asked.trailers or []],
        ended=asked.trailers is not None,
    )


def same(ours: Message, theirs: Message) -> None:
    # we drop trailers that must not be any (RFC 9110 §6.5.1); they leave that to their users
    kept = [found for found in theirs.trailers if found[0] not in NEVER_IN_TRAILERS]
    assert replace(theirs, trailers=kept) == ours


# --- requests -----------------------------------------------------------------------------------


def check_requests(desk: Desk, stream: bytes) -> int:
    """How many of them we have accepted."""
    ours = our_requests(desk, stream + SENTINEL)
    for read in (h11_requests, httptools_requests):
        theirs, why = read(stream + SENTINEL)
        for i, mine in enumerate(ours):
            if i == len(theirs):
                assert excused(mine, ours[:i], why), f"{read.__name__}: {why}: {mine}"
                break
            same(mine, theirs[i])
    return len(ours)


def excused(refused: Message, before: list[Message], why: str) -> str:
    """Why it does no harm that we read on where the other stopped; empty if there is no excuse."""
    if why == CLOSED and before and before[-1].http_1_0:
        return "h11 keeps no connection of HTTP/1.0 alive: its client has to ask again"
    if why == UPGRADE:
        return "llhttp leaves it to its user to decline an upgrade; we decline all but WebSocket"
    if why == "no request line received":
        return "h11 takes no empty line before a request; RFC 9112 §2.2 asks us to, and it goes"
    if why.startswith("HttpParserInvalidMethodError") and not httptools_knows(refused.method):
        return "llhttp knows a list of methods; whether another is served is for the model to say"
    return ""


@fuzz(150)
@given(stream=request_streams)
def test_valid_requests_are_read_alike(desk: Desk, stream: bytes) -> None:
    assert check_requests(desk, stream) > 0


@fuzz(500)
@given(stream=mutated_requests)
def test_what_passes_of_mutated_requests_is_read_alike(desk: Desk, stream: bytes) -> None:
    check_requests(desk, stream)


@pytest.mark.parametrize("case", [*REFUSED_HEADS, *REFUSED_BODIES], ids=str)
def test_of_the_corpus_nothing_passes(desk: Desk, case: Refused) -> None:
    """Nor anything behind it, whatever the others make of it."""
    assert check_requests(desk, case.message) == 0


# --- answers ------------------------------------------------------------------------------------


def check_answer(desk: Desk, stream: bytes, *, eof: bool) -> bool:
    """Whether we have accepted it."""
    asked, _ = desk.ask(cut(stream, []), eof=eof)
    if asked.trailers is None:
        return False
    ours = our_answer(asked)
    theirs, why = h11_answer(stream, eof=eof)
    assert theirs.ended, f"h11: {why}: {ours}"
    same(ours, theirs)
    theirs, why = httptools_answer(stream)
    if not theirs.ended:
        # httptools has no way to be told of the end, which is the end of such a body
        assert ends_with_its_connection(ours), f"httptools: {why}: {ours}"
        assert why == ""
        theirs.ended = True
    same(ours, theirs)
    return True


def ends_with_its_connection(answer: Message) -> bool:
    return not {b"content-length", b"transfer-encoding"} & {name for name, _ in answer.fields}


@fuzz(150)
@given(stream=answers())
def test_valid_answers_are_read_alike(desk: Desk, stream: bytes) -> None:
    assert check_answer(desk, stream, eof=True)


@fuzz(500)
@given(stream=mutated_answers)
def test_what_passes_of_mutated_answers_is_read_alike(desk: Desk, stream: bytes) -> None:
    check_answer(desk, stream, eof=True)
    check_answer(desk, stream, eof=False)


@pytest.mark.parametrize("case", [*REFUSED_ANSWERS, *REFUSED_ANSWER_BODIES], ids=str)
def test_of_the_corpus_of_answers_nothing_passes(desk: Desk, case: Refused) -> None:
    assert not check_answer(desk, case.message, eof=True)
