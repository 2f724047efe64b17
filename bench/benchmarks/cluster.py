"""From zero in a Kubernetes cluster: how soon the order is given, and how soon a request reaches a
model that answers; beside a path that waits for the pod to be Ready. And what it costs one
activator to watch hundreds of endpoints at zero.

The control plane is the real one, which the end-to-end tests build; containers are processes.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from bench.cluster import OTHER, OURS
from bench.failure import BenchError
from bench.machine import pinned
from bench.processes import python
from bench.report import Result, Verdict
from bench.rounds import middle, percentile, ratio
from bench.size import Size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.lab import Lab
    from bench.report import Cell

TITLE: Final = "from zero in a Kubernetes cluster, kubelet's readiness period 10 s"
PATCH_LIMIT_MS: Final = 20.0
FIRST_LIMIT_MS: Final = 100.0
MEMORY_LIMIT_MIB: Final = 200.0
CORES_LIMIT: Final = 0.05
PATIENCE: Final = 900.0


@dataclass(frozen=True, slots=True)
class Plan:
    lanes: int
    """Deployments of each path, started side by side."""
    rounds: int
    load_seconds: tuple[float, float]
    """A model's time until it listens: random over a whole period of kubelet's probe, so that it
    means nothing to it."""
    endpoints: int
    idle_seconds: float


PLANS: Final = {
    Size.FULL: Plan(5, 6, (0.5, 10.5), endpoints=500, idle_seconds=30.0),
    Size.QUICK: Plan(5, 1, (0.5, 10.5), endpoints=500, idle_seconds=5.0),
    Size.SMOKE: Plan(1, 1, (0.1, 0.3), endpoints=20, idle_seconds=0.5),
}


def run(lab: Lab) -> Result:
    plan = PLANS[lab.size]
    cores = lab.cores
    with pinned(cores.contestant, cores.load, cores.upstream):  # it is a whole cluster
        measured = _measure(plan)
    idle, starts = measured["idle"], measured["starts"]
    firsts = {path: _sorted_ms(taken, "to_first") for path, taken in starts.items()}
    patches = {path: _sorted_ms(taken, "to_patch") for path, taken in starts.items()}
    rows: list[dict[str, Cell]] = [
        {
            "path": path,
            "starts": len(firsts[path]),
            "to patch, p50 ms": middle(patches[path]),
            "p90": percentile(patches[path], 0.9),
            "listening to first, p50 ms": middle(firsts[path]),
            "p90 ": percentile(firsts[path], 0.9),
            "worst": firsts[path][-1],
            "of waiting": ratio(middle(firsts[path]), middle(firsts[OTHER])),
        }
        for path in (OURS, OTHER)
    ]
    memory = idle["rss"] / 2**20
    at_zero = f"{plan.endpoints} endpoints at zero"
    return Result(
        "cluster",
        TITLE,
        asdict(plan),
        rows,
        verdicts=[
            Verdict("request to patch, p50", middle(patches[OURS]), PATCH_LIMIT_MS, "ms"),
            Verdict("listening to first request, p50", middle(firsts[OURS]), FIRST_LIMIT_MS, "ms"),
            Verdict(f"memory, {at_zero}", memory, MEMORY_LIMIT_MIB, "MiB"),
            Verdict(f"processor, {at_zero}", idle["cores"], CORES_LIMIT, "cores"),
        ],
        raw=measured,
    )


def _measure(plan: Plan) -> dict[str, Any]:
    low, high = plan.load_seconds
    command = python(
        "bench.cluster",
        *("--lanes", str(plan.lanes), "--rounds", str(plan.rounds)),
        *("--load-seconds", str(low), str(high)),
        *("--endpoints", str(plan.endpoints), "--idle-seconds", str(plan.idle_seconds)),
    )
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    if done.returncode:
        raise BenchError(done.stderr.strip()[-2000:])
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _sorted_ms(starts: list[Mapping[str, float]], what: str) -> list[float]:
    return sorted(each[what] * 1e3 for each in starts)
