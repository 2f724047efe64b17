"""By when a start must have succeeded, and what is told of one that has not."""

from __future__ import annotations

from activator.core.effects import FailedStart
from activator.core.fleet import View
from activator.core.observation import Observation, SeenReplica
from activator.core.start_clock import NEVER, StartClock, overdue


def look(*, held_up: bool) -> Observation:
    return Observation(demand=1, wanted=1, held_up=held_up)


def view(*replicas: SeenReplica, scale_error: str | None = None) -> View:
    seen = Observation(demand=1, wanted=1, replicas=replicas, scale_error=scale_error)
    return View(seen, replicas, 0.0)


def test_a_start_may_take_a_whole_timeout() -> None:
    clock = StartClock()
    clock.look(look(held_up=False), now=10.0)

    assert clock.over_at(since=5.0, timeout=60.0) == 65.0
    assert clock.over_at(since=5.0, timeout=0.0) == NEVER


def test_it_stands_still_until_replicas_have_stopped() -> None:
    clock = StartClock()
    for now, held_up in ((10.0, True), (20.0, True), (30.0, False), (40.0, False)):
        clock.look(look(held_up=held_up), now=now)

    assert clock.over_at(since=5.0, timeout=60.0) == 90.0


def test_one_that_could_not_be_asked_for_is_told_so() -> None:
    late = overdue(view(scale_error="the API is away"), timeout=60.0, cause=None)

    assert late.message == "could not be asked to start within 1 m 0 s: the API is away"


def test_one_of_which_nothing_is_left_is_told_with_the_last_failure() -> None:
    cause = FailedStart("exited with 3", exit_code=3)

    assert (
        overdue(view(), timeout=60.0, cause=None).message == "did not become ready within 1 m 0 s"
    )
    late = overdue(view(), timeout=60.0, cause=cause)
    assert late.message == "did not become ready within 1 m 0 s: exited with 3"
    assert late.exit_code == 3


def test_of_one_that_goes_on_its_replica_tells_why() -> None:
    waits = SeenReplica("r1", ready=False, no_capacity=True)
    loads = SeenReplica("r2", ready=False, reason="refused", last_lines=("loading",))

    late = overdue(view(waits, loads), timeout=60.0, cause=FailedStart("another"))
    assert late.message == "did not become ready within 1 m 0 s (refused)"
    assert late.last_lines == ("loading",)
    assert not late.no_capacity
    assert overdue(view(waits), timeout=60.0, cause=None).no_capacity
