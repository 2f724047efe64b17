"""A line of held requests once a replica answers: how fast it empties, in which order, how many
are at the replica at once."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Final

from bench import contestants
from bench.benchmarks.held import BODY, NAME, ROOM
from bench.failure import BenchError
from bench.holding import Waiting
from bench.processes import LOOPBACK, free_port, python, started, wait_until_listening
from bench.report import Result, Verdict
from bench.rounds import percentile
from bench.size import Size

if TYPE_CHECKING:
    from bench.contestants import Activator
    from bench.lab import Lab
    from bench.processes import Address
    from bench.report import Cell

TITLE: Final = "a line of held requests, drained once a replica answers"
FIRST_P50_MS: Final = 40.0
FIRST_P99_MS: Final = 120.0
"""From the moment a replica answers to the first byte of a request at it."""
PER_SECOND: Final = 15_000.0
"""Dispatches at least, with a replica that answers at once."""
FEW: Final = 50
"""Requests that wait for each of the starts."""
READY_INTERVAL: Final = 0.2
"""Seconds between probes of a ready replica, here: until it is seen that one has gone."""
PATIENCE: Final = 30.0


@dataclass(frozen=True, slots=True)
class Case:
    count: int
    slots: int
    work: float
    """Seconds that a request takes at the replica."""


@dataclass(frozen=True, slots=True)
class Plan:
    cases: tuple[Case, ...]
    starts: int
    """Of a replica while a few wait, for how long its first byte takes."""


PLANS: Final = {
    # instant: how fast; with work: the slots fill up; one slot: an order without concurrency
    Size.FULL: Plan((Case(10_000, 32, 0.0), Case(10_000, 32, 0.005), Case(2_000, 1, 0.0)), 60),
    Size.QUICK: Plan((Case(10_000, 32, 0.0), Case(2_000, 32, 0.005), Case(1_000, 1, 0.0)), 15),
    Size.SMOKE: Plan((Case(300, 32, 0.002), Case(100, 1, 0.0)), 2),
}


@dataclass(frozen=True, slots=True)
class Drained:
    case: Case
    lost: int
    """Not answered, or with another one's answer, or met the replica twice or never."""
    displaced: int
    """The furthest that a request came before or behind its place in line."""
    out_of_order: int
    most_in_flight: int
    first_after: float
    """Seconds from the replica's listening to its first request."""
    per_second: float
    cpu_us: float
    """Of the activator, a request."""


def run(lab: Lab) -> Result:
    plan = PLANS[lab.size]
    drained = [_drain(lab, case) for case in plan.cases]
    firsts = sorted(_first_bytes(lab, plan.starts))
    rows: list[dict[str, Cell]] = [
        {
            "held": one.case.count,
            "slots": one.case.slots,
            "work ms": one.case.work * 1e3,
            "requests/s": one.per_second,
            "CPU µs/request": one.cpu_us,
            "lost": one.lost,
            "out of place": one.out_of_order,
            "by at most": one.displaced,
            "most in flight": one.most_in_flight,
            "first after ms": one.first_after * 1e3,
        }
        for one in drained
    ]
    verdicts: list[Verdict] = []
    for one in drained:
        which = f"{one.case.count} through {one.case.slots}, {one.case.work * 1e3:g} ms each"
        verdicts += (
            Verdict(f"lost, {which}", one.lost, 0, ""),
            # those in flight at once have no order among them
            Verdict(f"out of place by, {which}", one.displaced, one.case.slots - 1, ""),
            Verdict(f"in flight at the replica, {which}", one.most_in_flight, one.case.slots, ""),
        )
        if not one.case.work and one.case.slots > 1:
            verdicts.append(
                Verdict(f"dispatches, {which}", one.per_second, PER_SECOND, "/s", at_least=True)
            )
    p50, p99 = (percentile(firsts, share) * 1e3 for share in (0.5, 0.99))
    verdicts += (
        Verdict(
            f"first byte after a replica listens, p50 of {plan.starts}", p50, FIRST_P50_MS, "ms"
        ),
        Verdict(
            f"first byte after a replica listens, p99 of {plan.starts}", p99, FIRST_P99_MS, "ms"
        ),
    )
    return Result(
        "drain",
        TITLE,
        {"cases": [asdict(case) for case in plan.cases], "starts": plan.starts},
        rows,
        verdicts=verdicts,
        notes=[f"first byte, {FEW} waiting, {plan.starts} starts: {_spelled(firsts)}"],
        raw={"drained": [asdict(one) for one in drained], "first bytes": firsts},
    )


