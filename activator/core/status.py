"""What an operator sees of an endpoint: plain values, made by `control`, shown by `admin`."""

from __future__ import annotations

from dataclasses import dataclass

from activator.core.history import Day  # noqa: TC001  # the API's description reads it


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    id: str
    phase: str
    """requested, waiting for node, scheduled, pulled, started, ready, retiring, stopping,
    ejected."""
    address: str
    in_flight: int
    seconds_in_phase: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """One row of the list of endpoints. Durations in seconds, moments as Unix time."""

    name: str
    state: str
    """inactive, activating, active, draining, failed (`core.lifecycle.State`)."""
    seconds_in_state: float
    paused: bool
    replicas: tuple[ReplicaStatus, ...]
    wanted: int
    held: int
    """Requests whose clients wait on their sockets."""
    held_bytes: int
    in_flight: int
    concurrency: int
    eta: float | None
    """Seconds until a replica is expected to answer, from earlier starts: the rest of the start
    under way, or the whole of one that began now. None: one answers, or nothing is known."""
    typical_start: float | None
    last_activity: float | None
    """Unix time of the last response's end; None before the first."""
    failure: str | None
    """Why the last start failed, while that matters."""
    retry_in: float | None
    """Until the breaker lets the next start through."""
    cold_starts: int
    replica_seconds: float
    """Replica time used since this activator started, like the three below."""
    saved_replica_seconds: float
    """Against `max(min, 1)` replicas that would otherwise have run."""
    cost: float
    cost_saved: float
    cost_today: float = 0.0
    """Since midnight UTC, at whichever activator booked it."""
    saved_today: float = 0.0
    trouble: str | None = None
    """What keeps the activator from seeing or scaling its replicas just now."""
    fallback: str | None = None
    """Who answers while no replica could, and what is known of how it does, in words."""
    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ColdStart:
    """One start from zero that has ended."""

    at: float
    """Unix time of its beginning."""
    outcome: str
    """ready, failed."""
    phases: dict[str, float]
    """Seconds in each, in order; `first_byte` follows when the first answer begins. A failed one
    has only `failed`, the time until it was given up."""


@dataclass(frozen=True, slots=True)
class EndpointHistory:
    """What an endpoint did lately, as this activator has seen it."""

    name: str
    day: Day
    cold_starts: tuple[ColdStart, ...]
    """The latest first."""
