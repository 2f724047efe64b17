"""Times the phases of a cold start, from the order to the first byte of the first answer."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from activator.core.eta import StartTimes
from activator.core.status import ColdStart

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from activator.core.eta import Estimate
    from activator.drivers.base import Sighting
    from activator.telemetry.metrics import EndpointMetrics

REMEMBERED = 20
"""Starts that are shown."""


class ColdStarts:
    """One endpoint's cold starts: at most one is under way. Moments are monotonic seconds."""

    def __init__(self, metrics: EndpointMetrics, *, clock: Callable[[], float]) -> None:
        self._metrics = metrics
        self._clock = clock
        self._times = StartTimes()
        self._began: float | None = None
        self._first_ready: str | None = None
        self._ready_at = 0.0
        self.count = 0
        self.news: deque[dict[str, float]] = deque(maxlen=REMEMBERED)
        """What was learned and is not noted anywhere yet, oldest first."""
        self.recent: deque[ColdStart] = deque(maxlen=REMEMBERED)
        """Those that have ended, oldest first."""

    def began(self) -> None:
        """The endpoint is being activated from nothing."""
        if self._began is None:
            self._began = self._clock()

    def became_ready(self, sighting: Sighting, *, ready_at: float) -> dict[str, float]:
        """The first replica answers. Returns seconds by phase; empty if no start was under way."""
        if self._began is None:
            return {}
        moments = [("requested", sighting.requested_at)]
        moments += [(phase.value, moment) for phase, moment in sighting.reached]
        moments += [("started", sighting.since), ("ready", ready_at)]
        phases, before = {}, self._began
        for phase, moment in moments:
            phases[phase] = max(0.0, moment - before)
            before = max(before, moment)
        self._began = None
        self._first_ready = sighting.id
        self._ready_at = ready_at
        self.count += 1
        self._times.learn(phases)
        self.news.append(phases)
        self._remember("ready", dict(phases))
        self._metrics.cold_start(outcome="ready")
        for phase, seconds in phases.items():
            self._metrics.phase(phase, seconds)
        return phases

    def recall(self, starts: Sequence[Mapping[str, float]]) -> None:
        """What was learned before this activator was started, the oldest first."""
        self._times.recall(starts)

    def answered(self, sighting_id: str) -> float | None:
        """A replica has begun its first answer. Seconds since it was ready, if that was the one
        a cold start waited for."""
        if sighting_id != self._first_ready:
            return None
        self._first_ready = None
        seconds = max(0.0, self._clock() - self._ready_at)
        self._metrics.phase("first_byte", seconds)
        self.recent[-1].phases["first_byte"] = seconds
        return seconds

    def called_off(self) -> None:
        """Nothing is being started any more; nothing is to be learned from it."""
        self._began = None

    def failed(self) -> float:
        """Seconds that the start has taken; 0: none was under way."""
        if self._began is None:
            return 0.0
        took = self._clock() - self._began
        self._remember("failed", {"failed": took})
        self._began = None
        self._metrics.cold_start(outcome="failed")
        return took

    def _remember(self, outcome: str, phases: dict[str, float]) -> None:
        took = sum(phases.values())
        self.recent.append(ColdStart(time.time() - took, outcome, phases))

    def remaining(self) -> float | None:
        """Seconds until a replica is likely to be ready: of the start under way, else of one that
        began now. None: there is nothing to learn from."""
        left = self.left
        return left.typical if left else None

    @property
    def typical(self) -> float | None:
        whole = self.whole
        return whole.typical if whole else None

    @property
    def elapsed(self) -> float | None:
        """Seconds that the start under way has taken; None: none is."""
        return None if self._began is None else self._clock() - self._began

    @property
    def whole(self) -> Estimate | None:
        """What a start takes."""
        return self._times.estimate()

    @property
    def left(self) -> Estimate | None:
        """What is left of the start under way, or of one that began now."""
        return self._times.remaining(self.elapsed or 0.0)
