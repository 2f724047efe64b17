"""No input costs more than in proportion to its size: how much longer eight times as much takes to
read. A cost that grew with the square would come out at sixty-four times.

It is the processor's time of this process that counts, and of all rounds the best, so that a busy
machine does not matter much.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from activator.wire.framing import ChunkedDecoder
from activator.wire.heads import HeadLimits, Malformed, TooLarge
from activator.wire.parsing import check_partial, parse_request, parse_response
from bench.paper import Desk
from bench.report import Result, Verdict
from bench.rounds import interleaved
from bench.size import Size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.lab import Lab
    from bench.report import Cell

TITLE: Final = "how many times longer reading takes for eight times the size"
TIMES: Final = 8
LIMIT: Final = 3.0 * TIMES
WIDE: Final = HeadLimits(line=1 << 24, total=1 << 24, fields=1 << 20)
"""Limits that do not end the measurement; connections have the real ones."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int


PLANS: Final = {Size.FULL: Plan(15), Size.QUICK: Plan(3), Size.SMOKE: Plan(1)}


@dataclass(frozen=True, slots=True)
class Kind:
    """Inputs that are read in the same way."""

    name: str
    inputs: Mapping[str, Callable[[int], bytes]]
    """Each makes an input; the number it is given is what grows, not always a number of bytes."""
    size: int
    """The smaller one of that number."""
    read: Callable[[Sequence[bytes]], object]
    piece: int = 1 << 20
    """Bytes that are read at a time."""

    def reads(self, name: str, size: int) -> list[bytes]:
        whole = self.inputs[name](size)
        return [whole[at : at + self.piece] for at in range(0, len(whole), self.piece)]


@dataclass(frozen=True, slots=True)
class Taken:
    """Seconds, one figure a round."""

    small: list[float]
    large: list[float]

    @property
    def times(self) -> float:
        return min(self.large) / min(self.small)


def run(lab: Lab) -> Result:
    plan = PLANS[lab.size]
    return asyncio.run(_run(plan))


async def _run(plan: Plan) -> Result:
    desk = Desk()
    rows: list[dict[str, Cell]] = []
    verdicts: list[Verdict] = []
    raw: dict[str, object] = {}
    try:
        for kind in _kinds(desk):
            taken = {name: _measure(kind, name, rounds=plan.rounds) for name in kind.inputs}
            rows += [_row(kind, name, one) for name, one in taken.items()]
            worst = max(taken, key=lambda name: taken[name].times)
            what = f"{kind.name}, the worst: {worst}"
            verdicts.append(Verdict(what, taken[worst].times, LIMIT, "times"))
            raw |= {f"{kind.name}: {name}": asdict(one) for name, one in taken.items()}
    finally:
        desk.close()
    return Result("growth", TITLE, asdict(plan), rows, verdicts=verdicts, raw=raw)


def _measure(kind: Kind, name: str, *, rounds: int) -> Taken:
    small, large = (kind.reads(name, size) for size in (kind.size, kind.size * TIMES))
    return compare(kind.read, small, large, rounds=rounds)


def compare(
    read: Callable[[T], object],
    small: T,
    large: T,
    *,
    rounds: int,
    clock: Callable[[], float] = time.process_time,
) -> Taken:
    def timed(what: T) -> float:
        began = clock()
        read(what)
        return clock() - began

    return Taken(*interleaved([small, large], rounds=rounds, measure=timed))


def _row(kind: Kind, name: str, taken: Taken) -> dict[str, Cell]:
    return {
        "read": kind.name,
        "input": name,
        "bytes": len(kind.inputs[name](kind.size)),
        "ms": min(taken.small) * 1e3,
        f"ms, {TIMES} times": min(taken.large) * 1e3,
        "times longer": taken.times,
    }


# --- what is read -------------------------------------------------------------------------------


READ: Final = 256 << 10
"""The most that a loop reads at a time."""
HEAD: Final = HeadLimits().total
"""Heads that come by the byte have no end, and are as large as they may be."""


