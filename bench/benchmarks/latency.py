"""What a proxy adds to a request's latency while the load is steady and nobody is in a hurry."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from bench import contestants, machine
from bench.report import Result
from bench.rounds import interleaved, middle, ratio, spread
from bench.size import Size
from bench.steady import steady

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.contestant import Contestant
    from bench.lab import Lab
    from bench.report import Cell
    from bench.steady import Steady

TITLE: Final = "latency at a steady rate, from the moment each request was due"


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int
    seconds: float
    rates: tuple[float, ...]


PLANS: Final = {
    Size.FULL: Plan(7, 4.0, (200.0, 2000.0)),
    Size.QUICK: Plan(1, 2.0, (200.0, 2000.0)),
    Size.SMOKE: Plan(1, 0.5, (200.0,)),
}


def run(lab: Lab) -> Result:
    plan = PLANS[lab.size]
    notes = [] if machine.sharpen_timers() else ["timers are 50 µs late here, for all alike"]
    with ExitStack() as stack:
        upstream = stack.enter_context(lab.upstream())
        nginx = stack.enter_context(contestants.nginx(lab, upstream))
        activator = stack.enter_context(
            contestants.activator(lab, [contestants.static("unlimited", upstream)])
        )
        field = [
            stack.enter_context(lab.direct()),
            *([nginx] if nginx else []),
            activator.contestant("activator", host="unlimited"),
        ]
        for each in field:
            steady(each, path="/small", rate=500.0, seconds=0.5)
        taken = {rate: _measure(field, plan, rate) for rate in plan.rates}
    if nginx is None:
        notes.append("left out: no nginx here")
    rows: list[dict[str, Cell]] = []
    for rate, measured in taken.items():
        rows += _rows(rate, field, measured)
    return Result(
        "latency", TITLE, asdict(plan), rows, notes=notes, raw={
            f"{rate:g} {contestant.name}": [
                {"p50": one.p50, "p99": one.p99, "late_p99": one.late_p99} for one in rounds
            ]
            for rate, measured in taken.items()
            for contestant, rounds in zip(field, measured, strict=True)
        },
    )  # fmt: skip


def _measure(field: Sequence[Contestant], plan: Plan, rate: float) -> list[list[Steady]]:
    return interleaved(
        field,
        rounds=plan.rounds,
        measure=lambda each: steady(each, path="/small", rate=rate, seconds=plan.seconds),
    )


def _rows(
    rate: float, field: Sequence[Contestant], measured: Sequence[Sequence[Steady]]
) -> list[dict[str, Cell]]:
    """`measured` begins with the upstream itself; what a contestant adds is taken round by round,
    between runs that lie next to each other."""
    base = measured[0]
    added = {
        contestant.name: middle(
            one.p50 - plain.p50 for one, plain in zip(rounds, base, strict=True)
        )
        for contestant, rounds in zip(field, measured, strict=True)
    }
    rows: list[dict[str, Cell]] = []
    nginx_p99 = next(
        (
            middle(one.p99 for one in rounds)
            for contestant, rounds in zip(field, measured, strict=True)
            if contestant.name == "nginx"
        ),
        None,
    )
    for contestant, rounds in zip(field, measured, strict=True):
        is_base = rounds is base
        p99 = middle(one.p99 for one in rounds)
        rows.append(
            {
                "requests/s": rate,
                "contestant": contestant.name,
                "p50 µs": middle(one.p50 for one in rounds) * 1e6,
                "spread": spread([one.p50 for one in rounds]),
                "p99 µs": p99 * 1e6,
                "added p50 µs": None if is_base else added[contestant.name] * 1e6,
                "to nginx's": None
                if is_base
                else ratio(added[contestant.name], added.get("nginx")),
                "p99 to nginx's": None if is_base else ratio(p99, nginx_p99),
                "sent late p99 µs": middle(one.late_p99 for one in rounds) * 1e6,
            }
        )
    return rows
