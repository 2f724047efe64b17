"""Every instrument of the activator, once: its name, its labels, and what it tells.

Decides what scrapers are shown, and so what the table in `docs/operations.md` says, which
`telemetry.docs` writes. What is measured, and where its numbers are kept, is `metrics`'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)

from activator.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from prometheus_client.metrics_core import Metric

    from activator.telemetry.metrics import EndpointMetrics, Gauges, Histogram, Metrics

    _Rows = list[tuple[str, EndpointMetrics]]


class Families:
    """Aggregates at scrape. One generator for what belongs together, in the order of the table."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        rows = self._metrics.labelled()
        gauges = [(name, one.gauges()) for name, one in rows if one.gauges is not None]
        yield from _of_requests(rows)
        yield from _of_tokens(rows)
        yield from _of_scaling(rows)
        yield from _of_now(gauges)
        yield from _of_keys(rows)
        yield from _of_jobs(rows)
        yield _counter(
            "activator_store_errors",
            "Operations of the store that failed",
            (),
            [((), self._metrics.store_errors)],
        )
        yield _counter(
            "activator_overruled",
            "Times that scaling down waited no longer for a silent activator that may exist",
            (),
            [((), self._metrics.overruled)],
        )
        yield _gauge(
            "activator_leader",
            "1 while this activator leads",
            (),
            [((), self._metrics.leader())],
        )
        yield _gauge(
            "activator_connections",
            "Client connections that are open",
            (),
            [((), self._metrics.connections)],
        )
        yield _counter(
            "activator_log_lines_dropped",
            "Log lines that are lost because nobody took them",
            (),
            [((), logs.dropped())],
        )


def _of_requests(rows: _Rows) -> Iterator[Metric]:
    yield _counter(
        "activator_requests",
        "Answers; reason is empty when the model answered, fallback when the fallback did",
        ("endpoint", "code", "reason"),
        [
            ((name, str(code), reason), count)
            for name, one in rows
            for (code, reason), count in one.requests.items()
        ],
    )
    yield _histogram(
        "activator_request_duration_seconds",
        "From a request's head to the end of its answer",
        ("endpoint",),
        [((name,), one.durations) for name, one in rows],
    )
    yield _histogram(
        "activator_overhead_seconds",
        "Time of a request in the proxy itself",
        ("endpoint",),
        [((name,), one.overheads) for name, one in rows],
    )
    yield _histogram(
        "activator_queue_wait_seconds",
        "Time in line of the requests that were held",
        ("endpoint",),
        [((name,), one.waits) for name, one in rows if name],
    )
    yield _counter(
        "activator_retries",
        "Requests sent to another replica",
        ("endpoint", "reason"),
        [((name, why), count) for name, one in rows for why, count in one.retries.items()],
    )
    yield _counter(
        "activator_fallback_requests",
        "Requests that came while nothing was ready, with a fallback: served, or why not",
        ("endpoint", "outcome"),
        [((name, how), count) for name, one in rows for how, count in one.fallbacks.items()],
    )


def _of_tokens(rows: _Rows) -> Iterator[Metric]:
    yield _counter(
        "activator_tokens",
        "Tokens of OpenAI's dialect, counted by the model's usage or by a stream's chunks",
        ("endpoint", "key", "direction", "counted"),
        [
            ((name, key, direction, counted), count)
            for name, one in rows
            for (key, direction, counted), count in one.tokens.items()
        ],
    )


def _of_scaling(rows: _Rows) -> Iterator[Metric]:
    yield _counter(
        "activator_cold_starts",
        "Starts from zero, by how they ended",
        ("endpoint", "outcome"),
        [((name, how), count) for name, one in rows for how, count in one.cold_starts.items()],
    )
    yield _histogram(
        "activator_cold_start_seconds",
        "Where the time of starts from zero went",
        ("endpoint", "phase"),
        [((name, phase), seen) for name, one in rows for phase, seen in one.phases.items()],
    )
    yield _counter(
        "activator_scale_actions",
        "Changes of the number of replicas that were asked for",
        ("endpoint", "direction", "reason"),
        [
            ((name, direction, why), count)
            for name, one in rows
            for (direction, why), count in one.scale_actions.items()
        ],
    )


