"""From the moment a started replica accepts connections to the first request that reaches it: the
part of a cold start that is the activator's own."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Final

from bench import contestants
from bench.failure import BenchError
from bench.processes import python
from bench.report import Result, Verdict
from bench.rounds import middle
from bench.size import Size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.contestants import Activator
    from bench.lab import Lab
    from bench.report import Cell

TITLE: Final = "from listening to the first request, ms"
MEDIAN_LIMIT_MS: Final = 60.0
WORST_LIMIT_MS: Final = 150.0
LOAD_SECONDS: Final = (0.05, 0.35)
"""A replica's time until it listens: random, so that it means nothing to the probes' pace."""
PATIENCE: Final = 30.0
PROBES: Final[Mapping[str, Mapping[str, object]]] = {
    "path": {"path": "/health"},
    "tcp": {"path": None},
}
"""The kinds, all else at its defaults."""


@dataclass(frozen=True, slots=True)
class Plan:
    starts: int
    """Of each kind of probe."""


PLANS: Final = {Size.FULL: Plan(30), Size.QUICK: Plan(5), Size.SMOKE: Plan(2)}


def run(lab: Lab) -> Result:
    plan = PLANS[lab.size]
    taken: dict[str, list[float]] = {kind: [] for kind in PROBES}
    with contestants.activator(
        lab, [_endpoint(lab, kind, probe) for kind, probe in PROBES.items()]
    ) as activator:
        for _ in range(plan.starts):
            for kind, gaps in taken.items():
                gaps.append(_start(activator, kind))
    rows: list[dict[str, Cell]] = []
    verdicts: list[Verdict] = []
    for kind, gaps in taken.items():
        in_ms = sorted(gap * 1e3 for gap in gaps)
        rows.append(
            {
                "probe": kind,
                "starts": len(in_ms),
                "best": in_ms[0],
                "median": middle(in_ms),
                "worst": in_ms[-1],
            }
        )
        verdicts += (
            Verdict(f"median, {kind} probe", middle(in_ms), MEDIAN_LIMIT_MS, "ms"),
            Verdict(f"worst, {kind} probe", in_ms[-1], WORST_LIMIT_MS, "ms"),
        )
    return Result(
        "cold", TITLE, asdict(plan), rows, verdicts=verdicts, raw={"seconds": dict(taken)}
    )


def _endpoint(lab: Lab, kind: str, probe: Mapping[str, object]) -> dict[str, object]:
    low, high = LOAD_SECONDS
    command = python(
        "bench.recorder",
        *("--port", "{port}", "--core", str(lab.cores.upstream)),
        *("--load-seconds", str(low), str(high)),
    )
    return {
        "name": kind,
        "match": {"hosts": [kind]},
        "backend": {"type": "process", "command": command},
        "probe": dict(probe),
        "scale": {"idleTimeout": "1h"},
    }


def _start(activator: Activator, name: str) -> float:
    """Seconds. The endpoint is at zero before and afterwards."""
    _ask(activator, name, "/first")
    journal = json.loads(_ask(activator, name, "/journal"))
    first, path = journal["arrivals"][0]
    if path != "/first":
        raise BenchError(f"{path} reached the replica before the request that started it")
    until = time.monotonic() + PATIENCE
    while True:
        try:
            activator.deactivate(name)
        except BenchError:  # the answer's last byte is here before the request is over there
            if time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            break
    activator.wait_for(name, within=PATIENCE, state="inactive", replicas=[])
    return float(first - journal["listening_at"])


def _ask(activator: Activator, name: str, path: str) -> bytes:
    connection = HTTPConnection(*activator.address, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers={"Host": name})
        answer = connection.getresponse()
        said = answer.read()
    except (OSError, HTTPException) as error:
        raise BenchError(f"no answer from {name}: {error}") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise BenchError(f"{name} answered {answer.status}: {said.decode()}")
    return said
