"""Memory of the activator per request that waits for a cold endpoint, its body included."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from bench import contestants
from bench.holding import Waiting
from bench.processes import LOOPBACK, free_port
from bench.report import Result, Verdict
from bench.size import Size

if TYPE_CHECKING:
    from bench.lab import Lab
    from bench.report import Cell

TITLE: Final = "memory of the activator per held request"
BODY: Final = 4096
LIMIT_KIB: Final = 12.0
NAME: Final = "cold"
ROOM: Final = {"queue": {"maxRequests": 100_000, "maxBytes": "2GiB"}}


@dataclass(frozen=True, slots=True)
class Plan:
    counts: tuple[int, ...]


PLANS: Final = {
    Size.FULL: Plan((1_000, 10_000)),
    Size.QUICK: Plan((1_000, 10_000)),
    Size.SMOKE: Plan((500,)),
}


def run(lab: Lab) -> Result:
    plan = PLANS[lab.size]
    rows = [_hold(lab, count) for count in plan.counts]
    verdicts = [
        Verdict(
            f"PSS per request, {row['held']} held", float(row["PSS KiB"] or 0), LIMIT_KIB, "KiB"
        )
        for row in rows
    ]
    return Result("held", TITLE, asdict(plan), rows, verdicts=verdicts)


def _hold(lab: Lab, count: int) -> dict[str, Cell]:
    """A fresh activator each time: memory that an earlier crowd has left behind hides the cost."""
    nobody = (LOOPBACK, free_port())
    with contestants.activator(lab, [contestants.static(NAME, nobody, **ROOM)]) as activator:
        waiting = Waiting(activator.address, host=NAME, body=BODY)
        try:
            before = activator.running.memory()
            waiting.send(count, held=lambda: int(activator.endpoint(NAME)["held"]))
            after = activator.running.memory()
        finally:
            waiting.close()
    return {
        "held": count,
        "body B": BODY,
        "PSS KiB": (after.pss - before.pss) / count / 1024,
        "RSS KiB": (after.rss - before.rss) / count / 1024,
        "limit KiB": LIMIT_KIB,
        "process before MiB": before.rss / 2**20,
        "process after MiB": after.rss / 2**20,
    }
