"""Heads that are alike but for what is their own: made from one that is known, they are what they
would be if they were read as a whole, and whatever is not as it should be is read so."""

from __future__ import annotations

import gc
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.wire.heads import HeadLimits, Malformed, RequestHead, ResponseHead, TooLarge
from activator.wire.incoming import Incoming
from activator.wire.known import LONGEST, MOST, KnownAnswers, KnownRequests
from activator.wire.parsing import parse_request, parse_response

if TYPE_CHECKING:
    from collections.abc import Callable

LIMITS = HeadLimits()


def asked(target: str, *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    lines = [f"{method} {target} HTTP/{version}", "Host: a", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def read(known: KnownRequests, raw: bytes, *, limits: HeadLimits = LIMITS) -> RequestHead:
    incoming = Incoming(limits, known)
    incoming.add(raw)
    head = incoming.head()
    assert head is not None
    return head


def met(known: KnownRequests, raw: bytes) -> RequestHead:
    """Read as often as it takes to be kept: what comes once is not."""
    read(known, raw)
    return read(known, raw)


def learned(known: KnownAnswers, raw: bytes) -> ResponseHead:
    for _ in range(3):
        head = parse_response(raw, method=b"GET", limits=LIMITS)
        known.learn(raw, head, LIMITS)
    return head


def is_made_from_another(known: KnownRequests, raw: bytes) -> bool:
    return known.alike(raw) is not None


def facts(head: RequestHead) -> tuple[object, ...]:
    return (
        *(head.method, head.target, head.query, head.minor, head.host, head.length),
        *(head.connection, head.keep_alive, head.expects_continue, head.websocket),
        *(head.fields, head.first),
    )


OWN = ["Content-Length", "traceparent", "TraceState", "x-request-id", "X-Amzn-Trace-Id", "baggage"]
OTHERS = [
    "Accept: */*",
    "Cookie: a=b?c",
    "Connection: close",
    "X-Hop: ? HTTP/1.1",
    "Expect: 100-continue",
]
VALUES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)


@st.composite
def two_alike(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Two heads that differ in what is their own only."""
    names = draw(st.lists(st.sampled_from(OWN), unique_by=str.lower))
    others = draw(st.lists(st.sampled_from(OTHERS), unique=True))
    order = draw(st.permutations([*names, *others]))
    target = draw(st.sampled_from(["/a", "http://b.example:81/a"]))
    has_query = draw(st.booleans())
    method = draw(st.sampled_from(["GET", "POST"]))
    version = draw(st.sampled_from(["1.0", "1.1"]))
    made = []
    for _ in range(2):
        lines = []
        for each in order:
            if ":" in each:
                lines.append(each)
            elif each == "Content-Length":
                lines.append(f"{each}: {draw(st.integers(1, 10**9))}")
            else:
                lines.append(f"{each}: {draw(VALUES)}")
        query = "?" + draw(VALUES).replace("#", "") if has_query else ""
        made.append(asked(target + query, *lines, method=method, version=version))
    return made[0], made[1]


@given(two_alike())
def test_what_is_made_from_another_is_what_it_would_be_read_as(raws: tuple[bytes, bytes]) -> None:
    known = KnownRequests()
    read(known, raws[0])
    for raw in raws:
        head, alone = read(known, raw), parse_request(raw, LIMITS)
        own = dict(head.own)
        assert facts(head) == facts(alone)
        head.fold()
        assert facts(head) == facts(alone)
        assert head.own == own
    assert raws[0] == raws[1] or is_made_from_another(known, raws[1])
    assert len(known._outlines) == is_made_from_another(known, raws[0])


ANSWERS_OWN = ["Content-Length", "date", "X-Request-Id", "Openai-Processing-Ms", "x-process-time"]
ANSWERS_OTHERS = ["Server: m", "Connection: close", "Keep-Alive: timeout=5", "Set-Cookie: a"]


@st.composite
def two_answers(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """As `two_alike`; at least a date is their own."""
    names = draw(st.lists(st.sampled_from(ANSWERS_OWN), unique_by=str.lower))
    names = ["date", *(name for name in names if name != "date")]
    others = draw(st.lists(st.sampled_from(ANSWERS_OTHERS), unique=True))
    if "Content-Length" not in names and draw(st.booleans()):
        others.append("Transfer-Encoding: chunked")
    order = draw(st.permutations([*names, *others]))
    line = draw(st.sampled_from(["HTTP/1.1 200 OK", "HTTP/1.1 404 No", "HTTP/1.1 500"]))
    made = []
    for _ in range(2):
        lines = [line]
        for each in order:
            if ":" in each:
                lines.append(each)
            elif each == "Content-Length":
                lines.append(f"{each}: {draw(st.integers(1, 10**9))}")
            else:
                lines.append(f"{each}: {draw(VALUES)}")
        made.append("\r\n".join([*lines, "", ""]).encode())
    return made[0], made[1]


def told(head: ResponseHead) -> tuple[object, ...]:
    return (
        *(head.status, head.reason, head.minor, head.length, head.connection, head.keep_alive),
        *(head.is_usual, head.fields, head.first),
    )


@given(two_answers())
def test_an_answer_that_is_made_from_another_is_what_it_would_be_read_as(
    raws: tuple[bytes, bytes],
) -> None:
    known = KnownAnswers()
    first = learned(known, raws[0])
    for raw in raws:
        head = known.alike(raw)
        assert head is not None
        assert told(head) == told(parse_response(raw, method=b"GET", limits=LIMITS))
        assert head.outline is first.outline
    assert len(known._outlines) == 1


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("HTTP/1.1 204 No Content", "Date: x"),
        ("HTTP/1.1 304 Not Modified", "Content-Length: 5"),
        ("HTTP/1.1 100 Continue", "Date: x"),
        ("HTTP/1.1 200 OK", "Content-Length: 0"),
        ("HTTP/1.1 200 OK", "Server: m"),
    ],
)
def test_an_answer_of_another_kind_is_known_by_all_its_bytes(line: str, field: str) -> None:
    known, raw = KnownAnswers(), f"{line}\r\n{field}\r\n\r\n".encode()
    head = learned(known, raw)

    assert known.get(raw) is head
    assert known.alike(raw) is None


@pytest.mark.parametrize("length", ["01", "+1", "1 1", "1, 1", "9999999999999999999", "-1"])
def test_a_length_that_is_none_is_refused_beside_others_too(length: str) -> None:
    known = KnownAnswers()
    good = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    learned(known, good)
    assert known.alike(good.replace(b"5", b"6")) is not None

    raw = good.replace(b"5", length.encode())
    assert known.alike(raw) is None
    with pytest.raises(Malformed):
        parse_response(raw, method=b"GET", limits=LIMITS)


def test_what_is_concluded_from_one_is_there_for_the_next() -> None:
    known = KnownRequests()
    first = met(known, asked("/a?1", "traceparent: x"))
    assert first.outline is not None
    first.outline.note = "seen"

    second = read(known, asked("/a?2", "traceparent: y"))
    assert (second.note, second.query, second.own) == ("seen", b"?2", {b"traceparent": b"y"})
    for other in (
        asked("/b?2", "traceparent: y"),
        asked("/a?2", "Traceparent: y"),
        asked("/a?2"),
        asked("/a", "traceparent: y"),
        asked("/a?2", "traceparent: y", "Accept: */*"),
        asked("/a?2", "traceparent: y", method="HEAD"),
    ):
        assert met(known, other).note is None


@pytest.mark.parametrize(
    "raw",
    [
        asked("/a", "Content-Length: 01"),
        asked("/a", "Content-Length: +1"),
        asked("/a", "Content-Length: 1 1"),
        asked("/a", "Content-Length: 1", "Content-Length: 1"),
        asked("/a", "Content-Length: 9999999999999999999"),
        asked("/a", "Content-Length: 1\n"),
        asked("/a?\x7f", "Content-Length: 1"),
        asked("/a?b#c", "Content-Length: 1"),
        asked("/a?b c", "Content-Length: 1"),
        asked("/a", "Content-Length: 1", "x-request-id: a\rb"),
        asked("/a", "Content-Length: 1", "x-request-id: a\0b"),
    ],
)
def test_what_is_not_as_it_should_be_is_refused_beside_others_too(raw: bytes) -> None:
    known = KnownRequests()
    for good in (
        asked("/a", "Content-Length: 1"),
        asked("/a?b", "Content-Length: 1"),
        asked("/a", "Content-Length: 1", "x-request-id: ab"),
    ):
        met(known, good)
    with pytest.raises(Malformed):
        parse_request(raw, LIMITS)
    with pytest.raises(Malformed):
        read(known, raw)


@pytest.mark.parametrize(
    "raw",
    [
        asked("/a", "X-Request-Id:close"),
        asked("/a", "X-Request-Id: padded "),
        asked("/a", "X-Request-Id: "),
        asked("/a", "X-Request-Id: a", "X-Request-Id: b"),
        asked("/a", "X-Request-Id: a", "X-Request-Id:"),
        asked("/a", "traceparent: a", "X-Request-Id:close"),
        asked("/a", "Content-Length: 0"),
        asked("/a", "Content-Length: 0", "X-Request-Id: a"),
        asked("/a?b", "X-Request-Id:close"),
        asked("/a", "X-Request-Id: a", "Connection: Upgrade", "Upgrade: websocket"),
        asked("/a?" + "b" * LONGEST),
    ],
)
def test_what_cannot_be_told_apart_is_read_anew_each_time(raw: bytes) -> None:
    known = KnownRequests()
    first, second = met(known, raw), read(known, raw)

    assert second.outline is None
    assert second.own == {}
    assert facts(second) == facts(parse_request(raw, LIMITS)) == facts(first)


def test_what_comes_again_byte_for_byte_is_known_as_it_is() -> None:
    known = KnownRequests()
    met(known, asked("/a?0"))
    heads = [read(known, asked("/a?1")) for _ in range(4)]
    assert heads[0] is not heads[1]
    assert heads[1] is heads[2] is heads[3]
    assert facts(heads[3]) == facts(heads[0])


def test_while_it_waits_a_head_keeps_nothing_twice() -> None:
    known = KnownRequests()
    for number in (1, 22):
        head = met(known, asked("/a?b", f"Content-Length: {number}", "traceparent: x"))
        for _ in range(2):
            head.fold()
            assert not any(isinstance(each, dict | list) for each in gc.get_referents(head))
            assert head.own == {b"content-length": b"%d" % number, b"traceparent": b"x"}
            assert head.get(b"host") == b"a"
        assert head.outline is not None


def test_names_are_kept_once_for_all_that_say_them() -> None:
    known = KnownRequests()
    one, other = (
        met(known, asked(f"/{number}", "Content-Length: 1", "Traceparent: x")).outline
        for number in range(2)
    )
    assert one is not None
    assert other is not None
    assert one is not other
    assert one.names is other.names


def test_beside_narrow_limits_every_head_is_measured() -> None:
    known = KnownRequests()
    narrow = HeadLimits(line=64)
    for _ in range(3):
        assert read(known, asked("/a?b"), limits=narrow).outline is None
    assert not is_made_from_another(known, asked("/a?c"))


def test_what_comes_once_is_not_kept() -> None:
    known = KnownRequests()
    for number in range(3 * MOST):
        assert read(known, asked(f"/{number}?x", "X-Request-Id: a")).outline is None
        read(known, asked(f"/{number}"))
    assert len(known) == 0
    assert len(known._once) <= MOST


@pytest.mark.parametrize(
    "lines",
    [("Content-Length: 0",), ("Content-Length: 0", "X-Request-Id: {}"), ("X-Request-Id:{}",)],
)
def test_what_comes_once_is_not_kept_where_there_is_no_outline_either(lines: list[str]) -> None:
    known = KnownRequests()
    for number in range(MOST):
        raw = asked(f"/a?{number}", *(each.format(number) for each in lines), method="POST")
        assert not read(known, raw).is_kept
    assert len(known) == 0


def test_answers_without_an_outline_that_come_once_are_not_kept() -> None:
    known = KnownAnswers()
    for number in range(MOST):
        raw = b"HTTP/1.1 204 No Content\r\nDate: %d\r\n\r\n" % number
        head = parse_response(raw, method=b"GET", limits=LIMITS)
        known.learn(raw, head, LIMITS)
        assert not head.is_kept
    assert len(known) == 0


def test_no_more_are_kept_than_is_bounded() -> None:
    known = KnownRequests()
    for number in range(2 * MOST + 1):
        for _ in range(3):
            read(known, asked(f"/{number}?x"))
        assert len(known) <= 2 * MOST
    assert is_made_from_another(known, asked(f"/{2 * MOST}?y"))


SEEDS = [
    asked("/chat?x=1&y", "Content-Length: 12", "traceparent: 00-a-b-01", "X-Request-Id: abc"),
    asked("http://h/a?b", "TraceState: a=b, c", "Connection: keep-alive", version="1.0"),
    asked("/u", "Transfer-Encoding: chunked", "X-Amzn-Trace-Id: Root=1", method="PUT"),
    asked("/p", "Expect: 100-continue", "Content-Length: 5", "baggage: x y", method="POST"),
]
PIECES = [
    *(
        b"\r\n",
        b"\r",
        b"\n",
        b"\0",
        b" ",
        b"\t",
        b":",
        b"?",
        b"#",
        b"0",
        b"+",
        b",",
        b"\x7f",
        b"\xff",
    ),
    *(b"Content-Length: 7\r\n", b"content-length:7\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"Host: b\r\n", b"\r\nX-Request-Id: z", b"X-Request-Id: \r\n", b" HTTP/1.1\r\n"),
    *(b"Connection: upgrade\r\nUpgrade: websocket\r\n", b"\r\n folded", b"traceparent: q\r\n"),
]
"""What is put where it may not belong."""
MUTATIONS = 4000


def mutated(raw: bytes, dice: random.Random) -> bytes:
    made = bytearray(raw)
    for _ in range(dice.choice([1, 1, 1, 2])):
        at = dice.randrange(len(made))
        match dice.randrange(4):
            case 0:
                made[at:at] = dice.choice(PIECES)
            case 1:
                del made[at : at + dice.choice([1, 2, 12])]
            case 2:
                made[at] = dice.randrange(256)
            case _:
                start = dice.randrange(len(made))
                made[at:at] = made[start : start + dice.randrange(1, 30)]
    head, end, _ = bytes(made).partition(b"\r\n\r\n")
    return head + end


def outcome(read_head: Callable[[], RequestHead]) -> object:
    try:
        return facts(read_head())
    except (Malformed, TooLarge) as refused:
        return type(refused)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_comes_beside_known_heads_is_taken_as_it_is_alone(seed: int) -> None:
    dice = random.Random(seed)
    known, made = KnownRequests(), 0
    for number in range(MUTATIONS):
        seeds = SEEDS[number % len(SEEDS)]
        raw = mutated(seeds, dice) if number > len(SEEDS) else seeds
        if not raw.endswith(b"\r\n\r\n") or raw.startswith(b"\r\n"):
            continue  # not all of a head, or empty lines before one
        made += is_made_from_another(known, raw)
        alone = outcome(lambda raw=raw: parse_request(raw, LIMITS))  # type: ignore[misc]
        assert outcome(lambda raw=raw: read(known, raw)) == alone, raw  # type: ignore[misc]
    assert made > MUTATIONS / 40
