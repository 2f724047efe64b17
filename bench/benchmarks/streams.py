"""Server-sent events: many slow streams, what a chunk costs, how many streams one core carries."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final

from bench import contestants, streams
from bench.report import Result, Verdict
from bench.rounds import interleaved, middle, ratio
from bench.size import Size
from bench.streams import Load

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.contestant import Contestant
    from bench.lab import Lab
    from bench.report import Cell
    from bench.streams import Reading

TITLE: Final = "streams of 156 B chunks"
INTERVAL: Final = 0.02
"""Seconds between two chunks of a stream: a model that generates 50 tokens a second."""
ADDED_MOST: Final = 0.005
"""Seconds by which a carried stream's chunks may be later than without a proxy, p99 beside p99."""
COST_LIMIT: Final = 1.25
"""Times nginx's CPU time."""
TRIES: Final = 2
"""At each number of streams: a bad moment of the machine ends no climb."""
SLOW_INTERVAL: Final = 1.0
CONNECTED: Final = 2000.0
"""Requests a second that every contestant answers while slow streams are opened."""
EDGE: Final = 0.4
"""Seconds of each run that do not count: its first, and its last, when all streams end at once."""


@dataclass(frozen=True, slots=True)
class Plan:
    slow: int
    """Streams."""
    slow_chunks: int
    costs: tuple[int, ...]
    """Streams at which it is told what a chunk costs."""
    rounds: int
    seconds: float
    """That count, of each run."""
    ladder: tuple[int, ...]
    """Streams: each contestant climbs until it fails."""


LADDER: Final = (100, 200, 400, 600, 800, 1000, 1250, 1600, 2000, 2500, 3200)
PLANS: Final = {
    Size.FULL: Plan(5_000, 10, (50, 400), 3, 2.0, LADDER),
    Size.QUICK: Plan(5_000, 4, (50, 400), 1, 1.0, (200, 400, 800, 1600, 3200)),
    Size.SMOKE: Plan(20, 3, (5,), 1, 0.2, (5, 10)),
}


def run(lab: Lab) -> Result:
    plan = PLANS[lab.size]
    streamer = streams.program()
    if streamer is None:
        return Result("streams", TITLE, asdict(plan), (), notes=("left out: no Go here",))
    with ExitStack() as stack:
        upstream = stack.enter_context(streams.source(lab, streamer))
        peers, notes = contestants.enter(stack, lab, upstream, contestants.PLAIN)
        # one each, for memory that the other's streams have left behind would hide what it takes
        plain, openai = (
            stack.enter_context(
                contestants.activator(lab, [contestants.static("model", upstream, dialect=dialect)])
            )
            for dialect in ("plain", "openai")
        )
        bench = _Bench(
            streamer,
            plan,
            direct=stack.enter_context(streams.direct(lab, streamer)),
            peers=peers,
            ours=[
                plain.contestant("activator", host="model"),
                openai.contestant("activator, openai", host="model"),
            ],
            notes=notes,
        )
        bench.slow()
        bench.costs()
        bench.climb()
    return Result(
        "streams",
        TITLE,
        asdict(plan),
        bench.rows,
        verdicts=bench.verdicts,
        notes=bench.notes,
        raw=bench.raw,
    )


