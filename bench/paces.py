"""Steady rates at all contestants by turns, and what each adds to the latency of the upstream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.rounds import interleaved, middle, spread
from bench.steady import steady

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.contestant import Contestant
    from bench.report import Cell
    from bench.steady import Steady

BASE: Final = "direct"
OWN_SHARE: Final = 0.5
"""Of the 99th percentile of `direct`: so late may the load itself be without our saying so."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Of each rate (requests/s), of each contestant of `field`, what was seen, once a round. The
    upstream itself is among them."""

    field: Sequence[Contestant]
    steadies: Mapping[float, Sequence[Sequence[Steady]]]

    def of(self, name: str, *, rate: float) -> Sequence[Steady] | None:
        """None if that contestant was left out."""
        pairs = zip(self.field, self.steadies[rate], strict=True)
        return next((rounds for each, rounds in pairs if each.name == name), None)

    def added(self, name: str, *, rate: float, to: str = BASE) -> float | None:
        """Seconds between the medians of `name` and of `to`, taken round by round, between runs
        that lie next to each other. None if one was left out."""
        rounds, base = self.of(name, rate=rate), self.of(to, rate=rate)
        if rounds is None or base is None:
            return None
        return middle(one.p50 - plain.p50 for one, plain in zip(rounds, base, strict=True))

    def added_to(self, name: str, *, of: str, rate: float) -> float | None:
        """What one adds over what the other adds; None where that other adds nothing to be seen."""
        ours, theirs = self.added(name, rate=rate), self.added(of, rate=rate)
        return None if ours is None or theirs is None or theirs <= 0 else ours / theirs

    def p99_of(self, name: str, *, of: str, rate: float) -> float | None:
        """The median of what the rounds say."""
        ours, theirs = self.of(name, rate=rate), self.of(of, rate=rate)
        if ours is None or theirs is None:
            return None
        return middle(one.p99 / other.p99 for one, other in zip(ours, theirs, strict=True))

    def rows(self) -> list[dict[str, Cell]]:
        return [
            self._row(rate, contestant.name, rounds)
            for rate, measured in self.steadies.items()
            for contestant, rounds in zip(self.field, measured, strict=True)
        ]

    def raw(self) -> dict[str, object]:
        return {
            f"{rate:g} {contestant.name}": [
                {"p50": one.p50, "p99": one.p99, "late_p99": one.late_p99} for one in rounds
            ]
            for rate, measured in self.steadies.items()
            for contestant, rounds in zip(self.field, measured, strict=True)
        }

    def notes(self) -> list[str]:
        """What of these figures is not as it should be."""
        notes: list[str] = []
        for rate in self.steadies:
            base = self.of(BASE, rate=rate) or ()
            late, p99 = middle(one.late_p99 for one in base), middle(one.p99 for one in base)
            if late > OWN_SHARE * p99:
                notes.append(
                    f"{rate:g}/s: the load itself was late by {late * 1e6:.0f} µs (p99, {BASE}): so"
                    " much of each p99 is the machine's"
                )
        return notes

    def _row(self, rate: float, name: str, rounds: Sequence[Steady]) -> dict[str, Cell]:
        added = None if name == BASE else self.added(name, rate=rate)
        return {
            "requests/s": rate,
            "contestant": name,
            "p50 µs": middle(one.p50 for one in rounds) * 1e6,
            "spread": spread([one.p50 for one in rounds]),
            "added p50 µs": None if added is None else added * 1e6,
            "of nginx's": None if name == BASE else self.added_to(name, of="nginx", rate=rate),
            "p99 µs": middle(one.p99 for one in rounds) * 1e6,
            "p99 of nginx's": self.p99_of(name, of="nginx", rate=rate),
            "late p99 µs": middle(one.late_p99 for one in rounds) * 1e6,
        }


def measure(
    field: Sequence[Contestant], rates: Sequence[float], *, rounds: int, seconds: float
) -> Taken:
    """All contestants by turns, one rate after the other."""
    steadies: dict[float, list[list[Steady]]] = {}
    for rate in rates:
        steadies[rate] = interleaved(
            field,
            rounds=rounds,
            measure=lambda each, rate=rate: steady(  # type: ignore[misc]
                each, path="/small", rate=rate, seconds=seconds
            ),
        )
    return Taken(field, steadies)
