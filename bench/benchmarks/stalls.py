"""What holds up the loop that serves requests and streams, where there are ten thousand endpoints:
whoever asks for all of them, a change of the configuration; and how long it takes to stop."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from bench import contestants, fleet
from bench.failure import BenchError
from bench.lagging import worst
from bench.report import Result, Verdict
from bench.rounds import middle
from bench.size import Size

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.contestants import Activator
    from bench.lab import Lab
    from bench.report import Cell

TITLE: Final = "how late the loop is with many endpoints"
CALLS: Final = ("/metrics", "/api/endpoints", "/api/history", "/api/config", "/api/costs")
"""That tell of all endpoints."""
LAG: Final = 50.0
"""Milliseconds."""
STOP: Final = 5.0
"""Seconds: of the 30 that Kubernetes leaves a pod most are for what is in flight."""
PATIENCE: Final = 120.0
TRACE: Final = 0.02
"""Seconds after which the loop's last lag is surely noted."""


@dataclass(frozen=True, slots=True)
class Plan:
    endpoints: int
    used: int
    rounds: int
    rest: float
    """Seconds."""


PLANS: Final = {
    Size.FULL: Plan(10_000, 100, 5, 20.0),
    Size.QUICK: Plan(10_000, 100, 2, 10.0),
    Size.SMOKE: Plan(300, 10, 1, 0.5),
}


@dataclass(frozen=True, slots=True)
class Look:
    """At the activator while something went on."""

    took: float
    lag: float
    """The worst of its loop."""
    cpu: float
    """All in seconds."""
    size: int = 0
    """Bytes of an answer."""


def run(lab: Lab) -> Result:
    plan = PLANS[lab.size]
    lags = lab.folder / "lags"
    with lab.upstream() as upstream:
        configured = fleet.endpoints(plan.endpoints, upstream, used=plan.used)
        with contestants.activator(lab, configured, lags=lags) as activator:
            activator.wait_until_ready(within=PATIENCE)
            activator.running.rest(within=PATIENCE)
            looks = {"at rest": [_look(activator, lags, lambda: _rest(plan))]}
            for call in CALLS:
                looks[f"GET {call}"] = [
                    _look(activator, lags, lambda call=call: activator.get(call))  # type: ignore[misc]
                    for _ in range(plan.rounds)
                ]
            looks["one endpoint more"] = [
                _look(activator, lags, lambda count=count: _grow(activator, configured, by=count))  # type: ignore[misc]
                for count in range(1, plan.rounds + 1)
            ]
            stopping = time.monotonic()
        stopped = time.monotonic() - stopping
    return result(plan, looks, stopped=stopped)


def result(plan: Plan, looks: dict[str, list[Look]], *, stopped: float) -> Result:
    return Result(
        "stalls",
        TITLE,
        asdict(plan),
        [_row(what, each) for what, each in looks.items()],
        verdicts=[
            *(
                Verdict(f"the loop's worst lag, {what}", _lag(each), LAG, "ms")
                for what, each in looks.items()
            ),
            Verdict(f"stopped, with {plan.endpoints} endpoints, after", stopped, STOP, "s"),
        ],
        raw={what: [asdict(look) for look in each] for what, each in looks.items()},
    )


def _look(activator: Activator, lags: Path, do: Callable[[], bytes]) -> Look:
    used, since = activator.running.cpu_seconds(), time.monotonic()
    size = len(do())
    took = time.monotonic() - since
    cpu = activator.running.cpu_seconds() - used
    time.sleep(TRACE)
    return Look(took, worst(lags, since, time.monotonic()), cpu, size)


def _rest(plan: Plan) -> bytes:
    time.sleep(plan.rest)
    return b""


def _grow(activator: Activator, configured: list[fleet.Endpoint], *, by: int) -> bytes:
    """So many endpoints more than at first; until the last of them is at work."""
    names = [f"new-{number}" for number in range(by)]
    more = [{**configured[-1], "name": name, "match": {"hosts": [name]}} for name in names]
    activator.reconfigure([*configured, *more])
    until = time.monotonic() + PATIENCE
    while True:
        try:
            activator.get(f"/api/endpoints/{names[-1]}")
        except BenchError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return b""


def _lag(looks: list[Look]) -> float:
    """Milliseconds; of several looks the middle one, since whoever else is on the machine makes the
    loop late, too."""
    return middle(look.lag for look in looks) * 1e3


def _row(what: str, looks: list[Look]) -> dict[str, Cell]:
    return {
        "meanwhile": what,
        "worst lag ms": _lag(looks),
        "worst of all ms": max(look.lag for look in looks) * 1e3,
        "seconds": middle(look.took for look in looks),
        "CPU s": middle(look.cpu for look in looks),
        "MiB": looks[0].size / 2**20 or None,
    }
