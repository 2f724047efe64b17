"""What a request costs the activator's own Python on the warm path, without a socket: counted,
which is judged by what was recorded, and timed, which is not.

A request that takes a fifth more bytecodes than when it was last recorded is a MISS, and fails
the tests. Whoever means it so records anew (`python -m bench path --record`), and the change of
`records/path.json` is there for all to see.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvloop

from bench.report import Result, Verdict
from bench.rounds import interleaved
from bench.size import Size
from bench.steps import count, thousand
from bench.warm_path import warm_path

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.lab import Lab
    from bench.report import Cell
    from bench.steps import Steps
    from bench.warm_path import Case

TITLE: Final = "what a request costs the activator's own Python, without sockets"
RECORDS: Final = Path(__file__).parents[1] / "records" / "path.json"
MARGIN: Final = 1.2
"""How many times what was recorded a request may take."""
PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
"""Each minor version has bytecodes of its own."""

Record = dict[str, dict[str, dict[str, int]]]
"""Version of Python → case → what was counted."""


@dataclass(frozen=True, slots=True)
class Plan:
    counted: int
    """Requests of each case."""
    rounds: int
    requests: int
    """Of each case in a round."""


PLANS: Final = {
    Size.FULL: Plan(51, 15, 1000),
    Size.QUICK: Plan(51, 5, 500),
    Size.SMOKE: Plan(21, 1, 100),
}


@dataclass(frozen=True, slots=True)
class Taken:
    """Of one case."""

    steps: Steps
    seconds: list[float]
    """CPU time of a request, one figure a round."""


def run(lab: Lab) -> Result:
    plan = PLANS[lab.size]
    taken, units = uvloop.run(_measure(plan, lab.folder))
    counted = {name: one.steps for name, one in taken.items()}
    if lab.record:
        write_record(counted)
    recorded = read_record().get(PYTHON, {})
    unit = min(units)
    rows = [_row(name, one, unit=unit, recorded=recorded) for name, one in taken.items()]
    return Result(
        "path",
        TITLE,
        asdict(plan),
        rows,
        verdicts=judge(counted, recorded),
        notes=[
            f"a unit is a thousand steps of plain Python: {unit * 1e6:.3g} µs here",
            *_stale(rows),
        ],
        raw={"python": PYTHON, "unit": units, **{n: asdict(one) for n, one in taken.items()}},
    )


def judge(counted: Mapping[str, Steps], recorded: Mapping[str, Mapping[str, int]]) -> list[Verdict]:
    """By what was recorded under this version of Python; what was not is not judged."""
    return [
        Verdict(f"{name}, bytecodes", steps.bytecodes, MARGIN * recorded[name]["bytecodes"], "")
        for name, steps in counted.items()
        if name in recorded
    ]


def read_record(file: Path = RECORDS) -> Record:
    record: Record = json.loads(file.read_text(encoding="utf-8"))
    return record


def write_record(counted: Mapping[str, Steps], file: Path = RECORDS) -> None:
    """Of this version of Python; what others have counted stays."""
    record = {**read_record(file), PYTHON: {name: asdict(steps) for name, steps in counted.items()}}
    file.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")


async def _measure(plan: Plan, folder: Path) -> tuple[dict[str, Taken], list[float]]:
    async with warm_path(folder) as cases:
        counted = [count(case.run, times=plan.counted) for case in cases]
        *timed, units = _time(cases, plan)
    taken = {
        case.name: Taken(steps, seconds)
        for case, steps, seconds in zip(cases, counted, timed, strict=True)
    }
    return taken, units


def _time(cases: Sequence[Case], plan: Plan) -> list[list[float]]:
    """Seconds of CPU time a round: of each case, and last of the unit."""
    runs: list[Callable[[], object]] = [*(case.run for case in cases), thousand]

    def timed(run: Callable[[], object]) -> float:
        began = time.process_time()
        for _ in range(plan.requests):
            run()
        return (time.process_time() - began) / plan.requests

    return interleaved(runs, rounds=plan.rounds, measure=timed)


def _row(
    name: str, taken: Taken, *, unit: float, recorded: Mapping[str, Mapping[str, int]]
) -> dict[str, Cell]:
    before = recorded.get(name)
    return {
        "request": name,
        "bytecodes": taken.steps.bytecodes,
        "of recorded": taken.steps.bytecodes / before["bytecodes"] if before else None,
        "Python calls": taken.steps.calls,
        "C calls": taken.steps.c_calls,
        "CPU µs": min(taken.seconds) * 1e6,
        "units": min(taken.seconds) / unit,
    }


def _stale(rows: Sequence[Mapping[str, Cell]]) -> list[str]:
    """What keeps the verdicts from saying much."""
    shares = [row["of recorded"] for row in rows]
    if None in shares:
        return [f"not recorded for Python {PYTHON}, so not judged: python -m bench path --record"]
    if any(isinstance(share, float) and share < 1 / MARGIN for share in shares):
        return ["much less than was recorded: python -m bench path --record keeps it so"]
    return []
