"""What the garbage collector takes of requests: how often it comes, how long it stays, and what
settings change of that.

Requests are played without sockets, beside connections that rest: these are what a full collection
has to look at. Nothing here is judged; which setting `activator serve` has follows from it.
"""

from __future__ import annotations

import gc
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final

import uvloop

from bench.report import Result
from bench.size import Size
from bench.warm_path import warm_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench.lab import Lab
    from bench.report import Cell

TITLE: Final = "what the garbage collector takes of requests, beside connections that rest"


@dataclass(frozen=True, slots=True)
class Plan:
    connections: int
    """That rest, made after the start."""
    requests: int
    """Of each kind, under each setting."""


PLANS: Final = {
    Size.FULL: Plan(10_000, 10_000),
    Size.QUICK: Plan(10_000, 1_000),
    Size.SMOKE: Plan(200, 200),
}


@dataclass(frozen=True, slots=True)
class Setting:
    name: str
    freeze: bool = True
    """What is there after the start is never looked at again."""
    thresholds: tuple[int, int, int] = field(default_factory=gc.get_threshold)
    enabled: bool = True


SETTINGS: Final = (
    Setting("frozen, as served"),
    Setting("not frozen", freeze=False),
    Setting("frozen, first threshold 7000", thresholds=(7000, 10, 10)),
    Setting("frozen, off", enabled=False),
)


@dataclass(slots=True)
class Collections:
    """By generation: how many there were, and what all of one took. Seconds."""

    counts: list[int] = field(default_factory=lambda: [0, 0, 0])
    longest: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    total: float = 0.0
    requests: int = 0
    full: float = 0.0
    """One of everything, asked for at the end."""
    cpu: float = 0.0
    """Of a request, collections included."""


def run(lab: Lab) -> Result:
    plan = PLANS[lab.size]
    taken = {one.name: uvloop.run(_measure(one, plan, lab.folder)) for one in SETTINGS}
    return Result(
        "garbage",
        TITLE,
        asdict(plan),
        [_row(name, one) for name, one in taken.items()],
        raw={name: asdict(one) for name, one in taken.items()},
    )


async def _measure(setting: Setting, plan: Plan, folder: Path) -> Collections:
    async with warm_path(folder, resting=plan.connections) as cases:
        with _set(setting):
            return _collections([case.run for case in cases], times=plan.requests)


def _collections(runs: list[Callable[[], None]], *, times: int) -> Collections:
    taken = Collections(requests=times * len(runs))
    began = 0.0

    def each(phase: str, info: dict[str, int]) -> None:
        nonlocal began
        if phase == "start":
            began = time.thread_time()
            return
        took = time.thread_time() - began
        generation = info["generation"]
        taken.counts[generation] += 1
        taken.longest[generation] = max(taken.longest[generation], took)
        taken.total += took

    gc.callbacks.append(each)
    try:
        before = time.thread_time()
        for _ in range(times):
            for one in runs:
                one()
        taken.cpu = (time.thread_time() - before) / taken.requests
    finally:
        gc.callbacks.remove(each)
    before = time.thread_time()
    gc.collect()
    taken.full = time.thread_time() - before
    return taken


@contextmanager
def _set(setting: Setting) -> Iterator[None]:
    before = gc.get_threshold()
    if not setting.freeze:
        gc.unfreeze()
    gc.collect()
    gc.set_threshold(*setting.thresholds)
    if not setting.enabled:
        gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.set_threshold(*before)


def _row(name: str, taken: Collections) -> dict[str, Cell]:
    return {
        "setting": name,
        "µs/request": taken.cpu * 1e6,
        "of it for garbage": taken.total / taken.requests * 1e6,
        "requests a young one": taken.requests / taken.counts[0] if taken.counts[0] else None,
        "full ones": taken.counts[2],
        "longest ms": max(taken.longest) * 1e3,
        "a full one ms": taken.full * 1e3,
    }
