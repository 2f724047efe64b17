"""How much of the activator a place needs: a model of a few products and sums, over figures that
`python -m bench needs path` has measured.

`python -m bench.sizing` prints both; `--take bench/out` keeps what was measured last as the
figures to reckon with (`records/sizing.json`), `--write docs/sizing.md` writes the page's tables.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass, fields
from datetime import date
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.failure import BenchError
from bench.warm_path import CHUNK, GET, POST

if TYPE_CHECKING:
    from collections.abc import Sequence

RECORDS: Final = Path(__file__).parent / "records" / "sizing.json"
BEGIN: Final = "<!-- sizing: written by python -m bench.sizing --write docs/sizing.md -->"
END: Final = "<!-- end of sizing -->"
FULL: Final = 0.6
"""Of a core that an activator, or a Redis, may use: beyond it requests begin to wait for each
other, and those that stay must carry what one that fails has left."""
WATCH: Final = 0.2
"""Of a core that an activator may use for endpoints at rest. It knows all of them, however many
activators there are, so what is beyond belongs to another installation."""
CARRIED: Final = 50_000
"""Connections of one activator, at most: as many as `bench held` tries, and one that fails sends
all of its clients to the others at once."""
SPARE: Final = 300
"""Files beside those of clients and of requests at replicas."""
KEPT: Final = 1.5
"""How many times what is in Redis its `maxmemory` has to be."""
FILES: Final = 65_536
"""That a process may have open, if nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Measured, on one machine. `us`: microseconds of CPU time."""

    request_us: float
    """A plain request through the activator, the kernel's part included."""
    limited_us: float
    """The same through an endpoint whose slots are shared over Redis."""
    chat_us: float
    """What a chat request of 2 KiB, found by its model, takes beyond a plain one."""
    chunk_us: float
    """The interpreter's part of a chunk of a stream; the kernel's is about half a request's."""
    kernel_us: float
    """Of a plain request."""
    limited_redis_us: float
    held_redis_us: float
    job_redis_us: float
    """Of Redis: a limited request; a request of 4 KiB that is held; a job of 4 KiB, accepted."""
    process_mib: float
    held_kib: float
    """Of the activator, for a request that is held and whose body is in Redis."""
    held_redis_kib: float
    job_redis_kib: float
    """Of Redis, a body of 4 KiB included."""
    endpoint_kib: float
    endpoint_idle_us: float
    """A second, for an endpoint at zero."""


@dataclass(frozen=True, slots=True)
class Place:
    """What there is to serve, all activators together, in the busiest minutes."""

    name: str
    requests: float
    """A second, plain ones and limited ones."""
    limited: float = 0.0
    """Share of them whose endpoint has a `concurrency`."""
    chat: float = 0.0
    """Share of them that are found by the model in their body."""
    chunks: float = 0.0
    """A second, of all streams."""
    connections: int = 0
    """Open ones, those of held requests among them."""
    held: int = 0
    jobs: int = 0
    """Waiting, or kept with their result."""
    holding: float = 0.0
    recording: float = 0.0
    """Requests a second that come to be held, and that come as jobs."""
    endpoints: int = 0


@dataclass(frozen=True, slots=True)
class Need:
    """In all. Where one activator is not enough there is one more, which may fail."""

    installations: int
    activators: int
    cores: float
    """That all of them use, of the machine that was measured."""
    files: int
    """That one activator has open."""
    mib: float
    """Of one activator."""
    redis: float
    """Cores that Redis uses: each is one more than `FULL` of them has."""
    redis_mib: float
    """`maxmemory`, of all Redis together."""


def need(place: Place, figures: Figures, *, files: int = FILES) -> Need:
    """`files`: that a process may have open (`ulimit -Hn`). Everything is divided evenly."""
    watching = place.endpoints * figures.endpoint_idle_us / 1e6
    installations = max(1, ceil(watching / WATCH))
    busy = _busy_us(place, figures) / 1e6
    room = FULL - watching / installations
    # a client is a file, and so is its request once that is at a replica
    sockets = 2 * place.connections - place.held
    working = max(
        1,
        ceil(busy / installations / room),
        ceil(place.connections / installations / CARRIED),
        ceil(sockets / installations / (files - SPARE)),
    )
    each = working + 1 if working > 1 else 1
    connections = place.connections / installations / working
    endpoints = place.endpoints / installations
    redis_us = (
        place.requests * place.limited * figures.limited_redis_us
        + place.holding * figures.held_redis_us
        + place.recording * figures.job_redis_us
    )
    redis_kib = place.held * figures.held_redis_kib + place.jobs * figures.job_redis_kib
    return Need(
        installations=installations,
        activators=each * installations,
        cores=busy + watching * each,
        files=ceil(sockets / installations / working) + SPARE,
        mib=figures.process_mib
        + (endpoints * figures.endpoint_kib + connections * figures.held_kib) / 1024,
        redis=redis_us / 1e6,
        redis_mib=KEPT * redis_kib / 1024,
    )


def _busy_us(place: Place, figures: Figures) -> float:
    """CPU time that a second's requests and chunks take."""
    request = (
        figures.request_us
        + place.limited * (figures.limited_us - figures.request_us)
        + place.chat * figures.chat_us
    )
    # a request is read and written twice, a chunk once
    chunk = figures.chunk_us + figures.kernel_us / 2
    return place.requests * request + place.chunks * chunk