def _spelled(firsts: list[float]) -> str:
    told = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
    return ", ".join(f"{name} {percentile(firsts, at) * 1e3:.0f} ms" for name, at in told.items())


def _first_bytes(lab: Lab, starts: int) -> list[float]:
    """Seconds from a replica's listening to the first byte of a request there, for each of its
    starts; each at another moment of the probes' pace."""
    port = free_port()
    replica = (LOOPBACK, port)
    probe = {"readyInterval": READY_INTERVAL}
    endpoint = contestants.static(NAME, replica, concurrency=32, probe=probe, **ROOM)
    found: list[float] = []
    with contestants.activator(lab, [endpoint]) as activator:
        for _ in range(starts):
            found.append(_first_byte(lab, activator, replica))
            _wait_until_gone(activator)
    return found


def _first_byte(lab: Lab, activator: Activator, replica: Address) -> float:
    waiting = Waiting(activator.address, host=NAME, body=BODY)
    command = python("bench.recorder", "--port", str(replica[1]), "--load-seconds", "0", "0.1")
    log = lab.folder / "recorder.log"
    try:
        waiting.send(FEW, held=lambda: int(activator.endpoint(NAME)["held"]))
        with started(command, core=lab.cores.upstream, log=log) as running:
            answered = waiting.collect()
            running.check()
            drained = _judge(Case(FEW, 32, 0.0), answered, _journal(replica))
    finally:
        waiting.close()
    if drained.lost:
        raise BenchError(f"{drained.lost} of {FEW} requests were lost at the start of a replica")
    return drained.first_after


def _wait_until_gone(activator: Activator) -> None:
    """Until the activator knows that its replica has."""
    until = time.monotonic() + PATIENCE
    while any(each["phase"] == "ready" for each in activator.endpoint(NAME)["replicas"]):
        if time.monotonic() > until:
            raise BenchError("a replica that has gone is still ready")
        time.sleep(0.01)


def _drain(lab: Lab, case: Case) -> Drained:
    port = free_port()
    replica = (LOOPBACK, port)
    endpoint = contestants.static(NAME, replica, concurrency=case.slots, **ROOM)
    command = python("bench.recorder", "--port", str(port), "--work", str(case.work))
    log = lab.folder / "recorder.log"
    with contestants.activator(lab, [endpoint]) as activator:
        waiting = Waiting(activator.address, host=NAME, body=BODY)
        try:
            waiting.send(case.count, held=lambda: int(activator.endpoint(NAME)["held"]))
            used = activator.running.cpu_seconds()
            with started(command, core=lab.cores.upstream, log=log) as running:
                wait_until_listening(port, by=running)
                answered = waiting.collect()
                used = activator.running.cpu_seconds() - used
                journal = _journal(replica)
        finally:
            waiting.close()
    return _judge(case, answered, journal, cpu_seconds=used)


def _journal(replica: Address) -> dict[str, object]:
    connection = HTTPConnection(*replica, timeout=10.0)
    connection.request("GET", "/journal")
    journal: dict[str, object] = json.loads(connection.getresponse().read())
    connection.close()
    return journal


def _judge(
    case: Case,
    answered: list[float | None],
    journal: dict[str, object],
    *,
    cpu_seconds: float = 0.0,
) -> Drained:
    arrivals = journal["arrivals"]
    assert isinstance(arrivals, list)
    moments = [moment for moment, _ in arrivals]
    order = [int(path.strip("/")) for _, path in arrivals]
    astray = len(order) - len(set(order)) + len(set(range(case.count)) - set(order))
    away = [abs(place - number) for place, number in enumerate(order)]
    listening_at = journal["listening_at"]
    most = journal["most_in_flight"]
    assert isinstance(listening_at, float)
    assert isinstance(most, int)
    took = moments[-1] - moments[0] if len(moments) > 1 else 0.0
    return Drained(
        case,
        lost=max(answered.count(None), astray),
        displaced=max(away, default=0),
        out_of_order=sum(1 for distance in away if distance),
        most_in_flight=most,
        first_after=moments[0] - listening_at if moments else 0.0,
        per_second=(len(moments) - 1) / took if took else 0.0,
        cpu_us=cpu_seconds / case.count * 1e6,
    )
