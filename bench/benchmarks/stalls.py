"""What holds up the loop that serves requests and streams, where there are ten thousand endpoints:
whoever asks for all of them, a change of the configuration, Redis coming back; and how long it
takes to stop."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import redis

from bench import contestants, fleet, redis_server
from bench.failure import BenchError
from bench.lagging import worst
from bench.report import Result, Verdict
from bench.rounds import middle
from bench.size import Size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from bench.contestants import Activator
    from bench.lab import Lab
    from bench.report import Cell

TITLE: Final = "how late the loop is with many endpoints"
CALLS: Final = ("/metrics", "/api/endpoints", "/api/history", "/api/config", "/api/costs")
"""That tell of all endpoints."""
LAG: Final = 50.0
"""Milliseconds."""
STOP: Final = 5.0
"""Seconds: of the 30 that Kubernetes leaves a pod most are for what is in flight."""
PATIENCE: Final = 120.0
SETTLED: Final = 2.0
"""Seconds: by then it has begun."""
TRACE: Final = 0.02
"""Seconds after which the loop's last lag is surely noted."""


@dataclass(frozen=True, slots=True)
class Plan:
    endpoints: int
    used: int
    rounds: int
    rest: float
    """Seconds."""


PLANS: Final = {
    Size.FULL: Plan(10_000, 100, 5, 20.0),
    Size.QUICK: Plan(10_000, 100, 2, 10.0),
    Size.SMOKE: Plan(300, 10, 1, 0.5),
}


@dataclass(frozen=True, slots=True)
class Look:
    """At the activator while something went on."""

    took: float
    lag: float
    """The worst of its loop."""
    cpu: float
    """All in seconds."""
    size: int = 0
    """Bytes of an answer."""


def run(lab: Lab) -> Result:
    plan = PLANS[lab.size]
    looks: dict[str, list[Look]] = {}
    stopped: dict[str, float] = {}
    notes: list[str] = []
    with lab.upstream() as upstream:
        configured = fleet.endpoints(plan.endpoints, upstream, used=plan.used)
        with _settled(lab, configured) as (activator, look):
            looks["at rest"] = [look(lambda: _rest(plan))]
            for call in CALLS:
                answer = partial(activator.get, call)
                looks[f"GET {call}"] = [look(answer) for _ in range(plan.rounds)]
            looks["one endpoint more"] = [
                look(partial(_grow, activator, configured, by=count))
                for count in range(1, plan.rounds + 1)
            ]
            since = time.monotonic()
        stopped[""] = time.monotonic() - since
        if not redis_server.installed():
            notes.append("left out: no redis-server here (apt install redis-server)")
        else:
            with redis_server.redis_server(lab) as url:
                with _settled(lab, configured, store={"url": url}) as (activator, look):
                    looks["at rest, Redis"] = [look(lambda: _rest(plan))]
                    cut = partial(_cut, activator, url)
                    looks["Redis cuts all connections"] = [look(cut) for _ in range(plan.rounds)]
                    since = time.monotonic()
                stopped[", Redis"] = time.monotonic() - since
    return result(plan, looks, stopped=stopped, notes=notes)


def result(
    plan: Plan,
    looks: Mapping[str, list[Look]],
    *,
    stopped: Mapping[str, float],
    notes: Sequence[str] = (),
) -> Result:
    """`stopped`: after so many seconds, by what is said of the store."""
    return Result(
        "stalls",
        TITLE,
        asdict(plan),
        [_row(what, each) for what, each in looks.items()],
        verdicts=[
            *(
                Verdict(f"the loop's worst lag, {what}", _lag(each), LAG, "ms")
                for what, each in looks.items()
            ),
            *(
                Verdict(f"stopped, with {plan.endpoints} endpoints{store}, after", took, STOP, "s")
                for store, took in stopped.items()
            ),
        ],
        notes=notes,
        raw={what: [asdict(look) for look in each] for what, each in looks.items()},
    )


@contextmanager
def _settled(
    lab: Lab, configured: list[fleet.Endpoint], *, store: Mapping[str, Any] | None = None
) -> Iterator[tuple[Activator, Callable[[Callable[[], bytes]], Look]]]:
    """An activator that has come to rest, and what looks at it."""
    store = store or {}
    lags = lab.folder / f"lags-{len(store)}"
    with contestants.activator(lab, configured, lags=lags, store=store) as activator:
        activator.wait_until_ready(within=PATIENCE)
        activator.running.rest(within=PATIENCE)
        yield activator, partial(_look, activator, lags)


def _look(activator: Activator, lags: Path, do: Callable[[], bytes]) -> Look:
    used, since = activator.running.cpu_seconds(), time.monotonic()
    size = len(do())
    took = time.monotonic() - since
    cpu = activator.running.cpu_seconds() - used
    time.sleep(TRACE)
    return Look(took, worst(lags, since, time.monotonic()), cpu, size)


def _rest(plan: Plan) -> bytes:
    time.sleep(plan.rest)
    return b""


def _cut(activator: Activator, url: str) -> bytes:
    """Until what was missed has been looked up."""
    with redis.Redis.from_url(url) as told:
        for kind in ("pubsub", "normal"):
            told.client_kill_filter(_type=kind, skipme=True)
    time.sleep(SETTLED)
    activator.running.rest(within=PATIENCE)
    return b""


def _grow(activator: Activator, configured: list[fleet.Endpoint], *, by: int) -> bytes:
    """So many endpoints more than at first; until the last of them is at work."""
    names = [f"new-{number}" for number in range(by)]
    more = [{**configured[-1], "name": name, "match": {"hosts": [name]}} for name in names]
    activator.reconfigure([*configured, *more])
    until = time.monotonic() + PATIENCE
    while True:
        try:
            activator.get(f"/api/endpoints/{names[-1]}")
        except BenchError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return b""


def _lag(looks: list[Look]) -> float:
    """Milliseconds; of several looks the middle one, since whoever else is on the machine makes the
    loop late, too."""
    return middle(look.lag for look in looks) * 1e3


def _row(what: str, looks: list[Look]) -> dict[str, Cell]:
    return {
        "meanwhile": what,
        "worst lag ms": _lag(looks),
        "worst of all ms": max(look.lag for look in looks) * 1e3,
        "seconds": middle(look.took for look in looks),
        "CPU s": middle(look.cpu for look in looks),
        "MiB": looks[0].size / 2**20 or None,
    }
