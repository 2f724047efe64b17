"""Requests per second through a ready endpoint, and what each costs the proxy in CPU time."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from bench import contestants, wrk
from bench.report import Result, Verdict
from bench.rounds import interleaved, middle, ratio, spread
from bench.size import Size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.contestant import Contestant
    from bench.lab import Lab
    from bench.report import Cell
    from bench.wrk import Burst

TITLE: Final = "requests/s through a ready endpoint"
LIMIT: Final = 256
"""Concurrency of the limited endpoint: beyond the connections, so that slots are counted and
nobody waits."""
SATURATED: Final = 0.93
"""Share of its core that a contestant has to use for its requests/s to be its own."""


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int
    seconds: float
    connections: tuple[int, ...]
    paths: tuple[str, ...]


PLANS: Final = {
    Size.FULL: Plan(5, 2.0, (1, 16, 64), ("/small", "/large")),
    Size.QUICK: Plan(1, 1.0, (1, 16), ("/small",)),
    Size.SMOKE: Plan(1, 1.0, (4,), ("/small",)),
}


def run(lab: Lab) -> Result:
    plan = PLANS[lab.size]
    if not wrk.installed():
        return Result("throughput", TITLE, asdict(plan), (), notes=("left out: no wrk here",))
    with ExitStack() as stack:
        upstream = stack.enter_context(lab.upstream())
        nginx = stack.enter_context(contestants.nginx(lab, upstream))
        activator = stack.enter_context(
            contestants.activator(
                lab,
                [
                    contestants.static("unlimited", upstream),
                    contestants.static("limited", upstream, concurrency=LIMIT),
                ],
            )
        )
        field = [
            stack.enter_context(lab.direct()),
            *([nginx] if nginx else []),
            activator.contestant("activator", host="unlimited"),
            activator.contestant("activator, limited", host="limited"),
        ]
        for each in field:
            wrk.burst(each, path="/small", connections=1, seconds=1.0)
        cases = [(path, count) for path in plan.paths for count in plan.connections]
        taken = {case: _measure(field, plan, *case) for case in cases}
    notes = [] if nginx else ["left out: no nginx here"]
    return _result(plan, field, taken, notes)


def _measure(
    field: Sequence[Contestant], plan: Plan, path: str, connections: int
) -> list[list[Burst]]:
    return interleaved(
        field,
        rounds=plan.rounds,
        measure=lambda each: wrk.burst(
            each, path=path, connections=connections, seconds=plan.seconds
        ),
    )


def _result(
    plan: Plan,
    field: Sequence[Contestant],
    taken: dict[tuple[str, int], list[list[Burst]]],
    notes: list[str],
) -> Result:
    rows: list[dict[str, Cell]] = []
    errors = 0
    raw: dict[str, object] = {}
    unsaturated: set[str] = set()
    for (path, connections), bursts in taken.items():
        of_nginx = next((b for c, b in zip(field, bursts, strict=True) if c.name == "nginx"), None)
        for contestant, rounds in zip(field, bursts, strict=True):
            row = _row(path, connections, contestant, rounds, of_nginx)
            rows.append(row)
            errors += sum(burst.errors for burst in rounds)
            raw[f"{path} {connections} {contestant.name}"] = [asdict(burst) for burst in rounds]
            busy = row["core used"]
            if connections > 1 and isinstance(busy, float) and busy < SATURATED:
                unsaturated.add(contestant.name)
    if unsaturated:
        notes.append(
            f"{', '.join(sorted(unsaturated))}: did not fill the core with several connections, so"
            " that load, upstream or others set the pace; CPU time compares more fairly then"
        )
    return Result(
        "throughput",
        TITLE,
        asdict(plan),
        rows,
        verdicts=(Verdict("requests not answered with 200", errors, 0, ""),),
        notes=notes,
        raw=raw,
    )


def _row(
    path: str,
    connections: int,
    contestant: Contestant,
    rounds: Sequence[Burst],
    of_nginx: Sequence[Burst] | None,
) -> dict[str, Cell]:
    rate = middle(burst.rate for burst in rounds)
    cpu = middle(burst.cpu_us for burst in rounds)
    nginx_rate = middle(burst.rate for burst in of_nginx) if of_nginx else None
    nginx_cpu = middle(burst.cpu_us for burst in of_nginx) if of_nginx else None
    return {
        "answer": path.strip("/"),
        "connections": connections,
        "contestant": contestant.name,
        "requests/s": rate,
        "spread": spread([burst.rate for burst in rounds]),
        "of nginx": ratio(rate, nginx_rate),
        "CPU µs/request": cpu,
        "to nginx": ratio(cpu, nginx_cpu),
        "core used": middle(burst.busy for burst in rounds),
    }
