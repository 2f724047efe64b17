"""What pods are as replicas, look by look: the moments of a start."""

from __future__ import annotations

from activator.core.phases import Phase
from activator.core.pods import read_pod
from activator.drivers.kubernetes_sightings import Sightings
from tests.unit.core.raw_pods import IPS, raw_pod, running, waiting
from tests.unit.upstream.support import Clock

CREATING = raw_pod(containerStatuses=[waiting("ContainerCreating")])
RUNS = raw_pod(phase="Running", containerStatuses=[running()], **IPS)


def test_what_was_pulled_between_two_looks_was_pulled_by_the_second() -> None:
    clock = Clock()
    subject = Sightings(8000, clock=clock)
    subject.look([read_pod(CREATING)], {})
    began = clock.now

    clock.now += 5.0
    (seen,), _ = subject.look([read_pod(RUNS)], {})

    assert seen.phase is Phase.STARTED
    assert seen.reached == ((Phase.SCHEDULED, began), (Phase.PULLED, began + 5.0))


def test_nothing_is_made_up_of_one_that_ran_when_it_was_first_seen() -> None:
    (seen,), _ = Sightings(8000, clock=Clock()).look([read_pod(RUNS)], {})

    assert seen.phase is Phase.STARTED
    assert seen.reached == ()
