"""Every instrument of the activator, once: its name, its labels, its buckets.

Writers touch plain numbers (about a microsecond a request); whatever costs more happens when
somebody scrapes. What is worth measuring is decided by those who call, what it is called here.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client import exposition as text
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.openmetrics import exposition as openmetrics

from activator.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from prometheus_client.metrics_core import Metric

    from activator.core.tokens import Tokens

REQUEST_BUCKETS = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
    *(10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0),
)
"""Seconds, up to the default of `timeouts.total`."""
OVERHEAD_BUCKETS = (
    *(0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005),
    *(0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
)
"""Seconds; the proxy's own time is a fraction of a millisecond when all is well."""
WAIT_BUCKETS = (
    *(0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0),
    *(30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0),
)
COLD_START_BUCKETS = (
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0),
    *(60.0, 90.0, 120.0, 180.0, 300.0, 450.0, 600.0, 900.0, 1200.0, 1800.0),
)
"""Seconds: a process takes tenths, a large model on a new node half an hour."""

MAX_SERIES = 64
"""Label sets of one counter of one endpoint. A model server may answer with any status code;
what comes beyond the bound is counted as `other`."""
MAX_TOKEN_SERIES = 1024
"""Of one endpoint: four for each API key that has used it."""
OTHER = "other"

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Gauges:
    """What an endpoint has right now, and what it has used since this activator started."""

    held: int = 0
    held_limit: int = 0
    """0 = none."""
    oldest_held: float = 0.0
    """Seconds."""
    in_flight: int = 0
    replicas: Mapping[str, int] = field(default_factory=dict)
    """Number of replicas by state."""
    replica_seconds: Mapping[str, float] = field(default_factory=dict)
    """Replica time used, by state."""
    cost: float = 0.0
    cost_saved: float = 0.0
    key_seconds: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """What API keys have used: by key, and what it was."""


class Histogram:
    """Counts by upper bound, and a sum; one `observe` is one bisection."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts in the exposition's form, `+Inf` last."""
        rows: list[tuple[str, float]] = []
        running = 0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            running += count
            rows.append((repr(bound), running))
        rows.append(("+Inf", running + self.counts[-1]))
        return rows


class EndpointMetrics:
    """The counters of one endpoint. `gauges` is read when somebody scrapes."""

    __slots__ = (
        "cold_starts",
        "durations",
        "fallbacks",
        "gauges",
        "jobs",
        "overheads",
        "phases",
        "requests",
        "retries",
        "scale_actions",
        "tokens",
        "waits",
    )

    def __init__(self) -> None:
        self.requests: dict[tuple[int | str, str], int] = {}
        self.durations = Histogram(REQUEST_BUCKETS)
        self.overheads = Histogram(OVERHEAD_BUCKETS)
        self.waits = Histogram(WAIT_BUCKETS)
        self.cold_starts: dict[str, int] = {}
        self.phases: dict[str, Histogram] = {}
        self.scale_actions: dict[tuple[str, str], int] = {}
        self.retries: dict[str, int] = {}
        self.fallbacks: dict[str, int] = {}
        self.tokens: dict[tuple[str, str, str], int] = {}
        """By API key, direction and how they were counted."""
        self.gauges: Callable[[], Gauges] | None = None
        self.jobs: Mapping[str, int] = {}
        """By state, over all activators; some seconds old."""

    def request(self, *, code: int, reason: str, duration: float, overhead: float) -> None:
        """A request has ended.

        `reason` is empty when the model answered, else the error's reason; `duration` is from the
        head's arrival to the answer's end, `overhead` the part of it spent in the proxy itself
        (neither waiting in line nor for the model); both in seconds.
        """
        key = (code, reason)
        requests = self.requests
        if key in requests:
            requests[key] += 1
        else:
            _count(requests, key, beyond=(f"{str(code)[:1]}xx", reason and OTHER))
        durations = self.durations  # `observe` twice, without the price of two calls
        durations.counts[bisect_left(REQUEST_BUCKETS, duration)] += 1
        durations.total += duration
        overheads = self.overheads
        overheads.counts[bisect_left(OVERHEAD_BUCKETS, overhead)] += 1
        overheads.total += overhead

    @property
    def ended(self) -> int:
        """Requests that have ended."""
        return sum(self.requests.values())

    def waited(self, seconds: float) -> None:
        """A held request has left the line, whichever way."""
        self.waits.observe(seconds)

    def cold_start(self, *, outcome: str) -> None:
        """A start from zero has ended: `ready`, `failed` …"""
        _count(self.cold_starts, outcome, beyond=OTHER)

    def phase(self, phase: str, seconds: float) -> None:
        """So long did this phase of a cold start take."""
        phases = self.phases
        if phase not in phases:
            phase = phase if len(phases) < MAX_SERIES else OTHER
            phases.setdefault(phase, Histogram(COLD_START_BUCKETS))
        phases[phase].observe(seconds)

    def scaled(self, *, direction: str, reason: str) -> None:
        """Replicas were asked for (`up`) or given back (`down`)."""
        _count(self.scale_actions, (direction, reason), beyond=(direction, OTHER))

    def retried(self, reason: str) -> None:
        _count(self.retries, reason, beyond=OTHER)

    def fell_back(self, outcome: str) -> None:
        """A request that nothing was ready for has gone to the fallback, or why it has not."""
        _count(self.fallbacks, outcome, beyond=OTHER)

    def used(self, tokens: Tokens | None, *, key: str) -> None:
        """By one answer. `key`: the API key's name, empty where none is needed."""
        if tokens is None:
            return
        counted = "usage" if tokens.told else "chunks"
        for direction, number in (("in", tokens.prompt), ("out", tokens.answer)):
            series = (key, direction, counted)
            if series not in self.tokens and len(self.tokens) >= MAX_TOKEN_SERIES:
                series = (OTHER, direction, counted)
            self.tokens[series] = self.tokens.get(series, 0) + number


