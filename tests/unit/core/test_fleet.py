"""The target of an endpoint and the orders towards it."""

from __future__ import annotations

from dataclasses import replace

from activator.core.effects import FailedStart, Retire, SetReplicas
from activator.core.endpoint import Owner, ScalePolicy
from activator.core.failed_starts import FailedStarts
from activator.core.fleet import Fleet, View
from activator.core.observation import Observation, SeenReplica

POLICY = ScalePolicy(max=4, target_concurrency=1.0, down_delay=0.0, start_timeout=60.0)
A, B = (SeenReplica(each, ready=True) for each in "ab")


def fleet_of(policy: ScalePolicy = POLICY, *, wanted: int = 0) -> Fleet:
    fleet = Fleet(policy, starts=FailedStarts())
    look(fleet, wanted=wanted)
    fleet.adopt(wanted)
    return fleet


def look(
    fleet: Fleet,
    *replicas: SeenReplica,
    wanted: int,
    now: float = 0.0,
    leading: bool = True,
    demand: int = 1,
) -> View:
    seen = Observation(demand=demand, wanted=wanted, replicas=replicas, leading=leading)
    fleet.look(seen, ended=False, now=now)
    return fleet.view(seen, now=now)


def test_activation_aims_at_one_or_the_minimum() -> None:
    fleet = fleet_of()
    fleet.activate("demand")
    assert fleet.target == 1

    fleet.policy = replace(POLICY, min=2)
    fleet.activate("demand")
    assert fleet.target == 2


def test_activation_restores_what_was_given_up() -> None:
    fleet = fleet_of(wanted=3)
    fleet.give_up()
    assert fleet.target == 0

    fleet.activate("demand")

    assert fleet.target == 3


def test_under_an_external_owner_activation_aims_at_one() -> None:
    fleet = fleet_of(replace(POLICY, owner=Owner.EXTERNAL), wanted=3)
    fleet.give_up()

    fleet.activate("demand")

    assert fleet.target == 1


def test_what_is_missing_is_ordered_once() -> None:
    fleet = fleet_of()
    fleet.activate("demand")

    view = look(fleet, wanted=0)
    assert fleet.order_missing(view, needed=True) == [SetReplicas(1, "demand")]
    assert fleet.order_missing(view, needed=True) == []


def test_what_was_lost_is_ordered_only_when_it_is_needed() -> None:
    fleet = fleet_of(wanted=1)
    fleet.lost = True
    view = look(fleet, wanted=1)

    assert fleet.order_missing(view, needed=False) == []
    assert fleet.order_missing(view, needed=True) == [SetReplicas(1, "replace")]


def test_nothing_is_ordered_too_soon_after_a_failure() -> None:
    starts = FailedStarts()
    fleet = Fleet(POLICY, starts=starts)
    fleet.activate("demand")
    starts.failed(FailedStart("exited"), survivors=(), now=0.0)

    assert fleet.order_missing(look(fleet, wanted=0, now=0.4), needed=True) == []
    assert fleet.order_missing(look(fleet, wanted=0, now=0.5), needed=True) != []


def test_who_does_not_lead_orders_only_from_zero() -> None:
    fleet = fleet_of(wanted=1)
    fleet.target = 3

    assert fleet.order_missing(look(fleet, A, wanted=1, leading=False), needed=True) == []
    assert fleet.order_missing(look(fleet, A, wanted=1), needed=True) == [SetReplicas(3, "replace")]


def test_to_empty_it_sends_all_away_and_counts_none_of_them_any_more() -> None:
    fleet = fleet_of(wanted=2)
    view = look(fleet, A, B, wanted=2)

    assert fleet.empty(view, label="idle") == SetReplicas(0, "idle", victims=("a", "b"))
    assert fleet.is_doomed("a")
    assert look(fleet, A, B, wanted=2).alive == ()


def test_no_replica_goes_while_one_that_is_wanted_is_not_seen_yet() -> None:
    fleet = fleet_of(wanted=2)
    fleet.settle(now=0.0)

    assert fleet.resize(look(fleet, A, wanted=2), frozen=False) == []
    assert fleet.resize(look(fleet, A, wanted=2, now=5.0), frozen=False) == []


def test_the_last_ready_one_is_not_kept_out_of_rotation() -> None:
    fleet = fleet_of(wanted=2)
    fleet.settle(now=0.0)
    view = look(fleet, A, replace(B, in_flight=1), wanted=2)
    fleet.resize(view, frozen=False)
    assert fleet.retire(view) == [Retire(("a",))]

    view = look(fleet, A, replace(B, ready=False, in_flight=1), wanted=2, now=0.5)
    fleet.resize(view, frozen=False)

    assert fleet.retire(view) == [Retire(("b",))]


def test_frozen_nobody_leaves() -> None:
    fleet = fleet_of(wanted=2)
    fleet.settle(now=0.0)
    view = look(fleet, A, B, wanted=2)
    fleet.resize(view, frozen=False)
    fleet.retire(view)

    fleet.resize(view, frozen=True)

    assert fleet.retire(view) == [Retire(())]


def test_one_that_hangs_beside_a_ready_one_goes_once_it_is_idle() -> None:
    fleet = fleet_of(wanted=2)
    hung = replace(B, ready=False, in_flight=1)
    fleet.drop_overdue(look(fleet, A, hung, wanted=2))

    assert fleet.drop_overdue(look(fleet, A, hung, wanted=2, now=60.0)) == []
    view = look(fleet, A, replace(hung, in_flight=0), wanted=2, now=61.0)
    assert SetReplicas(1, "overdue", victims=("b",)) in fleet.drop_overdue(view)


def test_one_that_hangs_alone_is_the_start_timeouts_business() -> None:
    fleet = fleet_of(wanted=1)
    hung = replace(A, ready=False)
    look(fleet, hung, wanted=1)

    assert fleet.drop_overdue(look(fleet, hung, wanted=1, now=1e6)) == []
