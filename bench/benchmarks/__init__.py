"""One module a benchmark: what is set up, what is measured, what it is judged by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bench.benchmarks import (
    bulk,
    cluster,
    cold,
    drain,
    eta,
    growth,
    held,
    jobs,
    latency,
    models,
    path,
    slots,
    streams,
    throughput,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.lab import Lab
    from bench.report import Result

ALL: Final[Mapping[str, Callable[[Lab], Result]]] = {
    "throughput": throughput.run,
    "latency": latency.run,
    "path": path.run,
    "held": held.run,
    "drain": drain.run,
    "cold": cold.run,
    "cluster": cluster.run,
    "bulk": bulk.run,
    "streams": streams.run,
    "growth": growth.run,
    "slots": slots.run,
    "jobs": jobs.run,
    "models": models.run,
    "eta": eta.run,
}
