"""Messages for fuzzing: valid ones of every kind, and what mutations make of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.unit.wire.corpus import (
    REFUSED_ANSWER_BODIES,
    REFUSED_ANSWERS,
    REFUSED_BODIES,
    REFUSED_HEADS,
)

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

METHODS = (b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"PROPFIND")
"""That every parser knows: llhttp has a list of them, for others it has no opinion."""

_TOKEN = "!#$%&'*+-.^_`|~0123456789ABCXYZabcxyz"
_TEXT = "\t !\"#$%&'()*+,-./019:;<=>?@AZ[\\]^_`az{|}~\x80\xa0\xc3\xff"
_TARGET = "!\"$%&'()*+,-./019:;<=>?@AZ[\\]^_`az{|}~"


def _of(alphabet: str, *, least: int = 0, most: int) -> SearchStrategy[bytes]:
    """In one draw: a draw a byte takes most of the time of a test."""
    text = st.text(alphabet, min_size=least, max_size=most)
    return text.map(lambda drawn: drawn.encode("latin-1"))


_tokens = _of(_TOKEN, least=1, most=8)
_texts = _of(_TEXT, most=12)
_targets = _of(_TARGET, most=8)
_white = st.sampled_from([b"", b" ", b"\t", b" \t "])
_spaces = st.sampled_from([b"", b" ", b"  "])
_bodies = st.binary(max_size=40) | st.sampled_from(
    [b"0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: b\r\n\r\n", b"x" * 300, b"\r\n"]
)
_FRAMING = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"expect"}
)


@st.composite
def _fields(draw: st.DrawFn) -> list[bytes]:
    lines = []
    for _ in range(draw(st.integers(0, 3))):
        name = draw(_tokens | st.sampled_from([b"X-Api-Key", b"Accept", b"Cookie", b"Trailer"]))
        if name.lower() not in _FRAMING:
            lines.append(name + b":" + draw(_white) + draw(_texts) + draw(_white))
    return lines


@st.composite
def chunked(draw: st.DrawFn, body: bytes) -> bytes:
    """The body in chunks of any size, with extensions and trailers."""
    pieces, at = [], 0
    while at < len(body):
        size = draw(st.integers(1, len(body) - at))
        pieces.append(draw(_sizes(size)) + b"\r\n" + body[at : at + size] + b"\r\n")
        at += size
    pieces.append(draw(_sizes(0)) + b"\r\n")
    pieces += (line + b"\r\n" for line in draw(_fields()))
    return b"".join(pieces) + b"\r\n"


@st.composite
def _sizes(draw: st.DrawFn, size: int) -> bytes:
    digits = draw(st.sampled_from([b"%x", b"%X", b"0%x", b"00%X"])) % size
    return digits + draw(st.sampled_from([b"", b"", b"", b";a", b";a=b", b';a="b c";d=e']))


@st.composite
def _framed(draw: st.DrawFn, version: bytes) -> tuple[list[bytes], bytes]:
    """(field lines that say where the body ends, the body as it travels)"""
    how = draw(st.sampled_from(["none", "length", "chunked" if version == b"1.1" else "length"]))
    if how == "none":
        return [], b""
    body = draw(_bodies)
    if how == "length":
        return [b"Content-Length:" + draw(_spaces) + b"%d" % len(body) + draw(_spaces)], body
    coding = draw(st.sampled_from([b"chunked", b"Chunked", b"CHUNKED"]))
    return [b"Transfer-Encoding:" + draw(_spaces) + coding + draw(_spaces)], draw(chunked(body))


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One valid request."""
    version = draw(st.sampled_from([b"1.1", b"1.1", b"1.1", b"1.0"]))
    method = draw(st.sampled_from(METHODS))
    path = b"/" + draw(_targets)
    target = draw(st.sampled_from([path, path, path, b"http://b.example:80" + path, b"http://b"]))
    if method == b"OPTIONS" and draw(st.booleans()):
        target = b"*"
    framing, body = draw(_framed(version))
    lines = draw(_fields()) + framing
    if draw(st.integers(0, 4)) == 0:
        lines.append(b"Connection: " + draw(st.sampled_from([b"keep-alive", b"x-a", b"TE, x-b"])))
    lines.insert(draw(st.integers(0, len(lines))), b"Host: a")
    line = method + b" " + target + b" HTTP/" + version
    return b"".join(part + b"\r\n" for part in (line, *lines)) + b"\r\n" + body


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """Interim answers and one valid final answer to GET, until-close bodies included."""
    version = draw(st.sampled_from([b"1.1", b"1.1", b"1.1", b"1.0"]))
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * draw(st.integers(0, 2))
    status = draw(
        st.sampled_from([b"200 OK", b"404 ", b"500 X Y", b"204 No", b"304 N", b"599 \xff"])
    )
    framing, body = draw(_framed(version))
    if status[:3] in (b"204", b"304"):
        framing, body = [], b""
    elif not framing:
        body = draw(_bodies)
    lines = draw(_fields()) + framing
    line = b"HTTP/" + version + b" " + status
    head = b"".join(part + b"\r\n" for part in (line, *lines)) + b"\r\n"
    return interim + head + body


_TOKENS = (
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b"\x00", b"\x0b", b"\x7f", b"\xff", b":", b",",
    b";", b"0", b"5", b"-", b"+", b"0x", b"chunked", b"identity", b"gzip, ", b"HTTP/1.0",
    b"HTTP/1.1", b"HTTP/2.0", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Host: b\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n", b" folded\r\n",
    b"Connection: close\r\n", b"Connection: upgrade\r\nUpgrade: websocket\r\n", b"0\r\n\r\n",
    b"5\r\nhello\r\n", b"GET / HTTP/1.1\r\n", b"\"", b"=", b"#", b"@", b"//",
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, streams: SearchStrategy[bytes]) -> bytes:
    """A stream with a few bytes or tokens put in, taken out, repeated or exchanged."""
    stream = draw(streams)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(stream)))
        size = draw(st.integers(0, 3) | st.integers(0, 40))
        token = draw(st.sampled_from(_TOKENS) | st.binary(min_size=1, max_size=3))
        match draw(st.sampled_from(["insert", "replace", "delete", "repeat"])):
            case "insert":
                stream = stream[:at] + token + stream[at:]
            case "replace":
                stream = stream[:at] + token + stream[at + len(token) :]
            case "delete":
                stream = stream[:at] + stream[at + size :]
            case "repeat":
                stream = stream[:at] + stream[at : at + size] + stream[at:]
    return stream


SENTINEL = b"GET /sentinel HTTP/1.1\r\nHost: s\r\n\r\n"
"""Behind the others: whoever sees it where it is has seen them end where they do."""

request_streams = st.lists(requests(), min_size=1, max_size=3).map(b"".join)
mutated_requests = mutated(
    request_streams | st.sampled_from([case.message for case in (*REFUSED_HEADS, *REFUSED_BODIES)])
)
mutated_answers = mutated(
    answers()
    | st.sampled_from([case.message for case in (*REFUSED_ANSWERS, *REFUSED_ANSWER_BODIES)])
)
cuts = st.lists(st.integers(0, 2000), max_size=6)

LONG_RUN = int(os.environ.get("ACTIVATOR_FUZZ_EXAMPLES", "0"))
"""Examples of each fuzz test instead of the few that the suite takes."""


def fuzz(examples: int) -> settings:
    """`examples`: how many the suite takes."""
    return settings(
        max_examples=LONG_RUN or examples,
        deadline=None,
        database=None,
        derandomize=not LONG_RUN,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
