"""How long to wait before trying again: a growing delay with a cap, as a value.

Decides the length only. Who counts the attempts, and what is tried, is the caller's business;
so is chance: without dice there is no jitter.
"""

from __future__ import annotations

from dataclasses import dataclass

_ENOUGH_DOUBLINGS = 64
"""Beyond so many steps every sensible cap is reached; keeps powers from overflowing."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """`first` seconds, then each delay `factor` times the one before, never above `cap`."""

    first: float
    factor: float = 2.0
    cap: float = 60.0

    def __post_init__(self) -> None:
        if self.first < 0 or self.factor < 1 or self.cap < self.first:
            raise ValueError(f"a back-off grows from first >= 0 to cap >= first: {self}")

    def delay(self, attempt: int, *, dice: float | None = None) -> float:
        """Seconds to wait after failure number `attempt` (1 = the first).

        `dice` in [0, 1) spreads callers over the upper half of the delay; without it the delay
        is exact.
        """
        steps = min(max(attempt, 1) - 1, _ENOUGH_DOUBLINGS)
        full = min(self.first * self.factor**steps, self.cap)
        return full if dice is None else full * (0.5 + dice / 2)
