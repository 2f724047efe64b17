"""One large body up and one down: MB/s beside the upstream itself and others, memory meanwhile."""

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
RATE_LIMIT: Final = 0.75
"""Of what the upstream itself does in the proxy's place."""
GIB: Final = 1 << 30
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int
    size: int
    """Bytes."""


PLANS: Final = {Size.FULL: Plan(5, GIB), Size.QUICK: Plan(1, GIB), Size.SMOKE: Plan(1, 20 << 20)}


@dataclass(frozen=True, slots=True)
class Transfer:
    megabytes_per_second: float
    busy: float
    """Share of its core that the contestant used."""
    growth: int
    """Bytes by which the contestant's memory exceeded, at its peak, what it was before."""


def run(lab: Lab) -> Result:
    plan = PLANS[lab.size]
    size = plan.size
    with ExitStack() as stack:
        upstream = stack.enter_context(lab.upstream())
        peers, notes = contestants.enter(stack, lab, upstream, contestants.PLAIN)
        activator = stack.enter_context(
            contestants.activator(lab, [contestants.static("unlimited", upstream)])
        )
        field = [
            stack.enter_context(lab.direct()),
            *peers,
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
    verdicts: list[Verdict] = []
    for way, measured in taken.items():
        direct, *_, ours = measured
        verdicts += [
            Verdict(
                f"the activator's MB/s to direct's, {size >> 20} MiB {way}",
                _rate(ours) / _rate(direct),
                RATE_LIMIT,
                "",
                at_least=True,
            ),
            Verdict(
                f"the activator's growth, {size >> 20} MiB {way}",
                max(one.growth for one in ours) / 2**20,
                GROWTH_LIMIT_MIB,
                "MiB",
            ),
        ]
    if lab.cores.upstream == lab.cores.load:
        notes.append(
            "load and upstream share a core behind a proxy, and have one each without: `of direct`"
            " is lower than it would be with three cores"
        )
    return Result(
        "bulk",
        TITLE,
        asdict(plan),
        rows,
        verdicts=verdicts,
        notes=notes,
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
        contestant.name: _rate(rounds) for contestant, rounds in zip(field, measured, strict=True)
    }
    return [
        {
            "way": way,
            "contestant": contestant.name,
            "MB/s": rates[contestant.name],
            "spread": spread([one.megabytes_per_second for one in rounds]),
            "of direct": ratio(rates[contestant.name], rates["direct"]),
            "of nginx": ratio(rates[contestant.name], rates.get("nginx")),
            "core used": middle(one.busy for one in rounds),
            "growth MiB": max(one.growth for one in rounds) / 2**20,
        }
        for contestant, rounds in zip(field, measured, strict=True)
    ]


def _rate(rounds: Sequence[Transfer]) -> float:
    return middle(one.megabytes_per_second for one in rounds)


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
    return _transfer(to, before, size=size, took=took)


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
    return _transfer(to, before, size=size, took=took)


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


@dataclass(frozen=True, slots=True)
class _Before:
    """A transfer, of its contestant."""

    memory: int
    cpu: float


def _start(to: Contestant) -> _Before:
    to.running.forget_peak()
    return _Before(to.running.peak_rss(), to.running.cpu_seconds())


def _transfer(to: Contestant, before: _Before, *, size: int, took: float) -> Transfer:
    return Transfer(
        size / 1e6 / took,
        busy=(to.running.cpu_seconds() - before.cpu) / took,
        growth=to.running.peak_rss() - before.memory,
    )