def _of_keys(rows: _Rows) -> Iterator[Metric]:
    yield _counter(
        "activator_key_cost",
        "What API keys have cost, in the same unit, told by whoever leads; key is empty for nobody",
        ("endpoint", "key"),
        [((name, key), cost) for name, one in rows for key, cost in one.key_costs.items()],
    )


def _of_jobs(rows: _Rows) -> Iterator[Metric]:
    yield _gauge(
        "activator_jobs",
        "Jobs that are kept; every activator of a store tells the same",
        ("endpoint", "state"),
        [((name, state), n) for name, one in rows for state, n in one.jobs.items()],
    )


def _of_now(gauges: list[tuple[str, Gauges]]) -> Iterator[Metric]:
    yield _gauge(
        "activator_held_requests",
        "Requests whose clients wait on their sockets",
        ("endpoint",),
        [((name,), now.held) for name, now in gauges],
    )
    yield _gauge(
        "activator_held_requests_limit",
        "queue.maxRequests: beyond it clients are refused; 0 is no limit",
        ("endpoint",),
        [((name,), now.held_limit) for name, now in gauges],
    )
    yield _gauge(
        "activator_oldest_held_seconds",
        "How long the request has waited that has waited longest; 0 if none does",
        ("endpoint",),
        [((name,), now.oldest_held) for name, now in gauges],
    )
    yield _gauge(
        "activator_inflight_requests",
        "Requests at replicas",
        ("endpoint",),
        [((name,), now.in_flight) for name, now in gauges],
    )
    yield _gauge(
        "activator_replicas",
        "Replicas now",
        ("endpoint", "state"),
        [((name, state), n) for name, now in gauges for state, n in now.replicas.items()],
    )
    yield _counter(
        "activator_replica_seconds",
        "Replica time used",
        ("endpoint", "state"),
        [((name, state), s) for name, now in gauges for state, s in now.replica_seconds.items()],
    )
    yield _counter(
        "activator_cost",
        "What the replica time used has cost, in the unit of costPerReplicaHour",
        ("endpoint",),
        [((name,), now.cost) for name, now in gauges],
    )
    yield _counter(
        "activator_cost_saved",
        "What replicas that did not run would have cost besides, in the same unit",
        ("endpoint",),
        [((name,), now.cost_saved) for name, now in gauges],
    )
    yield _counter(
        "activator_key_seconds",
        "Use of API keys here: slot (at replicas), wait (for a start), kept (idle after it)",
        ("endpoint", "key", "use"),
        [((name, *each), s) for name, now in gauges for each, s in now.key_seconds.items()],
    )


def _counter(
    name: str, help_text: str, labels: Sequence[str], rows: Iterable[tuple[Sequence[str], float]]
) -> Metric:
    family = CounterMetricFamily(name, help_text, labels=labels)
    for values, count in rows:
        family.add_metric(values, count)
    return family


def _gauge(
    name: str, help_text: str, labels: Sequence[str], rows: Iterable[tuple[Sequence[str], float]]
) -> Metric:
    family = GaugeMetricFamily(name, help_text, labels=labels)
    for values, number in rows:
        family.add_metric(values, number)
    return family


def _histogram(
    name: str,
    help_text: str,
    labels: Sequence[str],
    rows: Iterable[tuple[Sequence[str], Histogram]],
) -> Metric:
    family = HistogramMetricFamily(name, help_text, labels=labels)
    for values, seen in rows:
        if any(seen.counts):  # of thousands at zero, most have nothing to tell
            family.add_metric(values, seen.buckets(), seen.total)
    return family
