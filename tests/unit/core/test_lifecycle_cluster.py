"""An outside world with a will of its own: it restarts, remembers, has no room, is scaled by
others, and refuses for good."""

from __future__ import annotations

from dataclasses import replace

import pytest

from activator.core.effects import FailedStart, FailHeld, SetReplicas
from activator.core.endpoint import Owner
from activator.core.lifecycle import SeenReplica, State
from tests.unit.core.lifecycle_playbook import (
    CAUSE,
    MANY,
    NOTHING,
    POLICY,
    READY,
    STARTING,
    activating,
    acts,
    asleep,
    ended,
    seen,
    told,
)

AGAIN = SeenReplica("r1.r1", ready=False, is_retrying=True)


def test_one_that_is_started_again_in_its_place_is_no_hope() -> None:
    life = activating()
    crashed = seen(AGAIN, demand=1, ended=ended("r1"))
    life.observe(crashed, now=1.0)
    assert acts(life.observe(crashed, now=8.9)) == []

    failed, *_ = acts(life.observe(crashed, now=9.0))

    assert isinstance(failed, FailHeld)
    assert failed.cause == CAUSE


def test_one_that_was_seen_before_another_crashed_is_waited_for() -> None:
    life = activating(MANY)
    other = SeenReplica("r2", ready=False)
    life.observe(seen(STARTING, other, demand=1), now=0.5)
    life.observe(seen(AGAIN, other, demand=1, ended=ended("r1")), now=1.0)

    life.observe(seen(AGAIN, other, demand=1, ended=ended("r1")), now=20.0)

    assert life.state is State.ACTIVATING


def test_without_room_the_wait_goes_on_and_ends_with_no_capacity() -> None:
    life = activating()
    pending = replace(STARTING, no_capacity=True, reason="no node has enough nvidia.com/gpu")
    assert acts(life.observe(seen(pending, demand=1), now=899.0)) == []

    failed, *_ = acts(life.observe(seen(pending, demand=1), now=900.0))

    assert isinstance(failed, FailHeld)
    assert failed.cause.no_capacity
    assert "no node has enough nvidia.com/gpu" in failed.cause.message


def test_with_room_for_one_of_them_it_is_no_lack_of_room() -> None:
    life = activating(MANY)
    pending = SeenReplica("r2", ready=False, no_capacity=True)
    failed, *_ = acts(life.observe(seen(STARTING, pending, demand=1), now=900.0))
    assert isinstance(failed, FailHeld)
    assert not failed.cause.no_capacity


def test_a_refusal_that_lasts_is_told_to_those_who_wait() -> None:
    life = asleep()
    refused = replace(NOTHING, demand=1, scale_error="it does not exist", scale_lasting=True)
    life.observe(replace(NOTHING, demand=1), now=0.0)
    held: list[FailHeld] = []
    for tenth in range(1, 100):
        effects = life.observe(refused, now=tenth / 10)
        held += [each for each in effects if isinstance(each, FailHeld)]
        if held:
            break

    assert life.state is State.FAILED
    assert life.since < 10.0
    assert held[0].cause == FailedStart("could not be asked to start: it does not exist")


@pytest.mark.parametrize(("remembered", "count"), [(0, 1), (3, 3), (9, 5)])
def test_the_count_that_the_outside_world_remembers_is_restored(
    remembered: int, count: int
) -> None:
    life = asleep(MANY)
    effects = life.observe(replace(NOTHING, demand=1, remembered=remembered), now=1.0)
    assert acts(effects) == [SetReplicas(count, "demand")]


def test_another_who_changes_the_count_is_told_once() -> None:
    life = asleep()
    found = "autoscaler_found: HPA m changes the count too: set scale.owner: external, or remove it"
    assert told(life.observe(replace(NOTHING, autoscaler="HPA m"), now=1.0)) == [found]
    assert told(life.observe(replace(NOTHING, autoscaler="HPA m"), now=2.0)) == []
    assert told(life.observe(NOTHING, now=3.0)) == []
    assert told(life.observe(replace(NOTHING, autoscaler="HPA m"), now=4.0)) == [found]


def test_one_who_owns_the_count_is_told_without_advice() -> None:
    life = asleep(replace(POLICY, owner=Owner.EXTERNAL))
    effects = life.observe(replace(NOTHING, autoscaler="HPA m"), now=1.0)
    assert told(effects) == ["autoscaler_found: HPA m changes the count too"]


def test_an_owner_between_one_and_many_is_followed_up_and_down() -> None:
    life = asleep(replace(MANY, owner=Owner.EXTERNAL))
    assert acts(life.observe(replace(NOTHING, demand=40), now=1.0)) == [SetReplicas(1, "demand")]
    three = [replace(READY, id=f"r{number}") for number in (1, 2, 3)]
    life.observe(seen(READY, demand=40), now=2.0)
    assert acts(life.observe(seen(*three, demand=40), now=3.0)) == []
    assert acts(life.observe(seen(READY, demand=40), now=400.0)) == []
