"""Requests per second through a ready endpoint, and what each costs the proxy in CPU time."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from bench import bursts, contestants, wrk
from bench.bursts import Case
from bench.contestants import NGINX_LINES, NO_LINES
from bench.report import Result
from bench.size import Size

if TYPE_CHECKING:
    from bench.bursts import Taken
    from bench.lab import Lab

TITLE: Final = "requests/s through a ready endpoint"
SMALL, LARGE, VARIED = "200 B", "4 KiB", "200 B, varied"
"""Answers. Varied: each request has a head of its own; who remembers heads gains nothing by it."""
ANSWERS: Final = {SMALL: "/small", LARGE: "/large", VARIED: "/small"}
OF_NGINX: Final = 0.70
OF_GO: Final = 1.4
JUDGED: Final = (16, 256)
"""Connections at which the activator is judged. One connection measures the way there and back."""


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int
    seconds: float
    connections: tuple[int, ...]
    answers: tuple[str, ...]


PLANS: Final = {
    Size.FULL: Plan(5, 1.0, (1, 16, 256), (SMALL, LARGE, VARIED)),
    Size.QUICK: Plan(1, 1.0, (1, 16), (SMALL, VARIED)),
    Size.SMOKE: Plan(1, 1.0, (4,), (SMALL,)),
}


def run(lab: Lab) -> Result:
    plan = PLANS[lab.size]
    if not wrk.installed():
        return Result("throughput", TITLE, asdict(plan), (), notes=("left out: no wrk here",))
    cases = [
        Case(name, ANSWERS[name], count, varied=name == VARIED)
        for name in plan.answers
        for count in plan.connections
    ]
    with ExitStack() as stack:
        upstream = stack.enter_context(lab.upstream())
        plain = (*contestants.PLAIN, NGINX_LINES)
        peers, left_out = contestants.enter(stack, lab, upstream, plain)
        ours, without = contestants.over_every_store(stack, lab, upstream)
        field = [stack.enter_context(lab.direct()), *peers, *ours]
        for each in field:
            bursts.warm(each, cases[0])
        taken = bursts.measure(field, cases, rounds=plan.rounds, seconds=plan.seconds)
    return result(plan, taken, left_out=[*left_out, *without])


def result(plan: Plan, taken: Taken, *, left_out: list[str]) -> Result:
    judged = [case for case in taken.bursts if case.connections in JUDGED]
    return Result(
        "throughput",
        TITLE,
        asdict(plan),
        taken.rows(),
        verdicts=(
            taken.nothing_failed(),
            *taken.at_least(OF_NGINX, of="nginx", ours="activator", cases=judged),
            # like beside like: both write a line for each request, or neither does
            *(
                verdict
                for of, ours in ((NGINX_LINES.name, "activator"), ("nginx", NO_LINES))
                for verdict in taken.at_least(OF_NGINX, of=of, ours=ours, cases=judged)
            ),
            *taken.at_least(OF_GO, of="go", ours="activator", cases=judged),
        ),
        notes=[*left_out, *taken.notes()],
        raw=taken.raw(),
    )