class Metrics:
    """All instruments of this process."""

    def __init__(self) -> None:
        self._endpoints: dict[str, EndpointMetrics] = {}
        self.unrouted = EndpointMetrics()
        """Requests that belong to no endpoint; their label is empty."""
        self.connections = 0
        """Client connections that are open now."""
        self.store_errors = 0
        self.overruled = 0
        """Times that an endpoint went to sleep although a silent activator may exist."""
        self.leader: Callable[[], bool] = bool
        """Whether this activator leads; asked at each scrape."""
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Collector(self))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def store_failed(self) -> None:
        """An operation of the store failed."""
        self.store_errors += 1

    def endpoint(self, name: str) -> EndpointMetrics:
        """The counters of an endpoint, the same ones for as long as it is not forgotten."""
        found = self._endpoints.get(name)
        if found is None:
            found = self._endpoints[name] = EndpointMetrics()
        return found

    def forget(self, name: str) -> None:
        """The endpoint is no longer configured: its series end."""
        self._endpoints.pop(name, None)

    def labelled(self) -> list[tuple[str, EndpointMetrics]]:
        return [("", self.unrouted), *sorted(self._endpoints.items())]

    def render(self, accept: str) -> tuple[bytes, str]:
        """The exposition and its content type; OpenMetrics for whoever lists it in `Accept`."""
        offered = {one.partition(";")[0].strip().lower() for one in accept.split(",")}
        if "application/openmetrics-text" in offered:
            body: bytes = openmetrics.generate_latest(  # type: ignore[no-untyped-call]  # is untyped
                self._registry
            )
            return body, openmetrics.CONTENT_TYPE_LATEST
        return text.generate_latest(self._registry), text.CONTENT_TYPE_PLAIN_0_0_4


class _Collector:
    """Aggregates at scrape. One generator a family, in the order of the documentation."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        rows = self._metrics.labelled()
        gauges = [(name, one.gauges()) for name, one in rows if one.gauges is not None]
        yield from _of_requests(rows)
        yield from _of_tokens(rows)
        yield from _of_scaling(rows)
        yield from _of_now(gauges)
        yield from _of_jobs(rows)
        yield _counter(
            "activator_store_errors",
            "Operations of the store that failed",
            (),
            [((), self._metrics.store_errors)],
        )
        yield _counter(
            "activator_overruled",
            "Times that scaling down waited no longer for a silent activator",
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


_Rows = list[tuple[str, EndpointMetrics]]


def _of_requests(rows: _Rows) -> Iterator[Metric]:
    yield _counter(
        "activator_requests",
        "Requests answered; reason is empty when the model answered",
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
        "Requests that nothing was ready for, of endpoints with a fallback, by what became of them",
        ("endpoint", "outcome"),
        [((name, how), count) for name, one in rows for how, count in one.fallbacks.items()],
    )


def _of_tokens(rows: _Rows) -> Iterator[Metric]:
    yield _counter(
        "activator_tokens",
        "Tokens in OpenAI's dialect, counted by the model's usage or by a stream's chunks",
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
        "Starts from zero by how they ended",
        ("endpoint", "outcome"),
        [((name, how), count) for name, one in rows for how, count in one.cold_starts.items()],
    )
    yield _histogram(
        "activator_cold_start_seconds",
        "Phases of cold starts",
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


def _of_jobs(rows: _Rows) -> Iterator[Metric]:
    yield _gauge(
        "activator_jobs",
        "Jobs that are kept, by state; every activator of a store tells the same",
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
        "Replicas by state",
        ("endpoint", "state"),
        [((name, state), n) for name, now in gauges for state, n in now.replicas.items()],
    )
    yield _counter(
        "activator_replica_seconds",
        "Replica time used, by state",
        ("endpoint", "state"),
        [((name, state), s) for name, now in gauges for state, s in now.replica_seconds.items()],
    )
    yield _counter(
        "activator_cost",
        "Cost of the replica time used, in the unit of costPerReplicaHour",
        ("endpoint",),
        [((name,), now.cost) for name, now in gauges],
    )
    yield _counter(
        "activator_cost_saved",
        "Cost that replicas at zero have saved, in the unit of costPerReplicaHour",
        ("endpoint",),
        [((name,), now.cost_saved) for name, now in gauges],
    )
    yield _counter(
        "activator_key_seconds",
        "What API keys have used here: slots, starts that they waited for, replicas kept for them",
        ("endpoint", "key", "use"),
        [((name, *each), s) for name, now in gauges for each, s in now.key_seconds.items()],
    )


def _count(counters: dict[K, int], key: K, *, beyond: K) -> None:
    """One more of `key`, or of `beyond` when it would be one label set too many."""
    if key not in counters and len(counters) >= MAX_SERIES:
        key = beyond
    counters[key] = counters.get(key, 0) + 1


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
        family.add_metric(values, seen.buckets(), seen.total)
    return family
