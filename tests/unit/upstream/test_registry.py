"""Live endpoints: replicas that come and go, their progress, and the budget of repetitions."""

from __future__ import annotations

import pytest

from activator.core.endpoint import Fallback, Match, Service
from activator.core.routing import RouteTable
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


def test_one_replica_is_at_hand_as_long_as_there_is_no_other() -> None:
    live = live_endpoint()
    assert live.sole is None

    live.offer([(ONE, False)])
    assert live.sole is live.replicas["m-1"]
    live.offer([(ONE, False), (TWO, False)])
    assert live.sole is None
    live.offer([(TWO, False)])
    assert live.sole is live.replicas["m-2"]
    live.offer([])
    assert live.sole is None


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

    replica.moved_at = clock.now
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
    assert budget.is_full
    assert [budget.take() for _ in range(11)] == [True] * 10 + [False]
    assert not budget.is_full

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


def test_a_budget_is_full_again_once_all_of_it_is_earned() -> None:
    budget = RetryBudget()
    assert budget.take()
    for _ in range(20):
        if not budget.is_full:
            budget.earn()

    assert budget.is_full
    assert [budget.take() for _ in range(11)].count(True) == 10


def test_an_endpoint_keeps_a_budget_while_something_is_taken_from_it() -> None:
    live = live_endpoint()
    live.earn_retry()
    assert [live.take_retry() for _ in range(11)] == [True] * 10 + [False]
    for _ in range(11):
        live.earn_retry()
    assert [live.take_retry() for _ in range(2)] == [True, False]

    for _ in range(110):
        live.earn_retry()

    assert live._retries is None
    assert [live.take_retry() for _ in range(11)] == [True] * 10 + [False]


def test_a_registry_finds_what_is_alive() -> None:
    registry, live = Registry(), live_endpoint(match=Match(hosts=("m.example",)))
    registry.add(live)
    registry.route(RouteTable([live.endpoint]))

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


CLOUD = Fallback(Service("api.example.com", 443, key="one"))


def test_a_fallback_is_at_hand_as_configured() -> None:
    assert live_endpoint().fallback is None
    assert getattr(live_endpoint(fallback=Fallback("small")).fallback, "server", 1) is None
    made = live_endpoint(fallback=CLOUD).fallback
    assert made is not None
    assert made.server is not None
    assert (made.server.replica.host, made.server.replica.port) == ("api.example.com", 443)


def test_what_is_known_of_a_fallback_holds_until_it_is_another() -> None:
    live = live_endpoint(fallback=CLOUD)
    before = live.fallback
    live.reconfigure(an_endpoint(fallback=CLOUD, concurrency=3))
    assert live.fallback is before

    live.reconfigure(an_endpoint(fallback=Fallback(Service("api.example.com", 443, key="two"))))
    assert live.fallback not in (None, before)
    live.reconfigure(an_endpoint())
    assert live.fallback is None


def test_what_a_fallback_does_is_news_once_in_a_cold_period() -> None:
    fallback = live_endpoint(fallback=CLOUD).fallback
    assert fallback is not None
    assert fallback.is_news("it answers", since=-1.0)
    assert not fallback.is_news("it answers", since=-1.0)
    assert fallback.is_news("it does not", since=-1.0)
    assert fallback.is_news("it answers", since=7.0)
