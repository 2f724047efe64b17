"""Live endpoints: replicas that come and go, their progress, and the budget of repetitions."""

from __future__ import annotations

import pytest

from activator.core.endpoint import Match
from activator.upstream.registry import LiveReplica, Registry, RetryBudget
from tests.unit.upstream.support import ONE, TWO, Clock, an_endpoint, live_endpoint


def test_an_endpoint_is_cold_until_a_replica_is_offered() -> None:
    clock = Clock()
    live = live_endpoint(clock=clock)
    assert live.cold

    clock.advance(3.0)
    live.offer([(ONE, True)])

    assert not live.cold
    assert live.warm_since == clock.now


def test_it_is_warm_since_the_first_of_the_replicas_it_has() -> None:
    clock = Clock()
    live = live_endpoint(clock=clock)
    live.offer([(ONE, False)])
    first = clock.now
    clock.advance(5.0)
    live.offer([(ONE, False), (TWO, False)])
    assert live.warm_since == first

    live.offer([])
    clock.advance(5.0)
    live.offer([(TWO, False)])

    assert live.warm_since == clock.now


def test_a_replica_that_stays_keeps_its_connections() -> None:
    live = live_endpoint()
    live.offer([(ONE, False), (TWO, False)])
    one = live.replicas["m-1"]

    live.offer([(ONE, False)])

    assert live.replicas == {"m-1": one}


def test_before_control_takes_over_nothing_is_known() -> None:
    live = live_endpoint()

    assert live.refusal() is None
    assert live.eta() is None
    assert live.waiting_for() == "no replica is ready"
    live.unreachable("m-1", "refused")
    live.answered("m-1")


def test_a_replica_makes_progress_as_long_as_nobody_waits_for_a_byte() -> None:
    clock = Clock()
    replica = LiveReplica(ONE, live_endpoint(clock=clock).kit)
    clock.advance(100.0)
    assert replica.last_byte == clock.now

    replica.owes(now=clock.now)
    asked = clock.now
    clock.advance(5.0)
    assert replica.last_byte == asked

    replica.moved(now=clock.now)
    assert replica.last_byte == clock.now


def test_a_request_that_joins_others_is_no_progress() -> None:
    clock = Clock()
    replica = LiveReplica(ONE, live_endpoint(clock=clock).kit)
    replica.owes(now=clock.now)
    asked = clock.now
    clock.advance(5.0)
    replica.owes(now=clock.now)
    assert replica.last_byte == asked

    replica.owes_less()
    assert replica.last_byte == asked
    replica.owes_less()
    assert replica.last_byte == clock.now


def test_repetitions_are_a_tenth_of_what_is_answered_and_a_few_at_once() -> None:
    budget = RetryBudget()
    assert [budget.take() for _ in range(11)] == [True] * 10 + [False]

    for _ in range(9):
        budget.earn()
    assert not budget.take()
    for _ in range(2):
        budget.earn()
    assert [budget.take(), budget.take()] == [True, False]


def test_a_budget_does_not_grow_without_end() -> None:
    budget = RetryBudget()
    for _ in range(10_000):
        budget.earn()

    assert [budget.take() for _ in range(11)].count(True) == 10


def test_a_registry_finds_what_is_alive() -> None:
    registry, live = Registry(), live_endpoint(match=Match(hosts=("m.example",)))
    registry.add(live)
    registry.route([live.endpoint])

    assert list(registry) == [registry["m"]] == [registry.get("m")] == [live]
    found = registry.routes.match(host="m.example", path="/", headers=lambda _: None)
    assert found is not None
    assert found.endpoint is live.endpoint

    assert registry.remove("m") is live
    assert registry.get("m") is None
    with pytest.raises(KeyError):
        registry["m"]


def test_a_changed_endpoint_keeps_its_replicas() -> None:
    live = live_endpoint()
    live.offer([(ONE, False)])
    changed = an_endpoint(concurrency=3)

    live.reconfigure(changed)

    assert live.endpoint is changed
    assert list(live.replicas) == ["m-1"]
