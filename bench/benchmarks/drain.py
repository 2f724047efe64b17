"""A line of held requests once a replica answers: how fast it empties, in which order, how many
are at the replica at once."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Final

from bench import contestants
from bench.benchmarks.held import BODY, NAME, ROOM
from bench.holding import Waiting
from bench.processes import LOOPBACK, free_port, python, started, wait_until_listening
from bench.report import Result, Verdict
from bench.size import Size

if TYPE_CHECKING:
    from bench.lab import Lab
    from bench.processes import Address
    from bench.report import Cell

TITLE: Final = "a line of held requests, drained once a replica answers"


@dataclass(frozen=True, slots=True)
class Case:
    count: int
    slots: int
    work: float
    """Seconds that a request takes at the replica."""


@dataclass(frozen=True, slots=True)
class Plan:
    cases: tuple[Case, ...]


PLANS: Final = {
    # instant: how fast; with work: the slots fill up; one slot: an order without concurrency
    Size.FULL: Plan((Case(10_000, 32, 0.0), Case(10_000, 32, 0.005), Case(2_000, 1, 0.0))),
    Size.QUICK: Plan((Case(10_000, 32, 0.0), Case(2_000, 32, 0.005), Case(1_000, 1, 0.0))),
    Size.SMOKE: Plan((Case(300, 32, 0.002), Case(100, 1, 0.0))),
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


def run(lab: Lab) -> Result:
    plan = PLANS[lab.size]
    drained = [_drain(lab, case) for case in plan.cases]
    rows: list[dict[str, Cell]] = [
        {
            "held": one.case.count,
            "slots": one.case.slots,
            "work ms": one.case.work * 1e3,
            "requests/s": one.per_second,
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
    return Result(
        "drain",
        TITLE,
        {"cases": [asdict(case) for case in plan.cases]},
        rows,
        verdicts=verdicts,
        raw={"drained": [asdict(one) for one in drained]},
    )


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
            with started(command, core=lab.cores.upstream, log=log) as running:
                wait_until_listening(port, by=running)
                answered = waiting.collect()
                journal = _journal(replica)
        finally:
            waiting.close()
    return _judge(case, answered, journal)


def _journal(replica: Address) -> dict[str, object]:
    connection = HTTPConnection(*replica, timeout=10.0)
    connection.request("GET", "/journal")
    journal: dict[str, object] = json.loads(connection.getresponse().read())
    connection.close()
    return journal


def _judge(case: Case, answered: list[float | None], journal: dict[str, object]) -> Drained:
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
    )
