"""Streams of small chunks, sent and read by a program of ours in Go (`bench/streamer`): cheap and
exact enough to share a core with. There are none without Go."""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from bench import golang
from bench.contestant import Contestant
from bench.failure import BenchError
from bench.processes import LOOPBACK, free_port, started, wait_until_listening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench.lab import Lab
    from bench.processes import Address, Running


@dataclass(frozen=True, slots=True)
class Load:
    """So many streams at once, each with so many chunks, one every `interval` seconds."""

    streams: int
    chunks: int
    interval: float
    warm: int
    """Chunks of each stream that come before those that count."""
    cool: int = 0
    """Those that come after them: in the end all streams end at once, which is no stream's cost."""
    lead: float = 0.5
    """Seconds from the requests to the first chunk."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of a load, in seconds. A chunk's delay is from its sending to its reading."""

    streams: int
    whole: int
    """Streams of which every chunk came, in order and unchanged."""
    counted: int
    """Chunks."""
    p50: float
    p99: float
    worst: float
    late: float
    """99th percentile of how late chunks were sent, which is nobody's fault but ours."""
    read: int
    """Chunks, while those that count were due."""
    cpu: float
    """The contestant's in that time."""
    wall: float
    """How long that was."""
    first: str
    """What was wrong with the first stream that is not whole."""

    @property
    def cpu_us(self) -> float:
        """Of a chunk."""
        return self.cpu / self.read * 1e6 if self.read else 0.0


def program() -> Path | None:
    """None without Go. Raises BenchError if it cannot be built."""
    return golang.built("streamer")


@contextmanager
def source(lab: Lab, streamer: Path) -> Iterator[Address]:
    """Where streams come from."""
    with _serving(lab, streamer, core=lab.cores.upstream, name="source") as (address, _):
        yield address


@contextmanager
def direct(lab: Lab, streamer: Path) -> Iterator[Contestant]:
    """The same in a contestant's place, on its core."""
    with _serving(lab, streamer, core=lab.cores.contestant, name="direct") as (address, running):
        yield Contestant("direct", address, "direct", running)


@contextmanager
def _serving(
    lab: Lab, streamer: Path, *, core: int, name: str
) -> Iterator[tuple[Address, Running]]:
    port = free_port()
    command = [str(streamer), "serve", "-port", str(port)]
    with started(command, core=core, log=lab.folder / f"{name}.log") as running:
        wait_until_listening(port, by=running)
        yield (LOOPBACK, port), running


def read(
    streamer: Path, to: Contestant, load: Load, *, meanwhile: Callable[[], None] | None = None
) -> Reading:
    """`meanwhile` is called once, when all streams run. Raises BenchError if nothing came of it."""
    host, port = to.address
    command = [
        *(str(streamer), "read", "-address", f"{host}:{port}", "-host", to.host),
        *("-streams", str(load.streams), "-chunks", str(load.chunks), "-warm", str(load.warm)),
        *("-cool", str(load.cool)),
        *("-interval", f"{load.interval:g}s", "-lead", f"{load.lead:g}s"),
    ]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        began = _moment(process.stdout, "counting")
        before = to.running.cpu_seconds()
        if meanwhile is not None:
            meanwhile()
        ended = _moment(process.stdout, "counted")
        after = to.running.cpu_seconds()
        said, complaint = process.stdout.read(), process.stderr.read()
    if process.returncode or not said:
        raise BenchError(f"the streams of {to.name} could not be read: {complaint.strip()}")
    told: dict[str, Any] = json.loads(said)
    return Reading(
        streams=told["streams"],
        whole=told["whole"],
        counted=told["counted"],
        p50=told["delay"]["p50"],
        p99=told["delay"]["p99"],
        worst=told["delay"]["worst"],
        late=told["late"]["p99"],
        read=told["between"],
        cpu=after - before,
        wall=ended - began,
        first=told["first"],
    )


def _moment(output: IO[str], name: str) -> float:
    """Seconds; 0 if the program has ended instead."""
    line = output.readline()
    return int(line.split()[1]) / 1e9 if line.startswith(f"{name} ") else 0.0
