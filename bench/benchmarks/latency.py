"""What a proxy adds to a request's latency while the load is steady and nobody is in a hurry."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from bench import contestants, machine, paces
from bench.report import Result, Verdict
from bench.size import Size
from bench.steady import steady

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.lab import Lab
    from bench.paces import Taken

TITLE: Final = "latency at a steady rate, from the moment each request was due"
ADDED_P50: Final = 1.4
WHOLE_P99: Final = 1.3
"""Times nginx's."""


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int
    seconds: float
    rates: tuple[float, ...]


PLANS: Final = {
    Size.FULL: Plan(7, 3.0, (200.0, 2000.0)),
    Size.QUICK: Plan(1, 2.0, (200.0, 2000.0)),
    Size.SMOKE: Plan(1, 0.5, (200.0,)),
}


def run(lab: Lab) -> Result:
    plan = PLANS[lab.size]
    notes = [] if machine.sharpen_timers() else ["timers are 50 µs late here, for all alike"]
    with ExitStack() as stack:
        upstream = stack.enter_context(lab.upstream())
        peers, left_out = contestants.enter(stack, lab, upstream, contestants.PLAIN)
        ours, without = contestants.over_every_store(stack, lab, upstream)
        field = [stack.enter_context(lab.direct()), *peers, *ours]
        for each in field:
            steady(each, path="/small", rate=500.0, seconds=0.5)
        taken = paces.measure(field, plan.rates, rounds=plan.rounds, seconds=plan.seconds)
    return result(plan, taken, notes=[*notes, *left_out, *without])


def result(plan: Plan, taken: Taken, *, notes: Sequence[str]) -> Result:
    verdicts: list[Verdict] = []
    untold: list[str] = []
    for rate in taken.steadies:
        added = taken.added_to("activator", of="nginx", rate=rate)
        if added is not None and added > 0:
            what = f"activator, added p50 of what nginx adds, {rate:g}/s"
            verdicts.append(Verdict(what, added, ADDED_P50, "times"))
        elif taken.of("nginx", rate=rate) is not None:
            who = "nginx" if added is None else "the activator"
            untold.append(f"{rate:g}/s: {who} added nothing to be seen, nothing to judge by")
        whole = taken.p99_of("activator", of="nginx", rate=rate)
        if whole is not None:
            what = f"activator, p99 of nginx's, {rate:g}/s"
            verdicts.append(Verdict(what, whole, WHOLE_P99, "times"))
    return Result(
        "latency",
        TITLE,
        asdict(plan),
        taken.rows(),
        verdicts=verdicts,
        notes=[*notes, *untold, *taken.notes()],
        raw=taken.raw(),
    )
