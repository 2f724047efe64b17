"""Memory of the activator per request that waits for a cold endpoint: beside its body where that
stays in the process, in all where a store has it."""

from __future__ import annotations

import resource
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from bench import contestants
from bench.holding import Waiting
from bench.processes import LOOPBACK, free_port
from bench.redis_server import installed, redis_server
from bench.report import Result, Verdict
from bench.size import Size

if TYPE_CHECKING:
    from bench.lab import Lab
    from bench.report import Cell

TITLE: Final = "memory of the activator per held request"
BODY: Final = 4096
LIMIT_KIB: Final = 4.0
"""Beside the body, or in all where a store has the body: haproxy keeps a waiting request in 8.6,
Go's server in 13.7, aiohttp's in 14 (KiB, bodies included)."""
NAME: Final = "cold"
ROOM: Final = {"queue": {"maxRequests": 100_000, "maxBytes": "2GiB"}}
SPARE: Final = 300
"""Files that a process has open beside its clients' sockets, at most."""
MEMORY: Final = "memory"
REDIS: Final = "redis"


@dataclass(frozen=True, slots=True)
class Plan:
    counts: tuple[int, ...]


PLANS: Final = {
    Size.FULL: Plan((1_000, 10_000, 50_000)),
    Size.QUICK: Plan((1_000, 10_000)),
    Size.SMOKE: Plan((500,)),
}


def run(lab: Lab) -> Result:
    plan, notes = PLANS[lab.size], []
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE
    if plan.counts[-1] > most:
        notes.append(
            f"{most} held instead of {plan.counts[-1]}: a process may have {most + SPARE} files"
            " open here (ulimit -Hn), and each waiting client is one"
        )
    stores = [MEMORY]
    if installed():
        stores.append(REDIS)
    else:
        notes.append("left out: no redis-server here")
    rows = [_hold(lab, min(count, most), store) for store in stores for count in plan.counts]
    verdicts = [
        Verdict(
            f"{row['held']} held, {row['store']} store, PSS"
            f" {'beside the body' if row['store'] == MEMORY else 'in all'}",
            float(row["judged KiB"] or 0),
            LIMIT_KIB,
            "KiB each",
        )
        for row in rows
    ]
    return Result("held", TITLE, asdict(plan), rows, verdicts=verdicts, notes=notes)


def _hold(lab: Lab, count: int, store: str) -> dict[str, Cell]:
    """A fresh activator each time: memory that an earlier crowd has left behind hides the cost."""
    nobody = (LOOPBACK, free_port())
    with ExitStack() as stack:
        sections: dict[str, dict[str, object]] = {}
        if store == REDIS:
            sections["store"] = {"url": stack.enter_context(redis_server(lab))}
        endpoints = [contestants.static(NAME, nobody, **ROOM)]
        activator = stack.enter_context(
            contestants.activator(lab, endpoints, lags=None, has_lines=True, **sections)
        )
        waiting = Waiting(activator.address, host=NAME, body=BODY)
        stack.callback(waiting.close)
        before = activator.running.memory()
        waiting.send(count, held=lambda: int(activator.endpoint(NAME)["held"]))
        activator.running.rest()  # the last bodies are on their way to the store
        after = activator.running.memory()
    grown = (after.pss - before.pss) / count
    return {
        "store": store,
        "held": count,
        "body B": BODY,
        "PSS KiB": grown / 1024,
        "RSS KiB": (after.rss - before.rss) / count / 1024,
        "judged KiB": (grown - (BODY if store == MEMORY else 0)) / 1024,
        "limit KiB": LIMIT_KIB,
        "process before MiB": before.rss / 2**20,
        "process after MiB": after.rss / 2**20,
    }