def _kinds(desk: Desk) -> list[Kind]:
    return [
        Kind("head", HEADS, 6000, _read_head),
        Kind("chunks", CHUNKS, 1000, _read_chunks),
        Kind("chunks by the byte", CHUNKS, 1000, _read_chunks, piece=1),
        Kind("client", STREAMS, READ // TIMES, desk.serve),
        Kind("client by the byte", REQUESTS, HEAD // TIMES, desk.serve, piece=1),
        Kind("replica", ANSWERS, HEAD // TIMES, desk.ask),
        Kind("replica by the byte", ANSWER_HEADS, HEAD // TIMES, desk.ask, piece=1),
    ]


def _read_head(reads: Sequence[bytes]) -> None:
    (head,) = reads
    for parse in (
        lambda: parse_request(head, WIDE),
        lambda: parse_response(head, method=b"GET", limits=WIDE),
        lambda: check_partial(head, start=0, limits=WIDE),
    ):
        with contextlib.suppress(Malformed, TooLarge):
            parse()


def _read_chunks(reads: Sequence[bytes]) -> None:
    decoder = ChunkedDecoder(WIDE)
    for data in reads:
        decoder.feed(data)


# --- inputs -------------------------------------------------------------------------------------

LINES: Final = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST: Final = b"POST / HTTP/1.1\r\nHost: a\r\n"
FIELD: Final = b"X: " + b"x" * 1000 + b"\r\n"

HEADS: Final[Mapping[str, Callable[[int], bytes]]] = {
    "method": lambda n: b"G" * n,
    "method without its end": lambda n: b"G" * n + b" ",
    "target": lambda n: b"GET /" + b"a" * n,
    "target of slashes": lambda n: b"GET " + b"/" * n + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "absolute target": lambda n: b"GET http://" + b"a:" * n + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "absolute host of dots": lambda n: b"GET http://" + b"." * n + b"@ HTTP/1.1\r\nHost: a\r\n\r\n",
    "host": lambda n: b"GET / HTTP/1.1\r\nHost: " + b"a-." * n + b"!\r\n\r\n",
    "host of colons": lambda n: b"GET / HTTP/1.1\r\nHost: [" + b":" * n + b"]\r\n\r\n",
    "name": lambda n: b"GET / HTTP/1.1\r\n" + b"a" * n + b" : b\r\n\r\n",
    "name without its end": lambda n: b"GET / HTTP/1.1\r\n" + b"a" * n,
    "value": lambda n: b"GET / HTTP/1.1\r\nX: " + b"a" * n + b"\x01\r\n\r\n",
    "white space": lambda n: b"GET / HTTP/1.1\r\nX:" + b" \t" * n + b"\x01\r\n\r\n",
    "fields": lambda n: LINES + b"a: b\r\n" * n + b"\r\n",
    "fields and an error": lambda n: LINES + b"a: b\r\n" * n + b"a\r\n\r\n",
    "empty fields": lambda n: b"GET / HTTP/1.1\r\n" + b"a:\r\n" * n + b" \r\n\r\n",
    "options": lambda n: LINES + b"Connection: " + b"a ,\t" * n + b"\r\n\r\n",
    "many options": lambda n: LINES + b"Connection: b\r\n" * n + b"\r\n",
    "other options": lambda n: (
        LINES + b"".join(b"Connection: %x\r\n" % i for i in range(n)) + b"\r\n"
    ),
    "upgrades": lambda n: LINES + b"Connection: upgrade\r\nUpgrade: " + b"h2c," * n + b"\r\n\r\n",
    "length": lambda n: LINES + b"Content-Length: " + b"1" * n + b"\r\n\r\n",
    "length of spaces": lambda n: (
        LINES + b"Content-Length:" + b" " * n + b"x" + b" " * n + b"\r\n\r\n"
    ),
    "coding of spaces": lambda n: (
        LINES + b"Transfer-Encoding:" + b" " * n + b"x" + b" " * n + b"\r\n\r\n"
    ),
    "CRs": lambda n: b"\r" * n,
    "CRLFs": lambda n: b"\r\n" * n,
    "LFs behind CRLFs": lambda n: b"a\r\n" * n + b"\n",
    "status line": lambda n: b"HTTP/1.1 200 " + b" " * n + b"\x01\r\n\r\n",
    "answer": lambda n: b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * n + b"\r\n",
}
CHUNKS: Final[Mapping[str, Callable[[int], bytes]]] = {
    "small chunks": lambda n: b"1\r\nx\r\n" * n,
    "long lines": lambda n: (b"1;" + b"a" * 250 + b"\r\nx\r\n") * (n // 100),
    "extensions": lambda n: (b"1" + b";a" * 120 + b"\r\nx\r\n") * (n // 100),
    "quoted extensions": lambda n: (b'1;a="' + b"\\a" * 120 + b'"\r\nx\r\n') * (n // 100),
    "trailers": lambda n: b"0\r\n" + b"a: b\r\n" * (n // 10),
}
STREAMS: Final[Mapping[str, Callable[[int], bytes]]] = {
    "empty lines": lambda n: _repeated(b"\r\n", n),
    "requests": lambda n: _repeated(LINES + b"\r\n", n),
    "bodies": lambda n: _repeated(POST + b"Content-Length: 1\r\n\r\nx", n),
    "chunked bodies": lambda n: _repeated(
        POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", n
    ),
}
REQUESTS: Final[Mapping[str, Callable[[int], bytes]]] = {
    "fields": lambda n: LINES + _repeated(FIELD, n),
    "request line": lambda n: b"GET /" + b"a" * (n // 5),
}
ANSWERS: Final[Mapping[str, Callable[[int], bytes]]] = {
    "interim answers": lambda n: _repeated(b"HTTP/1.1 103 Early Hints\r\n" + FIELD + b"\r\n", n),
}
ANSWER_HEADS: Final[Mapping[str, Callable[[int], bytes]]] = {
    "fields": lambda n: b"HTTP/1.1 200 OK\r\n" + _repeated(FIELD, n),
}


def _repeated(unit: bytes, size: int) -> bytes:
    return unit * (size // len(unit))
