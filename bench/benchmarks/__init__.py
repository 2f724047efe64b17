"""One module a benchmark: what is set up, what is measured, what it is judged by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bench.benchmarks import (
    bulk,
    chat,
    cluster,
    cold,
    drain,
    endpoints,
    eta,
    garbage,
    gpu,
    growth,
    held,
    jobs,
    latency,
    limited,
    models,
    needs,
    path,
    several,
    slots,
    stalls,
    start,
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
    "chat": chat.run,
    "garbage": garbage.run,
    "needs": needs.run,
    "held": held.run,
    "drain": drain.run,
    "cold": cold.run,
    "cluster": cluster.run,
    "gpu": gpu.run,
    "bulk": bulk.run,
    "streams": streams.run,
    "growth": growth.run,
    "slots": slots.run,
    "limited": limited.run,
    "several": several.run,
    "jobs": jobs.run,
    "models": models.run,
    "eta": eta.run,
    "endpoints": endpoints.run,
    "stalls": stalls.run,
    "start": start.run,
}