@dataclass(slots=True)
class _Bench:
    streamer: Path
    plan: Plan
    direct: Contestant
    peers: Sequence[Contestant]
    ours: Sequence[Contestant]
    notes: list[str]
    rows: list[dict[str, Cell]] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    raw: dict[str, object] = field(default_factory=dict)

    def _read(self, to: Contestant, count: int) -> Reading:
        counted, edge = round(self.plan.seconds / INTERVAL), round(EDGE / INTERVAL)
        load = Load(count, edge + counted + edge, INTERVAL, warm=edge, cool=edge)
        return streams.read(self.streamer, to, load)

    # --- many slow ones -------------------------------------------------------------------------

    def slow(self) -> None:
        for each in [*self.peers, *self.ours]:
            before = each.running.memory().pss
            reading, after = self._read_slow(each)
            row = _row("slow", each.name, [reading])
            row["KiB/stream"] = (after - before) / reading.streams / 1024
            self.rows.append(row)
            self.raw[f"slow {each.name}"] = asdict(reading)
            if reading.first:
                self.notes.append(f"{each.name}, slow: {reading.first}")
            if each in self.ours:
                what = f"{each.name}: slow streams not whole, of {reading.streams}"
                self.verdicts.append(Verdict(what, reading.streams - reading.whole, 0, ""))

    def _read_slow(self, to: Contestant) -> tuple[Reading, int]:
        """And the bytes of memory meanwhile."""
        plan = self.plan
        lead = 1.0 + plan.slow / CONNECTED
        load = Load(plan.slow, plan.slow_chunks, SLOW_INTERVAL, warm=1, cool=1, lead=lead)
        memory: list[int] = []
        reading = streams.read(
            self.streamer, to, load, meanwhile=lambda: memory.append(to.running.memory().pss)
        )
        return reading, memory[0]

    # --- what a chunk costs ---------------------------------------------------------------------

    def costs(self) -> None:
        for count in self.plan.costs:
            self._cost(count)

    def _cost(self, count: int) -> None:
        everybody = [self.direct, *self.peers, *self.ours]
        taken = interleaved(
            everybody, rounds=self.plan.rounds, measure=lambda each: self._read(each, count)
        )
        readings = {each.name: rounds for each, rounds in zip(everybody, taken, strict=True)}
        cost = {name: middle(one.cpu_us for one in rounds) for name, rounds in readings.items()}
        nginx = cost.get("nginx")
        for name, rounds in readings.items():
            self.rows.append(_row("cost", name, rounds, base=readings["direct"], nginx=nginx))
        for each in self.ours:
            broken = sum(one.streams - one.whole for one in readings[each.name])
            what = f"{each.name}: streams not whole, {count} at once"
            self.verdicts.append(Verdict(what, broken, 0, ""))
            if nginx:
                what = f"{each.name}: CPU of a chunk to nginx's, {count} streams"
                self.verdicts.append(Verdict(what, cost[each.name] / nginx, COST_LIMIT, ""))
        self.raw[f"cost {count}"] = {
            name: [asdict(one) for one in rounds] for name, rounds in readings.items()
        }

    # --- how many are carried -------------------------------------------------------------------

    def climb(self) -> None:
        """All of them step by step, so that what the machine does meanwhile hits all alike."""
        climbing = [_Climber(each) for each in [*self.peers, *self.ours]]
        climbers = tuple(climbing)
        for count in self.plan.ladder:
            waiting = climbing
            for _ in range(TRIES):
                if waiting:
                    base = self._read(self.direct, count)
                    waiting = [each for each in waiting if not self._carries(each, count, base)]
            climbing = [each for each in climbing if each not in waiting]
        for each in climbers:
            self.rows += [row for row in (each.carried, each.failed) if row is not None]
            if each in climbing:
                self.notes.append(f"{each.name} carried all that were tried")
            elif each.is_late:
                self.notes.append(f"{each.name}: the load itself was late, it may carry more")
        most = {each.name: each.most for each in climbers}
        self.raw["carried"] = most
        self.raw["ladder"] = {each.name: each.tried for each in climbers}
        if "nginx" in most:
            self.verdicts += [
                Verdict(
                    f"{each.name}: streams carried; nginx carries {most['nginx']}",
                    most[each.name],
                    most["nginx"],
                    "",
                    at_least=True,
                )
                for each in self.ours
            ]

    def _carries(self, climber: _Climber, count: int, base: Reading) -> bool:
        reading = self._read(climber.contestant, count)
        climber.tried.append({**asdict(reading), "base p99": base.p99})
        if is_carried(reading, base):
            climber.most, climber.is_late = count, False
            climber.carried = _row("carried", climber.name, [reading], base=[base])
            climber.failed = None
            return True
        climber.is_late = reading.late > ADDED_MOST
        climber.failed = _row("not carried", climber.name, [reading], base=[base])
        return False


@dataclass(slots=True, eq=False)
class _Climber:
    contestant: Contestant
    most: int = 0
    """Streams that it has carried."""
    carried: dict[str, Cell] | None = None
    failed: dict[str, Cell] | None = None
    is_late: bool = False
    """It failed with chunks that we have sent too late."""
    tried: list[object] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.contestant.name


def is_carried(reading: Reading, base: Reading) -> bool:
    """A load that was late itself proves nothing, nor does a machine that was without a proxy."""
    return (
        reading.whole == reading.streams
        and reading.late <= ADDED_MOST
        and reading.p99 - min(base.p99, ADDED_MOST) < ADDED_MOST
    )


def _row(
    part: str,
    name: str,
    rounds: Sequence[Reading],
    *,
    base: Sequence[Reading] | None = None,
    nginx: float | None = None,
) -> dict[str, Cell]:
    """The median round. `base`: without a proxy."""
    cpu = middle(one.cpu_us for one in rounds)
    p99 = middle(one.p99 for one in rounds)
    return {
        "part": part,
        "contestant": name,
        "streams": rounds[0].streams,
        "CPU µs/chunk": cpu,
        "to nginx": ratio(cpu, nginx),
        "core used": middle(one.cpu / one.wall if one.wall else 0.0 for one in rounds),
        "p50 ms": middle(one.p50 for one in rounds) * 1e3,
        "p99 ms": p99 * 1e3,
        "added ms": None if base is None else (p99 - middle(one.p99 for one in base)) * 1e3,
        "KiB/stream": None,
    }
