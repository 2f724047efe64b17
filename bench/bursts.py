"""Bursts of requests at all contestants by turns, and what they say of one beside another."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from bench import wrk
from bench.failure import BenchError
from bench.report import Verdict
from bench.rounds import interleaved, middle, spread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.contestant import Contestant
    from bench.report import Cell
    from bench.wrk import Burst

SATURATED: Final = 0.93
"""Share of its core that a contestant has to use for its requests/s to be its own."""
WARMING: Final = (1.0, 3.0, 9.0)
"""Seconds."""
PEERS: Final = ("nginx", "nginx, lines", "go")
"""Those that everybody is compared with."""


@dataclass(frozen=True, slots=True)
class Case:
    """Requests over so many connections, one at a time on each; POSTs of what `body` holds, or GETs
    of which each is like the other, or none if they are `varied`."""

    name: str
    path: str
    connections: int
    body: Path | None = None
    varied: bool = False

    def __str__(self) -> str:
        count = "1 connection" if self.connections == 1 else f"{self.connections} connections"
        return f"{self.name}, {count}"


@dataclass(frozen=True, slots=True)
class Taken:
    """Of each case, of each contestant of `field`, its bursts, one a round."""

    field: Sequence[Contestant]
    bursts: Mapping[Case, Sequence[Sequence[Burst]]]

    def of(self, case: Case, name: str) -> Sequence[Burst] | None:
        """None if that contestant was left out."""
        pairs = zip(self.field, self.bursts[case], strict=True)
        return next((rounds for each, rounds in pairs if each.name == name), None)

    def rows(self) -> list[dict[str, Cell]]:
        return [
            self._row(case, contestant.name, rounds)
            for case, bursts in self.bursts.items()
            for contestant, rounds in zip(self.field, bursts, strict=True)
        ]

    def raw(self) -> dict[str, object]:
        return {
            f"{case}: {contestant.name}": [asdict(burst) for burst in rounds]
            for case, bursts in self.bursts.items()
            for contestant, rounds in zip(self.field, bursts, strict=True)
        }

    def nothing_failed(self) -> Verdict:
        failed = sum(count for name, count in self._errors().items() if name in self._ours())
        return Verdict("the activator's requests not answered with 200", failed, 0, "")

    def at_least(self, limit: float, *, of: str, ours: str, cases: Sequence[Case]) -> list[Verdict]:
        """`ours` does at least so many times the requests/s of the peer `of`; nothing where one of
        them was left out. Where either did not fill its core, something else set its pace (for the
        peer that would flatter us): then they are compared by what they do in a second of CPU time.
        """
        verdicts: list[Verdict] = []
        for case in cases:
            rounds, peers = self.of(case, ours), self.of(case, of)
            if rounds is None or peers is None:
                continue
            what = f"{ours}, requests/s of {of}'s, {case}"
            times = _times([one.rate for one in rounds], [one.rate for one in peers])
            idle = [name for name, each in ((ours, rounds), (of, peers)) if not _fills_core(each)]
            if idle:
                what += f" (by CPU time: the core was not filled by {' and '.join(idle)})"
                times = _times(
                    [1 / one.cpu_us for one in rounds], [1 / one.cpu_us for one in peers]
                )
            verdicts.append(Verdict(what, times, limit, "times", at_least=True))
        return verdicts

    def notes(self) -> list[str]:
        """What of these figures is not as it should be."""
        notes: list[str] = []
        idle = {
            contestant.name
            for case, bursts in self.bursts.items()
            for contestant, rounds in zip(self.field, bursts, strict=True)
            if case.connections > 1 and not _fills_core(rounds)
        }
        if idle:
            names = "; ".join(one.name for one in self.field if one.name in idle)
            notes.append(
                f"{names}: did not fill the core with several connections, so that load, upstream"
                " or others set the pace; CPU time compares more fairly then"
            )
        notes += [
            f"{name}: {count} requests were not answered with 200"
            for name, count in self._errors().items()
            if count and name not in self._ours()
        ]
        return notes

    def _ours(self) -> set[str]:
        return {one.name for one in self.field if one.is_ours}

    def _errors(self) -> dict[str, int]:
        errors = {one.name: 0 for one in self.field}
        for bursts in self.bursts.values():
            for contestant, rounds in zip(self.field, bursts, strict=True):
                errors[contestant.name] += sum(one.errors for one in rounds)
        return errors

    def _row(self, case: Case, name: str, rounds: Sequence[Burst]) -> dict[str, Cell]:
        row: dict[str, Cell] = {
            "answer": case.name,
            "connections": case.connections,
            "contestant": name,
            "requests/s": middle(one.rate for one in rounds),
            "spread": spread([one.rate for one in rounds]),
        }
        for peer in PEERS:
            theirs = self.of(case, peer)
            row[f"of {peer}"] = (
                None
                if theirs is None
                else _times([one.rate for one in rounds], [one.rate for one in theirs])
            )
        row["CPU µs"] = middle(one.cpu_us for one in rounds)
        row["core used"] = middle(one.busy for one in rounds)
        return row


def measure(
    field: Sequence[Contestant], cases: Sequence[Case], *, rounds: int, seconds: float
) -> Taken:
    """All contestants by turns, one case after the other."""
    taken: dict[Case, list[list[Burst]]] = {}
    for case in cases:
        taken[case] = interleaved(
            field,
            rounds=rounds,
            measure=lambda each, case=case: burst(each, case, seconds=seconds),  # type: ignore[misc]
        )
    return Taken(field, taken)


def burst(to: Contestant, case: Case, *, seconds: float) -> Burst:
    return wrk.burst(
        to,
        path=case.path,
        connections=case.connections,
        seconds=seconds,
        body=case.body,
        varied=case.varied,
    )


def warm(to: Contestant, case: Case) -> Burst:
    """A burst that does not count, a longer one where a starved machine answered nothing in the one
    before. Raises BenchError if nothing is answered at all."""
    for seconds in WARMING[:-1]:
        try:
            return burst(to, case, seconds=seconds)
        except BenchError:
            to.running.check()
    return burst(to, case, seconds=WARMING[-1])


def _fills_core(rounds: Sequence[Burst]) -> bool:
    return middle(one.busy for one in rounds) >= SATURATED


def _times(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of what the rounds say, each between bursts that lie next to each other."""
    return middle(one / other for one, other in zip(ours, theirs, strict=True))
