"""The list of models, alone and while bodies of megabytes are read for their model; and how late
the loop is that does both."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from bench import contestants, machine
from bench.crowd import MODEL
from bench.failure import BenchError
from bench.lagging import lags_between
from bench.processes import python, started
from bench.report import Result, Verdict
from bench.rounds import middle, percentile, spread
from bench.size import Size
from bench.steady import steady

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.contestant import Contestant
    from bench.lab import Lab
    from bench.processes import Address, Running
    from bench.steady import Steady

TITLE: Final = "GET /v1/models, alone and beside large bodies"
HOST: Final = "models"
PATIENCE: Final = 30.0
"""Seconds for the first body to be answered."""
LIST: Final = 20.0
LAG: Final = 50.0
"""Milliseconds."""


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int
    seconds: float
    rate: float
    endpoints: int
    clients: int
    mebibytes: int


PLANS: Final = {
    Size.FULL: Plan(5, 10.0, 50.0, 50, 20, 8),
    Size.QUICK: Plan(1, 5.0, 50.0, 50, 20, 8),
    Size.SMOKE: Plan(1, 0.5, 40.0, 5, 2, 1),
}


@dataclass(frozen=True, slots=True)
class Round:
    listing: Steady
    lags: list[float]
    """Of the loop meanwhile, in order, in seconds."""


def run(lab: Lab) -> Result:
    plan = PLANS[lab.size]
    notes = [] if machine.sharpen_timers() else ["timers are 50 µs late here"]
    with ExitStack() as stack:
        upstream = stack.enter_context(lab.upstream())
        lags = lab.folder / "lags"
        endpoints = _endpoints(plan, upstream)
        activator = stack.enter_context(contestants.activator(lab, endpoints, lags=lags))
        to = activator.contestant("activator", host=HOST)
        alone: list[Round] = []
        beside: list[Round] = []
        crowd = lab.folder / "crowd"
        for _ in range(plan.rounds):
            _measure(to, plan, seconds=1.0)  # until the crowd of the round before has gone
            alone.append(_round(to, plan, lags))
            with started(_crowd(to, plan), core=lab.cores.upstream, log=crowd) as running:
                _wait_for_answers(running, crowd)
                beside.append(_round(to, plan, lags))
                running.check()
                answered = _answers(crowd)
    taken = {"alone": alone, f"{plan.clients} bodies of {plan.mebibytes} MiB": beside}
    return Result(
        "models",
        TITLE,
        asdict(plan),
        [
            {
                "beside": name,
                "list p50 ms": middle(one.listing.p50 for one in rounds) * 1e3,
                "list p99 ms": _p99(rounds),
                "spread of p99": spread([one.listing.p99 for one in rounds]),
                "lag p50 ms": middle(percentile(one.lags, 0.5) for one in rounds) * 1e3,
                "lag p99 ms": _lag(rounds),
                "lag worst ms": max(one.lags[-1] for one in rounds) * 1e3,
            }
            for name, rounds in taken.items()
        ],
        verdicts=[
            Verdict("the list, p99 alone", _p99(alone), LIST, "ms"),
            Verdict("the loop's lag, p99 beside large bodies", _lag(beside), LAG, "ms"),
        ],
        notes=[*notes, f"large bodies answered in the last round: {answered}"],
        raw={
            name: [{"list": one.listing.latencies, "lags": one.lags} for one in rounds]
            for name, rounds in taken.items()
        },
    )


def _round(to: Contestant, plan: Plan, lags: Path) -> Round:
    began = time.monotonic()
    measured = _measure(to, plan)
    return Round(measured, lags_between(lags, began, time.monotonic()))


def _p99(rounds: Sequence[Round]) -> float:
    return middle(one.listing.p99 for one in rounds) * 1e3


def _lag(rounds: Sequence[Round]) -> float:
    return middle(percentile(one.lags, 0.99) for one in rounds) * 1e3


def _endpoints(plan: Plan, upstream: Address) -> list[dict[str, object]]:
    """One for the bodies, and others that make the list longer."""
    names = [MODEL, *(f"model-{number}" for number in range(plan.endpoints - 1))]
    return [
        {
            **contestants.static(name, upstream, dialect="openai", probe={"path": "/small"}),
            "match": {"hosts": [HOST], "models": [name, f"{name}-lora-*"]},
            "aliases": [f"{name}-latest"],
        }
        for name in names
    ]


def _measure(to: Contestant, plan: Plan, *, seconds: float | None = None) -> Steady:
    return steady(to, path="/v1/models", rate=plan.rate, seconds=seconds or plan.seconds)


def _crowd(to: Contestant, plan: Plan) -> list[str]:
    _, port = to.address
    size = plan.mebibytes << 20
    said = ("--port", str(port), "--host", to.host, "--size", str(size))
    return python("bench.crowd", *said, "--clients", str(plan.clients))


def _answers(log: Path) -> int:
    return log.read_text("utf-8").count("answered")


def _wait_for_answers(crowd: Running, log: Path) -> None:
    """Until everybody is at it."""
    until = time.monotonic() + PATIENCE
    while not _answers(log):
        crowd.check()
        if time.monotonic() > until:
            raise BenchError("no large body has been answered")
        time.sleep(0.01)