PLACES: Final = (
    Place("a team", requests=20, limited=1, chat=1, chunks=500, connections=100, held=50,
          jobs=100, holding=1, recording=1, endpoints=20),
    Place("a company", requests=500, limited=1, chat=1, chunks=10_000, connections=3_000,
          held=500, jobs=5_000, holding=10, recording=10, endpoints=300),
    Place("a platform", requests=5_000, limited=1, chat=1, chunks=100_000, connections=30_000,
          held=5_000, jobs=100_000, holding=100, recording=100, endpoints=5_000),
    Place("many endpoints", requests=1_000, limited=1, chat=1, chunks=20_000,
          connections=10_000, held=2_000, jobs=10_000, holding=100, recording=10,
          endpoints=100_000),
    Place("a million held", requests=1_000, limited=1, connections=1_000_000, held=1_000_000,
          holding=2_000, endpoints=1_000),
)  # fmt: skip


# --- what was measured --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Record:
    """Where the figures are from."""

    date: str
    """Of the day."""
    machine: str
    figures: Figures


def read(file: Path = RECORDS) -> Record:
    told = json.loads(file.read_text(encoding="utf-8"))
    return Record(told["date"], told["machine"], Figures(**told["figures"]))


def take(out: Path) -> Record:
    """From what `python -m bench needs path` has written there. Raises OSError or BenchError."""
    needs, path = (_result(out / f"{name}.json") for name in ("needs", "path"))
    if not needs["raw"]:
        raise BenchError(f"nothing was measured: {'; '.join(needs['notes'])}")
    measured = needs["raw"]["figures"]
    took = {row["request"]: row["CPU µs"] for row in path["rows"]}
    machine = needs["machine"]
    return Record(
        date=date.fromtimestamp((out / "needs.json").stat().st_mtime).isoformat(),
        machine=f"{machine['cores']} cores of {machine['cpu']}, Linux {machine['kernel']}, Python"
        f" {machine['python']}, uvloop {machine['uvloop']}; others used"
        f" {machine['used_by_others']:.1f} cores meanwhile",
        figures=Figures(
            request_us=measured["request_cpu_us"],
            limited_us=measured["limited_request_cpu_us"],
            chat_us=took[POST] - took[GET],
            chunk_us=took[CHUNK],
            kernel_us=measured["request_kernel_us"],
            limited_redis_us=measured["limited_request_redis_us"],
            held_redis_us=measured["held_redis_us"],
            job_redis_us=measured["job_accepted_redis_us"],
            process_mib=measured["process_mib"],
            held_kib=measured["held_kib"],
            held_redis_kib=measured["held_redis_kib"],
            job_redis_kib=measured["job_redis_kib"],
            endpoint_kib=measured["endpoint_kib"],
            endpoint_idle_us=measured["endpoint_idle_cpu_us"],
        ),
    )


def _result(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def keep(record: Record, file: Path = RECORDS) -> None:
    rounded = {name: float(f"{value:.3g}") for name, value in asdict(record.figures).items()}
    told = {"date": record.date, "machine": record.machine, "figures": rounded}
    file.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


# --- what is shown ------------------------------------------------------------------------------

MEANING: Final = {
    "request_us": "CPU µs of the activator for a plain request of 200 B, 16 connections",
    "limited_us": "the same, where slots are shared over Redis and too few are free to keep any",
    "chat_us": "beyond it for a chat request of 2 KiB found by its model",
    "chunk_us": "CPU µs of the interpreter for a chunk of a stream",
    "kernel_us": "of a plain request, in system calls",
    "limited_redis_us": "CPU µs of Redis for a limited request",
    "held_redis_us": "CPU µs of Redis for a request of 4 KiB that comes to be held",
    "job_redis_us": "CPU µs of Redis for a job of 4 KiB that is accepted",
    "process_mib": "MiB of an activator with next to no endpoints",
    "held_kib": "KiB of the activator for a held request; bound for any other connection",
    "held_redis_kib": "KiB of Redis for a held request of 4 KiB",
    "job_redis_kib": "KiB of Redis for a job of 4 KiB",
    "endpoint_kib": "KiB of each activator for an endpoint",
    "endpoint_idle_us": "CPU µs a second of each activator for an endpoint at zero",
}


def render(record: Record) -> str:
    """The figures, and what each place needs."""
    figures = asdict(record.figures)
    lines = [
        f"Measured on {record.date}: {record.machine}.",
        "",
        "| figure | | |",
        "| --- | --- | --- |",
        *(f"| `{name}` | {figures[name]:,.3g} | {MEANING[name]} |" for name in figures),
        "",
        "| | " + " | ".join(place.name for place in PLACES) + " |",
        "| --- " * (len(PLACES) + 1) + "|",
    ]
    for each in fields(Place)[1:]:
        lines.append(_line(each.name, [getattr(place, each.name) for place in PLACES]))
    needs = [need(place, record.figures) for place in PLACES]
    for each in fields(Need):
        values = [getattr(one, each.name) for one in needs]
        lines.append(_line(f"**{each.name}**", values))
    return "\n".join(lines) + "\n"


def _line(name: str, values: Sequence[float]) -> str:
    return f"| {name} | " + " | ".join(_shown(value) for value in values) + " |"


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.2g}"


def updated(page: str, record: Record) -> str:
    """The page with fresh tables between its markers. Raises ValueError if it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page needs the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{render(record)}\n{END}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.sizing", description=__doc__)
    parser.add_argument("--take", type=Path, metavar="FOLDER", help="figures to keep: bench/out")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="docs/sizing.md")
    options = parser.parse_args()
    if options.take is not None:
        keep(take(options.take))
    record = read()
    if options.write is not None:
        page = options.write.read_text(encoding="utf-8")
        options.write.write_text(updated(page, record), encoding="utf-8")
    print(render(record), end="")


if __name__ == "__main__":
    main()
