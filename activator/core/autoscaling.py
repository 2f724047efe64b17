"""How many replicas the demand asks for, and which ones go when it asks for fewer.

Decides counts within the policy's bounds: target concurrency over a stable average, a short panic
window for surges, a delay before going down. Knative's algorithm, without its ratio limits. When
to ask for the count is `resizing`'s business, 0↔1 is `lifecycle`'s.
"""

from __future__ import annotations

from collections import deque
from math import ceil
from typing import TYPE_CHECKING

from activator.core.demand import STABLE_WINDOW, DemandWindow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activator.core.endpoint import ScalePolicy
    from activator.core.observation import SeenReplica

PANIC_FACTOR = 2.0
"""The short window decides as soon as it asks for so many times the replicas that are ready."""

TICK = 2.0
"""Seconds between looks while the averages still move."""

_ROUNDING = 1e-9


def desired_replicas(average: float, *, policy: ScalePolicy) -> int:
    """Replicas for this average demand, within [max(min, 1), max]."""
    return max(min(_asked(average, policy), policy.max), policy.min, 1)


def victims(replicas: Sequence[SeenReplica], *, count: int) -> tuple[str, ...]:
    """Who goes when `count` replicas must: those that are not ready, then the idlest, then the
    youngest (`replicas` come oldest first)."""
    order = sorted(
        range(len(replicas)),
        key=lambda i: (replicas[i].ready, replicas[i].in_flight, -i),
    )
    return tuple(replicas[i].id for i in order[: max(count, 0)])


def highest(replicas: Sequence[SeenReplica], *, count: int) -> tuple[str, ...]:
    """Who goes when `count` must and the outside world goes by ordinals."""
    order = sorted(replicas, key=lambda each: -1 if each.ordinal is None else each.ordinal)
    return tuple(each.id for each in reversed(order))[: max(count, 0)]


class Autoscaler:
    """The averages of one endpoint and what they asked for lately."""

    def __init__(self) -> None:
        self._window = DemandWindow()
        self._recent: deque[tuple[float, int]] = deque()
        """(last moment at which it was asked for, count), counts falling: a sliding maximum."""
        self._raw = 1
        self._panic_until = float("-inf")
        self._panic_peak = 0

    def restart(self, count: int, *, now: float) -> None:
        """`count` replicas run from now on; fewer only when a whole down delay asked for fewer."""
        self._window.forget()
        self._recent.clear()
        self._recent.append((now, count))
        self._raw = count
        self._panic_until = float("-inf")

    def desired(self, demand: int, *, ready: int, policy: ScalePolicy, now: float) -> int:
        """The replicas that should run now. `demand` holds until the next call."""
        self._window.record(demand, now)
        self._remember(self._raw, now)
        self._raw = self._ask(ready=ready, policy=policy, now=now)
        self._remember(self._raw, now)
        while len(self._recent) > 1 and now >= self._recent[0][0] + policy.down_delay:
            self._recent.popleft()
        return max(min(self._recent[0][1], policy.max), policy.min, 1)

    def next_change(self, *, policy: ScalePolicy, now: float) -> float:
        """When `desired` may differ though the demand does not; infinity if it cannot."""
        if not self._window.is_flat(now):
            return now + TICK
        moments = [float("inf")]
        if self._panic_until > now:
            moments.append(self._panic_until)
        if len(self._recent) > 1:
            moments.append(self._recent[0][0] + policy.down_delay)
        return min(moments)

    def _ask(self, *, ready: int, policy: ScalePolicy, now: float) -> int:
        surge = _asked(self._window.panic(now), policy)
        if surge >= PANIC_FACTOR * max(ready, 1):
            if now >= self._panic_until:
                self._panic_peak = 0
            self._panic_until = now + STABLE_WINDOW
        if now < self._panic_until:
            # no way down during a panic: the surge may be what is being served right now
            self._panic_peak = max(self._panic_peak, min(surge, policy.max))
            return max(self._panic_peak, policy.min, 1)
        return desired_replicas(self._window.stable(now), policy=policy)

    def _remember(self, count: int, now: float) -> None:
        while self._recent and self._recent[-1][1] <= count:
            self._recent.pop()
        self._recent.append((now, count))


def _asked(average: float, policy: ScalePolicy) -> int:
    """Before any bounds: a minimum that is still starting is no surge."""
    return ceil(average / policy.target_concurrency - _ROUNDING)
