"""One large body up and one down: MB/s beside the upstream itself and nginx, memory meanwhile."""

from __future__ import annotations

import re
import socket
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from bench import contestants
from bench.failure import BenchError
from bench.report import Result, Verdict
from bench.rounds import interleaved, middle, ratio, spread
from bench.size import Size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.contestant import Contestant
    from bench.lab import Lab
    from bench.report import Cell

TITLE: Final = "one large body, up and down"
PIECE: Final = 256 << 10
GROWTH_LIMIT_MIB: Final = 32.0
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int
    megabytes: int


PLANS: Final = {Size.FULL: Plan(7, 200), Size.QUICK: Plan(2, 200), Size.SMOKE: Plan(1, 20)}


@dataclass(frozen=True, slots=True)
class Transfer:
    megabytes_per_second: float
    growth: int
    """Bytes by which the contestant's memory exceeded, at its peak, what it was before."""


def run(lab: Lab) -> Result:
    plan = PLANS[lab.size]
    size = plan.megabytes * 1_000_000
    with ExitStack() as stack:
        upstream = stack.enter_context(lab.upstream())
        nginx = stack.enter_context(contestants.nginx(lab, upstream))
        activator = stack.enter_context(
            contestants.activator(lab, [contestants.static("unlimited", upstream)])
        )
        field = [
            stack.enter_context(lab.direct()),
            *([nginx] if nginx else []),
            activator.contestant("activator", host="unlimited"),
        ]
        for each in field:
            _download(each, 1_000_000)
        taken = {
            "up": interleaved(field, rounds=plan.rounds, measure=lambda to: _upload(to, size)),
            "down": interleaved(field, rounds=plan.rounds, measure=lambda to: _download(to, size)),
        }
    rows: list[dict[str, Cell]] = []
    for way, measured in taken.items():
        rows += _rows(way, field, measured)
    verdicts = [
        Verdict(
            f"the activator's growth, {plan.megabytes} MB {way}",
            max(one.growth for one in measured[-1]) / 2**20,
            GROWTH_LIMIT_MIB,
            "MiB",
        )
        for way, measured in taken.items()
    ]
    return Result(
        "bulk",
        TITLE,
        asdict(plan),
        rows,
        verdicts=verdicts,
        notes=[] if nginx else ["left out: no nginx here"],
        raw={
            f"{way} {contestant.name}": [asdict(one) for one in rounds]
            for way, measured in taken.items()
            for contestant, rounds in zip(field, measured, strict=True)
        },
    )


def _rows(
    way: str, field: Sequence[Contestant], measured: Sequence[Sequence[Transfer]]
) -> list[dict[str, Cell]]:
    rates = {
        contestant.name: middle(one.megabytes_per_second for one in rounds)
        for contestant, rounds in zip(field, measured, strict=True)
    }
    return [
        {
            "way": way,
            "contestant": contestant.name,
            "MB/s": rates[contestant.name],
            "spread": spread([one.megabytes_per_second for one in rounds]),
            "of direct": ratio(rates[contestant.name], rates["direct"]),
            "of nginx": ratio(rates[contestant.name], rates.get("nginx")),
            "growth MiB": max(one.growth for one in rounds) / 2**20,
        }
        for contestant, rounds in zip(field, measured, strict=True)
    ]


def _upload(to: Contestant, size: int) -> Transfer:
    piece = memoryview(b"u" * PIECE)
    with socket.create_connection(to.address, timeout=60.0) as connection:
        before = _start(to)
        began = time.monotonic()
        connection.sendall(
            f"POST /up HTTP/1.1\r\nHost: {to.host}\r\nContent-Length: {size}\r\n\r\n".encode()
        )
        left = size
        while left:
            part = piece[: min(left, PIECE)]
            connection.sendall(part)
            left -= len(part)
        length, rest = _read_head(connection)
        while len(rest) < length:
            rest += connection.recv(65536)
        took = time.monotonic() - began
    if rest != b"%d" % size:
        raise BenchError(f"{to.name}: {size} bytes were sent, {rest.decode()} came")
    return Transfer(size / 1e6 / took, _growth(to, before))


def _download(to: Contestant, size: int) -> Transfer:
    buffer = bytearray(PIECE)
    with socket.create_connection(to.address, timeout=60.0) as connection:
        before = _start(to)
        began = time.monotonic()
        connection.sendall(f"GET /bulk/{size} HTTP/1.1\r\nHost: {to.host}\r\n\r\n".encode())
        length, rest = _read_head(connection)
        left = length - len(rest)
        while left and (came := connection.recv_into(buffer)):
            left -= came
        took = time.monotonic() - began
    if left or length != size:
        raise BenchError(f"{to.name}: {size} bytes were asked for, {length - left} came")
    return Transfer(size / 1e6 / took, _growth(to, before))


def _read_head(connection: socket.socket) -> tuple[int, bytes]:
    """(Content-Length, what came of the body). Raises BenchError for anything but a 200."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            raise BenchError(f"the connection was closed after {data[:200]!r}")
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    found = _LENGTH.search(head)
    if not head.startswith(b"HTTP/1.1 200") or found is None:
        raise BenchError(f"the answer was {head[:200]!r}")
    return int(found.group(1)), rest


def _start(to: Contestant) -> int:
    to.running.forget_peak()
    return to.running.peak_rss()


def _growth(to: Contestant, before: int) -> int:
    return to.running.peak_rss() - before
