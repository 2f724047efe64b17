"""What is told of an endpoint: its status for operators, its gauges for Prometheus, and in words
what those who wait for it are waiting for."""

from __future__ import annotations

import time
from math import isinf
from typing import TYPE_CHECKING

from activator.core.lifecycle import State
from activator.core.outlook import Outlook
from activator.core.status import EndpointStatus, ReplicaStatus
from activator.core.usage import day_of
from activator.drivers.base import Phase
from activator.telemetry.metrics import Gauges

if TYPE_CHECKING:
    from activator.control.controller import Controller
    from activator.core.key_usage import KeyMeter
    from activator.core.usage import Usage
    from activator.drivers.base import Sighting
    from activator.upstream.registry import LiveEndpoint

_ORDER = (Phase.STOPPING, *(phase for phase in Phase if phase is not Phase.STOPPING))
"""The one that has come furthest is last."""


def endpoint_status(control: Controller, *, today: Usage, now: float) -> EndpointStatus:
    live, life, costs = control.live, control.life, control.account.costs
    endpoint, gate = live.endpoint, live.gate
    control.account.read()
    refusal = life.refusal(now=now)
    starting = life.state in (State.ACTIVATING, State.INACTIVE, State.FAILED)
    return EndpointStatus(
        name=endpoint.name,
        state=life.state.value,
        seconds_in_state=max(0.0, now - life.since),
        paused=life.paused,
        replicas=tuple(_replica(control, each, now) for each in control.snapshot.replicas),
        wanted=control.snapshot.wanted,
        held=gate.held,
        held_bytes=gate.held_bytes,
        in_flight=gate.in_flight,
        concurrency=endpoint.concurrency,
        eta=control.cold_starts.remaining() if starting and live.cold else None,
        typical_start=control.cold_starts.typical,
        last_activity=None if isinf(gate.last_ended) else time.time() - (now - gate.last_ended),
        failure=str(life.failure) if life.failure else None,
        retry_in=refusal[1] if refusal else None,
        cold_starts=control.cold_starts.count,
        replica_seconds=costs.used,
        saved_replica_seconds=costs.saved,
        cost=costs.cost,
        cost_saved=costs.cost_saved,
        cost_today=today.cost,
        saved_today=today.saved,
        trouble=control.snapshot.trouble or None,
        fallback=_fallback(live, now=now),
        hosts=endpoint.match.hosts,
        paths=endpoint.match.paths,
    )


def outlook(control: Controller, *, now: float) -> Outlook:
    life, live, starts = control.life, control.live, control.cold_starts
    seen = control.snapshot
    phases = [each.phase for each in seen.replicas]
    # of one that runs there is only how its probes fail, which is for operators
    reasons = [each.detail for each in seen.replicas if each.phase is not Phase.STARTED]
    refusal = life.refusal(now=now)
    return Outlook(
        phase=max(phases, key=_ORDER.index, default=None),
        ready=not live.cold,
        paused=life.paused,
        detail="; ".join(reason for reason in (*reasons, seen.trouble) if reason),
        elapsed=starts.elapsed,
        whole=starts.whole,
        left=starts.left,
        failure=str(life.failure) if life.failure else "",
        retry_in=refusal[1] if refusal else None,
    )


def waiting_for(control: Controller) -> str:
    """What a request that waits is waiting for, in words."""
    live, seen = control.live, control.snapshot
    if live.gate.paused:
        return "the endpoint is paused"
    if not live.cold:
        return "every slot is taken"
    reasons = [control.prober.reason(each.id) or each.detail for each in seen.replicas]
    told = "; ".join(reason for reason in (*reasons, seen.trouble) if reason)
    return f"no replica is ready ({told})" if told else "no replica is ready"


def _fallback(live: LiveEndpoint, *, now: float) -> str | None:
    if live.fallback is None:
        return None
    return live.fallback.in_words(day=day_of(time.time()), now=now)


def gauges(control: Controller, *, now: float) -> Gauges:
    account, gate = control.account, control.live.gate
    account.read()
    costs, serving = account.costs, account.serving
    since = gate.held_since
    replicas: dict[str, int] = {}
    for each in control.snapshot.replicas:
        phase = _phase(control, each)
        replicas[phase] = replicas.get(phase, 0) + 1
    return Gauges(
        held=gate.held,
        held_limit=control.live.endpoint.queue.max_requests,
        oldest_held=0.0 if since is None else max(0.0, now - since),
        in_flight=gate.in_flight,
        replicas=replicas,
        replica_seconds={"ready": serving.used, "other": max(0.0, costs.used - serving.used)},
        cost=costs.cost,
        cost_saved=costs.cost_saved,
        key_seconds=_key_seconds(control.live.keys, now=now) if control.live.keys.is_used else {},
    )


def _key_seconds(keys: KeyMeter, *, now: float) -> dict[tuple[str, str], float]:
    return {
        (key, what): seconds
        for key, use in keys.read(now=now).items()
        for what, seconds in (
            ("slot", use.slot_seconds),
            ("wait", use.wait_seconds),
            ("kept", use.kept_seconds),
        )
    }


def _replica(control: Controller, sighting: Sighting, now: float) -> ReplicaStatus:
    ready = control.prober.ready(sighting.id)
    ready_at = control.prober.ready_at(sighting.id)
    since = ready_at if ready is not None and ready_at is not None else sighting.since
    reason = control.prober.reason(sighting.id)
    return ReplicaStatus(
        id=ready.id if ready else sighting.id,
        phase=_phase(control, sighting),
        address=f"{sighting.host}:{sighting.port}" if sighting.port else "",
        in_flight=control.prober.load(sighting.id),
        seconds_in_phase=max(0.0, now - since),
        detail="; ".join(part for part in (sighting.detail, reason) if part),
    )


def _phase(control: Controller, sighting: Sighting) -> str:
    if sighting.phase is not Phase.STARTED:
        return sighting.phase.value
    if control.rotation.is_leaving(sighting.id):
        return "retiring"
    if control.prober.ready(sighting.id) is not None:
        return "ready"
    return "started" if control.prober.ready_at(sighting.id) is None else "ejected"
