"""Every instrument of the activator, once: its name, its labels, and what it tells.

Decides what scrapers are shown, and so what the table in `docs/operations.md` says, which
`telemetry.docs` writes. What is measured, and where its numbers are kept, is `metrics`'; how it is
written is `exposition`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar

from activator.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.telemetry.metrics import EndpointMetrics, Gauges, Metrics

Of = TypeVar("Of")
Key = str | tuple[str, ...]
"""What one label says, or several."""

ENDPOINT: Final = "endpoint"
"""The label of all that is not the process's."""


@dataclass(frozen=True, slots=True)
class Family(Generic[Of]):
    """What is told under one name."""

    name: str
    """Of a counter without `_total`."""
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    read: Callable[[Of], Any]
    """A number or a histogram; with `labels` a mapping of what they say to such."""
    labels: tuple[str, ...] = ()
    """Besides the endpoint."""

    @property
    def sample(self) -> str:
        """The name before each number."""
        return self.name + ("_total" if self.kind == "counter" else "")


# in the order in which they are told

COUNTED: tuple[Family[EndpointMetrics], ...] = (
    Family(
        "activator_requests",
        "counter",
        "Answers; reason is empty when the model answered, fallback when the fallback did",
        lambda one: {(str(code), why): count for (code, why), count in one.requests.items()},
        ("code", "reason"),
    ),
    Family(
        "activator_request_duration_seconds",
        "histogram",
        "From a request's head to the end of its answer",
        attrgetter("durations"),
    ),
    Family(
        "activator_overhead_seconds",
        "histogram",
        "Time of a request in the proxy itself",
        attrgetter("overheads"),
    ),
    Family(
        "activator_queue_wait_seconds",
        "histogram",
        "Time in line of the requests that were held",
        attrgetter("waits"),
    ),
    Family(
        "activator_retries",
        "counter",
        "Requests sent to another replica",
        attrgetter("retries"),
        ("reason",),
    ),
    Family(
        "activator_fallback_requests",
        "counter",
        "Requests that came while nothing was ready, with a fallback: served, or why not",
        attrgetter("fallbacks"),
        ("outcome",),
    ),
    Family(
        "activator_tokens",
        "counter",
        "Tokens of OpenAI's dialect, counted by the model's usage or by a stream's chunks",
        attrgetter("tokens"),
        ("key", "direction", "counted"),
    ),
    Family(
        "activator_cold_starts",
        "counter",
        "Starts from zero, by how they ended",
        attrgetter("cold_starts"),
        ("outcome",),
    ),
    Family(
        "activator_cold_start_seconds",
        "histogram",
        "Where the time of starts from zero went",
        attrgetter("phases"),
        ("phase",),
    ),
    Family(
        "activator_scale_actions",
        "counter",
        "Changes of the number of replicas that were asked for",
        attrgetter("scale_actions"),
        ("direction", "reason"),
    ),
)
"""Of an endpoint, as it happened."""

NOW: tuple[Family[Gauges], ...] = (
    Family(
        "activator_held_requests",
        "gauge",
        "Requests whose clients wait on their sockets",
        attrgetter("held"),
    ),
    Family(
        "activator_held_requests_limit",
        "gauge",
        "queue.maxRequests: beyond it clients are refused; 0 is no limit",
        attrgetter("held_limit"),
    ),
    Family(
        "activator_oldest_held_seconds",
        "gauge",
        "How long the request has waited that has waited longest; 0 if none does",
        attrgetter("oldest_held"),
    ),
    Family(
        "activator_inflight_requests",
        "gauge",
        "Requests at replicas",
        attrgetter("in_flight"),
    ),
    Family(
        "activator_replicas",
        "gauge",
        "Replicas now",
        attrgetter("replicas"),
        ("state",),
    ),
    Family(
        "activator_replica_seconds",
        "counter",
        "Replica time used",
        attrgetter("replica_seconds"),
        ("state",),
    ),
    Family(
        "activator_cost",
        "counter",
        "What the replica time used has cost, in the unit of costPerReplicaHour",
        attrgetter("cost"),
    ),
    Family(
        "activator_cost_saved",
        "counter",
        "What replicas that did not run would have cost besides, in the same unit",
        attrgetter("cost_saved"),
    ),
    Family(
        "activator_key_seconds",
        "counter",
        "Use of API keys here: slot (at replicas), wait (for a start), kept (idle after it)",
        attrgetter("key_seconds"),
        ("key", "use"),
    ),
)
"""Of an endpoint that is under control, when it is asked."""

BOOKED: tuple[Family[EndpointMetrics], ...] = (
    Family(
        "activator_key_cost",
        "counter",
        "What API keys have cost, in the same unit, told by whoever leads; key is empty for nobody",
        attrgetter("key_costs"),
        ("key",),
    ),
    Family(
        "activator_jobs",
        "gauge",
        "Jobs that are kept; every activator of a store tells the same",
        attrgetter("jobs"),
        ("state",),
    ),
)
"""Of an endpoint, as others keep it."""

PROCESS: tuple[Family[Metrics], ...] = (
    Family(
        "activator_store_errors",
        "counter",
        "Operations of the store that failed",
        attrgetter("store_errors"),
    ),
    Family(
        "activator_overruled",
        "counter",
        "Times that scaling down waited no longer for a silent activator that may exist",
        attrgetter("overruled"),
    ),
    Family(
        "activator_leader",
        "gauge",
        "1 while this activator leads",
        lambda process: process.leader(),
    ),
    Family(
        "activator_connections",
        "gauge",
        "Client connections that are open",
        attrgetter("connections"),
    ),
    Family(
        "activator_log_lines_dropped",
        "counter",
        "Log lines that are lost because nobody took them",
        lambda process: logs.dropped(),
    ),
)
