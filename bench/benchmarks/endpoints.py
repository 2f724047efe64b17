"""Ten thousand endpoints, of which a hundred are used and the others are at zero: what they cost
requests, what they cost while nobody asks, and how long a start takes with them."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from bench import contestants, fleet, wrk
from bench.report import Result, Verdict
from bench.rounds import interleaved, middle, spread
from bench.size import Size

if TYPE_CHECKING:
    from bench.contestant import Contestant
    from bench.contestants import Activator
    from bench.lab import Lab
    from bench.report import Cell
    from bench.wrk import Burst

TITLE: Final = "many endpoints, few of them in use"
PATH: Final = "/small"
CONNECTIONS: Final = 16
RATIO: Final = 0.95
IDLE: Final = 2.0
"""Percent of a core."""
START: Final = 3.0
"""Seconds."""
PATIENCE: Final = 180.0
ONE: Final = "one"


@dataclass(frozen=True, slots=True)
class Plan:
    endpoints: int
    active: int
    rounds: int
    seconds: float
    """Of one burst."""
    idle: float
    """Seconds without a request."""


PLANS: Final = {
    Size.FULL: Plan(10_000, 100, 7, 2.0, 30.0),
    Size.QUICK: Plan(10_000, 100, 3, 1.0, 15.0),
    Size.SMOKE: Plan(300, 10, 1, 1.0, 1.0),
}


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds since exec."""

    listening: float
    ready: float
    """`/readyz` says 200."""
    settled: float
    """It has come to rest: every endpoint has been looked at once."""
    cpu_ready: float
    """Processor time until it was ready, which neighbours do not stretch as they do the others."""
    cpu: float
    """Until all was at rest."""
    memory: int
    """Bytes (PSS)."""


def run(lab: Lab) -> Result:
    plan = PLANS[lab.size]
    if not wrk.installed():
        return Result("endpoints", TITLE, asdict(plan), (), notes=("left out: no wrk here",))
    with ExitStack() as stack:
        upstream = stack.enter_context(lab.upstream())
        alone = [contestants.static(ONE, upstream)]
        one = stack.enter_context(contestants.activator(lab, alone))
        one.running.rest()
        configured = fleet.endpoints(plan.endpoints, upstream, used=plan.active)
        many = stack.enter_context(contestants.activator(lab, configured))
        start = _started(many)
        used, since = many.running.cpu_seconds(), time.monotonic()
        time.sleep(plan.idle)
        idle = (many.running.cpu_seconds() - used) / (time.monotonic() - since) * 100
        began = time.monotonic()
        exposed = len(many.metrics())
        scraped = time.monotonic() - began
        bursts = _bursts(lab, plan, one, many)
    ratio = middle(b.rate / a.rate for a, b in zip(*bursts, strict=True))
    return Result(
        "endpoints",
        TITLE,
        asdict(plan),
        [
            _row(1, bursts[0], None, None),
            _row(plan.endpoints, bursts[1], start, idle),
        ],
        verdicts=[
            Verdict(f"requests/s with {plan.endpoints}, of one", ratio, RATIO, "", at_least=True),
            Verdict("processor at rest", idle, IDLE, "% of a core"),
            Verdict("ready after", start.ready, START, "s"),
        ],
        notes=[
            f"{plan.active} endpoints get the requests in turn, the others are at zero",
            f"processor time of the start: {start.cpu_ready:.1f} s until it was ready,"
            f" {start.cpu:.1f} s until all was at rest",
            f"one scrape of the metrics: {scraped:.2f} s, {exposed / 2**20:.1f} MiB",
        ],
        raw={"start": asdict(start), "idle": idle, "bursts": [[*map(asdict, b)] for b in bursts]},
    )


def _started(activator: Activator) -> Start:
    listening = activator.age()
    activator.wait_until_ready(within=PATIENCE)
    ready, cpu_ready = activator.age(), activator.running.cpu_seconds()
    activator.running.rest(within=PATIENCE)
    return Start(
        listening=listening,
        ready=ready,
        settled=activator.age(),
        cpu_ready=cpu_ready,
        cpu=activator.running.cpu_seconds(),
        memory=activator.running.memory().pss,
    )


def _bursts(lab: Lab, plan: Plan, one: Activator, many: Activator) -> list[list[Burst]]:
    """Of the one and of the many, a pair each round; the load is the same script for both."""
    field = [
        (one.contestant("one endpoint", host=ONE), [ONE] * plan.active),
        (many.contestant("many endpoints", host=""), fleet.names(plan.active)),
    ]

    def measure(entry: tuple[Contestant, list[str]], seconds: float) -> Burst:
        return wrk.burst(
            entry[0],
            path=PATH,
            connections=CONNECTIONS,
            seconds=seconds,
            script=wrk.by_turns(lab.folder, entry[1], path=PATH),
        )

    for entry in field:
        measure(entry, 1.0)
    return interleaved(field, rounds=plan.rounds, measure=lambda each: measure(each, plan.seconds))


def _row(
    count: int, bursts: list[Burst], start: Start | None, idle: float | None
) -> dict[str, Cell]:
    return {
        "endpoints": count,
        "requests/s": middle(burst.rate for burst in bursts),
        "spread": spread([burst.rate for burst in bursts]),
        "errors": sum(burst.errors for burst in bursts),
        "CPU µs/request": middle(burst.cpu_us for burst in bursts),
        "idle % of a core": idle,
        "listening s": None if start is None else start.listening,
        "ready s": None if start is None else start.ready,
        "at rest s": None if start is None else start.settled,
        "PSS MiB": None if start is None else start.memory / 2**20,
    }
