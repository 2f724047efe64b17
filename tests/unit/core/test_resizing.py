"""How an endpoint between one and many gets its count, and how replicas leave."""

from __future__ import annotations

from dataclasses import replace

from activator.core.endpoint import ScalePolicy
from activator.core.observation import SeenReplica
from activator.core.resizing import SETTLES_AFTER, Resizer

POLICY = ScalePolicy(max=6, target_concurrency=1.0, down_delay=0.0)
A, B, C = (SeenReplica(each, ready=True) for each in "abc")


def test_a_fixed_size_is_the_minimum_whatever_the_demand() -> None:
    resizer = Resizer()
    fixed = replace(POLICY, min=3, max=3)

    assert resizer.count(99, ready=3, policy=fixed, now=0.0) == 3
    assert resizer.wakes_at(policy=fixed, now=0.0) == float("inf")


def test_a_floor_holds_below_the_demand() -> None:
    resizer = Resizer()
    resizer.restart(1, now=0.0)
    resizer.accept(4)

    assert resizer.count(2, ready=1, policy=POLICY, now=0.0) == 4
    resizer.lower(3)
    assert resizer.count(2, ready=1, policy=POLICY, now=0.0) == 3


def test_those_chosen_to_leave_stay_chosen_though_others_become_idler() -> None:
    resizer = Resizer()
    busy = replace(C, in_flight=2)

    resizer.leave((A, replace(B, in_flight=1), busy), count=1, now=0.0)
    assert resizer.leaving == ("a",)
    resizer.leave((replace(A, in_flight=1), B, busy), count=1, now=0.5)
    assert resizer.leaving == ("a",)


def test_they_have_left_when_idle_for_a_moment_after_leaving_rotation() -> None:
    resizer = Resizer()

    assert not resizer.leave((A, B), count=1, now=0.0)
    assert resizer.wakes_at(policy=replace(POLICY, max=1), now=0.0) == SETTLES_AFTER
    assert resizer.leave((A, B), count=1, now=SETTLES_AFTER)


def test_they_have_not_left_while_they_have_something_in_flight() -> None:
    resizer = Resizer()
    both = (replace(A, in_flight=1), replace(B, in_flight=1))
    resizer.leave(both, count=1, now=0.0)

    assert not resizer.leave(both, count=1, now=100.0)


def test_one_that_is_gone_is_not_waited_for() -> None:
    resizer = Resizer()
    resizer.leave((A, B, C), count=1, now=0.0)

    assert resizer.leave((A, B), count=0, now=0.1)
    assert resizer.leaving == ()


def test_fewer_to_leave_spares_the_last_chosen() -> None:
    resizer = Resizer()
    resizer.leave((A, B, C), count=2, now=0.0)

    resizer.leave((A, B, C), count=1, now=0.1)

    assert resizer.leaving == ("c",)


def test_nobody_leaves_any_more_when_all_are_to_stay() -> None:
    resizer = Resizer()
    resizer.leave((A, B), count=1, now=0.0)

    resizer.stay()

    assert resizer.leaving == ()


def test_where_the_outside_world_goes_by_ordinals_the_highest_leave_however_busy() -> None:
    resizer = Resizer()
    alive = tuple(replace(each, ordinal=number) for number, each in enumerate((B, C, A)))
    busy = (*alive[:2], replace(alive[2], in_flight=3))

    assert not resizer.leave(busy, count=1, now=0.0)
    assert resizer.leaving == ("a",)
    assert not resizer.leave(busy, count=1, now=SETTLES_AFTER)
    assert resizer.leave(alive, count=1, now=SETTLES_AFTER)


def test_one_that_comes_with_a_higher_ordinal_leaves_instead() -> None:
    resizer = Resizer()
    first, second = replace(A, ordinal=0), replace(B, ordinal=1)
    resizer.leave((first, second), count=1, now=0.0)
    third = replace(C, ordinal=2)

    assert not resizer.leave((first, second, third), count=1, now=SETTLES_AFTER)
    assert resizer.leaving == ("c",)
