"""Two activators on two cores beside one on one: what the second one is worth, over one Redis, with
and without a limit that both share."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final

from bench import bursts, contestants, wrk
from bench.bursts import Case
from bench.redis_server import redis_server
from bench.report import Result, Verdict
from bench.rounds import interleaved, middle, spread
from bench.size import Size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.contestant import Contestant
    from bench.lab import Lab
    from bench.report import Cell
    from bench.wrk import Burst

TITLE: Final = "two activators on two cores beside one on one, over one Redis"
GAIN: Final = 1.8
"""Times the requests/s of one."""
KINDS: Final = ("unlimited", "limited")
CORES: Final = 4
"""That it takes to tell: two for the activators, one each for load and upstream."""


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int
    seconds: float
    connections: int
    """Of each activator that takes part."""


PLANS: Final = {
    Size.FULL: Plan(7, 2.0, 32),
    Size.QUICK: Plan(1, 1.0, 32),
    Size.SMOKE: Plan(1, 1.0, 2),
}


@dataclass(frozen=True, slots=True)
class Both:
    """What one or two activators did at once, as if they were one."""

    rate: float
    cpu_us: float
    """Of a request, of whichever activator had it."""
    errors: int

    @classmethod
    def of(cls, together: Sequence[Burst]) -> Both:
        requests = sum(one.requests for one in together)
        return cls(
            rate=sum(one.rate for one in together),
            cpu_us=sum(one.cpu_seconds for one in together) / requests * 1e6,
            errors=sum(one.errors for one in together),
        )


@dataclass(frozen=True, slots=True)
class Kind:
    """Of an endpoint, one a round: with one activator, with two."""

    name: str
    one: Sequence[Both]
    two: Sequence[Both]

    @property
    def gain(self) -> float:
        """Times the requests/s."""
        return middle(two.rate / one.rate for one, two in zip(self.one, self.two, strict=True))

    @property
    def dearer(self) -> float:
        """Times the CPU time of a request."""
        return middle(two.cpu_us / one.cpu_us for one, two in zip(self.one, self.two, strict=True))


def run(lab: Lab) -> Result:
    plan = PLANS[lab.size]
    if not wrk.installed():
        return Result("several", TITLE, asdict(plan), (), notes=("left out: no wrk here",))
    spare = lab.cores.spare
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(lab))
        upstream = stack.enter_context(lab.upstream())
        endpoints = [
            contestants.static("unlimited", upstream),
            contestants.static("limited", upstream, concurrency=contestants.LIMIT),
        ]
        cores = (lab.cores.contestant, spare[-1] if spare else lab.cores.load)
        labs = [replace(lab, cores=replace(lab.cores, contestant=core)) for core in cores]
        activators = [
            stack.enter_context(contestants.activator(each, endpoints, store={"url": redis}))
            for each in labs
        ]
        kinds: list[Kind] = []
        for name in KINDS:
            for each in activators:
                each.wait_for(name, within=contestants.READY_WITHIN, state="active")
            pair = [
                each.contestant(f"activator {number}", host=name)
                for number, each in enumerate(activators, 1)
            ]
            for one in pair:
                bursts.warm(one, _case(plan))
            taken = interleaved(
                [pair[:1], pair], rounds=plan.rounds, measure=lambda field: _together(field, plan)
            )
            kinds.append(Kind(name, *taken))
    return result(plan, kinds, can_tell=bool(spare))


def _case(plan: Plan) -> Case:
    return Case("200 B", "/small", plan.connections)


def _together(field: Sequence[Contestant], plan: Plan) -> Both:
    """A load for each at the same time."""
    case = _case(plan)
    with ThreadPoolExecutor(len(field)) as threads:
        return Both.of(
            list(threads.map(lambda each: bursts.burst(each, case, seconds=plan.seconds), field))
        )


def result(plan: Plan, kinds: Sequence[Kind], *, can_tell: bool) -> Result:
    """`can_tell`: each activator had a core of its own, and so had load and upstream."""
    rows: list[dict[str, Cell]] = []
    verdicts: list[Verdict] = []
    for kind in kinds:
        rows += [_row(kind, 1, kind.one), _row(kind, 2, kind.two)]
        if can_tell:
            what = f"two activators, {kind.name}, requests/s of one"
            verdicts.append(Verdict(what, kind.gain, GAIN, "times", at_least=True))
        else:
            what = f"two activators, {kind.name}, CPU time of a request of one's"
            verdicts.append(Verdict(what, kind.dearer, 2 / GAIN, "times"))
    errors = sum(each.errors for kind in kinds for each in (*kind.one, *kind.two))
    verdicts.append(Verdict("requests not answered with 200", errors, 0, ""))
    notes = [] if can_tell else [
        f"too few cores to tell what a second activator is worth: it takes {CORES}, and here it"
        " shares one with load or upstream. What can be told is whether a request gets dearer:"
        f" {GAIN:g} times the requests/s on two cores is at most {2 / GAIN:.2f} times the CPU time"
    ]  # fmt: skip
    return Result(
        "several",
        TITLE,
        asdict(plan),
        rows,
        verdicts=verdicts,
        notes=notes,
        raw={kind.name: asdict(kind) for kind in kinds},
    )


def _row(kind: Kind, activators: int, rounds: Sequence[Both]) -> dict[str, Cell]:
    return {
        "endpoint": kind.name,
        "activators": activators,
        "requests/s": middle(each.rate for each in rounds),
        "spread": spread([each.rate for each in rounds]),
        "of one": 1.0 if activators == 1 else kind.gain,
        "CPU µs": middle(each.cpu_us for each in rounds),
        "CPU of one's": 1.0 if activators == 1 else kind.dearer,
    }
