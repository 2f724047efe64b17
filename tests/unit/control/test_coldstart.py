"""The phases of a cold start, by a clock that the test moves."""

from __future__ import annotations

import pytest

from activator.control.coldstart import ColdStarts
from activator.drivers.base import Phase, Sighting
from activator.telemetry.exposition import Format
from activator.telemetry.metrics import Metrics


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Subject:
    def __init__(self) -> None:
        self.clock = Clock()
        self.metrics = Metrics()
        self.starts = ColdStarts(self.metrics.endpoint("m"), clock=self.clock)

    def start(self, *, seconds: float = 6.0) -> dict[str, float]:
        """Requested after a sixth, started after two more, ready at the end."""
        began = self.clock.now
        self.starts.began()
        self.clock.now += seconds
        seen = sighting(requested_at=began + seconds / 6, since=began + seconds / 2)
        return self.starts.became_ready(seen, ready_at=self.clock.now)

    def exposed(self) -> str:
        return "".join(self.metrics.render(Format.PLAIN))


def sighting(name: str = "m-1", *, requested_at: float, since: float) -> Sighting:
    return Sighting(name, Phase.STARTED, since=since, requested_at=requested_at)


def test_the_phases_add_up_to_the_whole() -> None:
    subject = Subject()

    phases = subject.start(seconds=6.0)

    assert phases == pytest.approx({"requested": 1.0, "started": 2.0, "ready": 3.0})
    assert subject.starts.count == 1
    assert subject.starts.typical == pytest.approx(6.0)


def test_phases_between_are_timed_where_they_were_seen() -> None:
    subject = Subject()
    subject.starts.began()
    reached = ((Phase.SCHEDULED, 102.0), (Phase.PULLED, 105.0))
    seen = Sighting("m-1", Phase.STARTED, since=106.0, requested_at=101.0, reached=reached)

    phases = subject.starts.became_ready(seen, ready_at=110.0)

    assert list(phases.items()) == [
        ("requested", 1.0),
        ("scheduled", 1.0),
        ("pulled", 3.0),
        ("started", 1.0),
        ("ready", 4.0),
    ]
    assert 'phase="pulled"' in subject.exposed()


def test_a_start_begins_once_however_often_it_is_told() -> None:
    subject = Subject()
    subject.starts.began()
    subject.clock.now += 4.0

    assert sum(subject.start(seconds=6.0).values()) == pytest.approx(10.0)


def test_a_replica_nobody_waited_for_is_no_cold_start() -> None:
    subject = Subject()

    assert subject.starts.became_ready(sighting(requested_at=0.0, since=0.0), ready_at=5.0) == {}
    assert subject.starts.count == 0
    assert subject.starts.remaining() is None


def test_only_the_first_replica_of_a_start_counts() -> None:
    subject = Subject()
    subject.start()

    second = sighting("m-2", requested_at=0.0, since=0.0)
    assert subject.starts.became_ready(second, ready_at=5.0) == {}
    assert subject.starts.count == 1


def test_the_first_byte_is_timed_for_the_replica_that_was_waited_for_and_once() -> None:
    subject = Subject()
    subject.start()
    subject.clock.now += 0.25

    assert subject.starts.answered("m-2") is None
    assert subject.starts.answered("m-1") == pytest.approx(0.25)
    assert subject.starts.answered("m-1") is None


def test_the_rest_shrinks_while_a_start_is_under_way() -> None:
    subject = Subject()
    subject.start(seconds=10.0)
    assert subject.starts.remaining() == pytest.approx(10.0)

    subject.starts.began()
    subject.clock.now += 4.0
    assert subject.starts.remaining() == pytest.approx(6.0)
    subject.clock.now += 40.0
    assert subject.starts.remaining() == 0.0


@pytest.mark.parametrize("ending", ["failed", "called_off"])
def test_a_start_that_came_to_nothing_teaches_nothing(ending: str) -> None:
    subject = Subject()
    subject.starts.began()
    subject.clock.now += 500.0
    getattr(subject.starts, ending)()

    assert sum(subject.start(seconds=6.0).values()) == pytest.approx(6.0)
    assert subject.starts.typical == pytest.approx(6.0)


def test_outcomes_are_counted() -> None:
    subject = Subject()
    subject.starts.failed()  # nothing was under way
    subject.start()
    subject.starts.began()
    subject.starts.failed()

    text = subject.exposed()
    assert 'activator_cold_starts_total{endpoint="m",outcome="ready"} 1.0' in text
    assert 'activator_cold_starts_total{endpoint="m",outcome="failed"} 1.0' in text
    assert 'activator_cold_start_seconds_count{endpoint="m",phase="ready"} 1.0' in text
