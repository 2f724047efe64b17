"""What a concurrency limit costs that several activators would share: an endpoint with one, whose
slots are counted in Redis, beside one without at the same activator."""

from __future__ import annotations

import json
import subprocess
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from bench import bursts, contestants, wrk
from bench.bursts import Case, Taken
from bench.failure import BenchError
from bench.machine import pinned, sharpen_timers
from bench.processes import python
from bench.redis_server import redis_server
from bench.report import Result, Verdict
from bench.rounds import interleaved, middle, percentile, spread
from bench.size import Size
from bench.steady import steady

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.contestant import Contestant
    from bench.lab import Lab
    from bench.report import Cell
    from bench.wrk import Burst

TITLE: Final = "an endpoint with a limit whose slots are counted in Redis"
LIMITED, UNLIMITED, BARE = "limited", "unlimited", "bare round trip"
ASKING: Final = "asking"
ASKING_LIMIT: Final = 7
"""Too small a limit for slots to be kept: each request asks Redis, which is what its pace tells."""
RATE_LIMIT: Final = 8000.0
"""Requests/s of one core."""
ADDED_LIMIT: Final = 2.5
"""Bare round trips."""
IMPOSSIBLE: Final = -0.5
"""Bare round trips: a limit takes no time away."""


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int
    seconds: float
    connections: tuple[int, ...]
    varied: tuple[bool, ...]
    """Whether each request has a head of its own."""
    rates: tuple[float, ...]


PLANS: Final = {
    Size.FULL: Plan(7, 2.0, (16, 256), (False, True), (200.0, 2000.0)),
    Size.QUICK: Plan(1, 1.0, (16,), (False, True), (200.0, 2000.0)),
    Size.SMOKE: Plan(1, 1.0, (4,), (True,), (200.0,)),
}


@dataclass(frozen=True, slots=True)
class Pace:
    """At one rate, once a round: p50 of both endpoints and of the bare round trip, seconds."""

    rate: float
    unlimited: Sequence[float]
    limited: Sequence[float]
    bare: Sequence[float]

    @property
    def added(self) -> float:
        """By the limit, in bare round trips; round by round, between runs next to each other."""
        rounds = zip(self.limited, self.unlimited, self.bare, strict=True)
        return middle((limited - unlimited) / bare for limited, unlimited, bare in rounds)


def run(lab: Lab) -> Result:
    plan = PLANS[lab.size]
    notes = [] if sharpen_timers() else ["timers are 50 µs late here, for all alike"]
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(lab))
        upstream = stack.enter_context(lab.upstream())
        activator = stack.enter_context(
            contestants.activator(
                lab,
                [
                    contestants.static(UNLIMITED, upstream),
                    contestants.static(LIMITED, upstream, concurrency=contestants.LIMIT),
                    contestants.static(ASKING, upstream, concurrency=ASKING_LIMIT),
                ],
                store={"url": redis},
            )
        )
        unlimited, limited, asking = (
            activator.contestant(host, host=host) for host in (UNLIMITED, LIMITED, ASKING)
        )
        for each in (unlimited, limited, asking):
            activator.wait_for(each.host, within=contestants.READY_WITHIN, state="active")
            steady(each, path="/small", rate=500.0, seconds=0.5)
        port = int(redis.rpartition(":")[2])
        steadily = [unlimited, asking]
        paces = [_pace(lab, plan, steadily, rate=rate, redis=port) for rate in plan.rates]
        field = [unlimited, limited]
        if wrk.installed():
            cases = [
                Case("200 B, varied" if varied else "200 B", "/small", count, varied=varied)
                for varied in plan.varied
                for count in plan.connections
            ]
            taken = bursts.measure(field, cases, rounds=plan.rounds, seconds=1.0)
        else:
            notes.append("left out: no wrk here, so no requests/s")
            taken = Taken(field, {})
    return result(plan, paces, taken, notes=notes)


def _pace(lab: Lab, plan: Plan, field: Sequence[Contestant], *, rate: float, redis: int) -> Pace:
    def p50(of: Contestant | None) -> float:
        if of is None:
            return percentile(_bare(lab, redis, rate=rate, seconds=plan.seconds), 0.5)
        return steady(of, path="/small", rate=rate, seconds=plan.seconds).p50

    return Pace(rate, *interleaved([*field, None], rounds=plan.rounds, measure=p50))


def _bare(lab: Lab, port: int, *, rate: float, seconds: float) -> list[float]:
    """Seconds, in order, as seen from the contestant's core."""
    command = python(
        "bench.round_trips", *(f"--port={port}", f"--rate={rate}", f"--seconds={seconds}")
    )
    with pinned(lab.cores.contestant):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"the bare round trip: {done.stderr.strip()}")
    return sorted(json.loads(done.stdout))


def result(plan: Plan, paces: Sequence[Pace], taken: Taken, *, notes: Sequence[str]) -> Result:
    rows: list[dict[str, Cell]] = []
    verdicts = [taken.nothing_failed()] if taken.bursts else []
    untold: list[str] = []
    for pace in paces:
        for name in (UNLIMITED, LIMITED, BARE):
            rows.append(_pace_row(pace, name))
        if pace.added < IMPOSSIBLE:
            untold.append(
                f"{pace.rate:g}/s: with a limit it was faster than without by more than chance"
                " explains on a quiet machine, nothing to judge by"
            )
        else:
            what = f"p50 added by the limit at {pace.rate:g}/s"
            verdicts.append(Verdict(what, pace.added, ADDED_LIMIT, "bare round trips"))
    for case in taken.bursts:
        for name in (UNLIMITED, LIMITED):
            rows.append(_burst_row(case, name, taken.of(case, name) or ()))
        what = f"limited, requests in a second of CPU time, {case}"
        a_core = middle(_a_core(one) for one in taken.of(case, LIMITED) or ())
        verdicts.append(Verdict(what, a_core, RATE_LIMIT, "/s", at_least=True))
    return Result(
        "limited",
        TITLE,
        asdict(plan),
        rows,
        verdicts=verdicts,
        notes=[*notes, *untold],
        raw={"paces": [asdict(pace) for pace in paces], "bursts": taken.raw()},
    )


def _pace_row(pace: Pace, name: str) -> dict[str, Cell]:
    seconds = {UNLIMITED: pace.unlimited, LIMITED: pace.limited, BARE: pace.bare}[name]
    return {
        "load": f"{pace.rate:g}/s",
        "what": name,
        "p50 µs": middle(seconds) * 1e6,
        "added, in bare round trips": pace.added if name == LIMITED else None,
        "requests/s": None,
        "CPU µs": None,
        "requests/s a core": None,
        "spread": spread(seconds),
    }


def _burst_row(case: Case, name: str, rounds: Sequence[Burst]) -> dict[str, Cell]:
    return {
        "load": str(case),
        "what": name,
        "p50 µs": None,
        "added, in bare round trips": None,
        "requests/s": middle(one.rate for one in rounds),
        "CPU µs": middle(one.cpu_us for one in rounds),
        "requests/s a core": middle(_a_core(one) for one in rounds),
        "spread": spread([one.rate for one in rounds]),
    }


def _a_core(burst: Burst) -> float:
    """Requests in a second of CPU time: its requests/s, had it filled its core."""
    return 1e6 / burst.cpu_us
