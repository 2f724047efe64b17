"""What the demo has measured, and whether that is what the activator promises.

Pure: plain values in, sentences out. Everything here comes from the two ends, the clients and the
model servers, so that the proxy between them is not asked for its own marks; only the bill
(replica seconds, cost) is the activator's. Moments are Unix time on one machine, durations seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of one request, seen from its client."""

    prompt: str
    expected: str
    """What the model says to this prompt with this seed, computed apart from the proxy."""
    sent_at: float
    first_byte_at: float | None = None
    ended_at: float | None = None
    text: str = ""
    problem: str | None = "not answered"
    """Why this is no complete answer; None: it is one."""


@dataclass(frozen=True, slots=True)
class ModelSide:
    """One model server process, by its own account (`/stats` of `demo.server`)."""

    pid: int
    started_at: float
    ready_at: float
    arrivals: tuple[tuple[str, float], ...]
    """Prompt and moment of each request, in the order in which they came."""
    peak_in_flight: int
    refused: int
    cancelled: int

    @classmethod
    def read(cls, stats: dict[str, Any]) -> ModelSide:
        return cls(
            pid=stats["pid"],
            started_at=stats["started_at"],
            ready_at=stats["ready_at"],
            arrivals=tuple((seen["prompt"], seen["at"]) for seen in stats["arrivals"]),
            peak_in_flight=stats["peak_in_flight"],
            refused=stats["refused"],
            cancelled=stats["cancelled"],
        )


@dataclass(frozen=True, slots=True)
class Act:
    """Requests to an endpoint at zero, in the order they were sent, and the model they woke."""

    endpoint: str
    title: str
    replies: tuple[Reply, ...]
    model: ModelSide


@dataclass(frozen=True, slots=True)
class ColdStart:
    """An act's cold start by phase, in seconds."""

    to_started: float
    """From the first request to the model server's process."""
    to_ready: float
    """From there to its open port: imports, fitting, loading."""
    to_arrival: float
    """From there until the first request reached the model: what the activator adds."""
    to_first_byte: float
    """From there until the client had the answer's first byte: the model's first token."""

    @property
    def total(self) -> float:
        return self.to_started + self.to_ready + self.to_arrival + self.to_first_byte


@dataclass(frozen=True, slots=True)
class Bill:
    """What the activator says about one endpoint."""

    endpoint: str
    replica_seconds: float
    saved_replica_seconds: float
    cost: float
    cost_saved: float


@dataclass(frozen=True, slots=True)
class Facts:
    """All of one run."""

    acts: tuple[Act, ...]
    bills: tuple[Bill, ...]
    limit: int
    """The `concurrency` that was configured."""
    cost_per_replica_hour: float
    still_running: tuple[int, ...]
    """Process ids of model servers that were alive when all was said to be at zero."""
    took: float

    @property
    def replies(self) -> tuple[Reply, ...]:
        return tuple(reply for act in self.acts for reply in act.replies)

    @property
    def answered(self) -> int:
        return sum(1 for reply in self.replies if reply.problem is None)

    @property
    def peak_in_flight(self) -> int:
        return max(act.model.peak_in_flight for act in self.acts)


def cold_start(act: Act) -> ColdStart | None:
    """None where no request reached the model or no client got a byte."""
    first_bytes = [reply.first_byte_at for reply in act.replies if reply.first_byte_at is not None]
    if not act.model.arrivals or not first_bytes:
        return None
    arrived_at = act.model.arrivals[0][1]
    # the kernel's clock of process starts ticks every 10 ms, so one can seem to precede its cause
    started_at = max(act.model.started_at, act.replies[0].sent_at)
    return ColdStart(
        to_started=started_at - act.replies[0].sent_at,
        to_ready=act.model.ready_at - started_at,
        to_arrival=arrived_at - act.model.ready_at,
        to_first_byte=min(first_bytes) - arrived_at,
    )


TOGETHER = 0.02
"""Seconds. Requests that are dispatched in one moment travel on connections of their own, and the
model may read those in either order; what reached it further apart was dispatched so."""


def out_of_order(act: Act) -> str | None:
    """Each request reached the model once, in the order of sending: None; otherwise what came."""
    came = dict(act.model.arrivals)
    sent = [reply.prompt for reply in act.replies]
    if len(came) != len(act.model.arrivals) or came.keys() != set(sent):
        return f"{len(sent)} were sent, and it got {[prompt for prompt, _ in act.model.arrivals]!r}"
    latest, latest_at = "", float("-inf")
    for prompt in sent:
        if came[prompt] < latest_at - TOGETHER:
            return f"it got {prompt!r} before {latest!r}, which was sent earlier"
        if came[prompt] > latest_at:
            latest, latest_at = prompt, came[prompt]
    return None


def broken_promises(facts: Facts) -> list[str]:
    """A sentence for each thing that is not as it must be; empty: all is well."""
    found: list[str] = []
    for act in facts.acts:
        found += [f"{act.endpoint}: {sentence}" for sentence in _broken_in(act, limit=facts.limit)]
    if facts.still_running:
        pids = ", ".join(map(str, facts.still_running))
        found.append(f"not back at zero: model servers still run (pid {pids})")
    return found


def _broken_in(act: Act, *, limit: int) -> list[str]:
    found: list[str] = []
    lost = [reply for reply in act.replies if reply.problem is not None]
    if lost:
        count = f"{len(lost)} of {len(act.replies)}"
        found.append(f"{count} requests were lost; the first: {lost[0].prompt!r} {lost[0].problem}")
    wrong = [r for r in act.replies if r.problem is None and r.text != r.expected]
    if wrong:
        found.append(
            f"{len(wrong)} answers are not what the model said; the first: {wrong[0].prompt!r} got "
            f"{wrong[0].text!r} instead of {wrong[0].expected!r}"
        )
    if (disorder := out_of_order(act)) is not None:
        found.append(f"requests did not reach the model once each and in order: {disorder}")
    if act.model.peak_in_flight > limit or act.model.refused:
        found.append(
            f"the limit of {limit} at once was not kept: the model saw {act.model.peak_in_flight} "
            f"and refused {act.model.refused}"
        )
    if act.model.cancelled:
        found.append(f"{act.model.cancelled} requests were broken off at the model")
    return found
