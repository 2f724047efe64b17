"""A start of `activator serve` with one endpoint: how long until it listens and is ready, and what
it takes of memory then, at rest."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from bench import contestants
from bench.processes import LOOPBACK, free_port
from bench.report import Result, Verdict
from bench.rounds import middle
from bench.size import Size

if TYPE_CHECKING:
    from bench.lab import Lab
    from bench.report import Cell

TITLE: Final = "from exec until it is ready, and memory at rest"
READY: Final = 0.7
"""Seconds."""
MEMORY: Final = 60.0
"""MiB."""
PATIENCE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    starts: int


PLANS: Final = {Size.FULL: Plan(11), Size.QUICK: Plan(5), Size.SMOKE: Plan(1)}


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds since exec, and bytes."""

    listening: float
    ready: float
    """`/readyz` says 200."""
    cpu: float
    """Processor time until then."""
    pss: int
    rss: int


def run(lab: Lab) -> Result:
    plan = PLANS[lab.size]
    starts = [_start(lab) for _ in range(plan.starts)]
    ready = middle(one.ready for one in starts)
    memory = middle(one.pss for one in starts) / 2**20
    row: dict[str, Cell] = {
        "starts": len(starts),
        "listening s": middle(one.listening for one in starts),
        "ready s": ready,
        "worst s": max(one.ready for one in starts),
        "processor s": middle(one.cpu for one in starts),
        "PSS MiB": memory,
        "RSS MiB": middle(one.rss for one in starts) / 2**20,
    }
    return Result(
        "start",
        TITLE,
        asdict(plan),
        [row],
        verdicts=[
            Verdict("ready, median", ready, READY, "s"),
            Verdict("memory at rest, PSS", memory, MEMORY, "MiB"),
        ],
        raw={"starts": [asdict(one) for one in starts]},
    )


def _start(lab: Lab) -> Start:
    nobody = (LOOPBACK, free_port())
    with contestants.activator(lab, [contestants.static("one", nobody)]) as activator:
        listening = activator.age()
        activator.wait_until_ready(within=PATIENCE)
        ready, cpu = activator.age(), activator.running.cpu_seconds()
        activator.running.rest()
        memory = activator.running.memory()
    return Start(listening, ready, cpu, memory.pss, memory.rss)
