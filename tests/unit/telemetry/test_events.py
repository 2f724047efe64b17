"""The event log: what is kept, what is told, and that a slow reader holds up nobody."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from activator.telemetry.events import EventLog, first_id

if TYPE_CHECKING:
    import pytest


def at(moment: float, *, capacity: int = 1000) -> EventLog:
    return EventLog(capacity=capacity, clock=lambda: moment)


def test_an_event_tells_what_happened_to_whom_when_and_why() -> None:
    event = at(1_790_000_000.5).record("llama", "activated", "demand", replicas=2)
    assert (event.endpoint, event.action, event.reason) == ("llama", "activated", "demand")
    assert event.at == 1_790_000_000.5
    assert event.fields == {"replicas": 2}


def test_every_event_is_a_log_line_too(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="activator.events"):
        at(1.0).record("llama", "activated", "demand", replicas=2, name="a field called name")
    (line,) = caplog.records
    assert line.__dict__["action"] == "activated"
    assert line.__dict__["endpoint"] == "llama"
    assert line.__dict__["replicas"] == 2
    assert line.__dict__["name_"] == "a field called name"


def test_since_tells_what_came_after() -> None:
    log = at(1.0)
    first, second, third = (log.record("a", "did", str(n)) for n in range(3))
    assert log.since(0) == [first, second, third]
    assert log.since(first.id) == [second, third]
    assert log.since(third.id) == []


def test_ids_rise_across_restarts_so_that_a_reader_misses_nothing() -> None:
    before = [at(1000.0).record("a", "did", "") for _ in range(1)][-1]
    restarted = at(1001.0)
    after = restarted.record("a", "did", "")
    assert after.id > before.id
    assert restarted.since(before.id) == [after]


def test_an_id_from_the_future_counts_as_none() -> None:
    log = at(1.0)
    event = log.record("a", "did", "")
    assert log.since(first_id(3600.0)) == [event]


def test_only_the_last_events_are_kept_and_the_gap_can_be_told() -> None:
    log = at(1.0, capacity=3)
    events = [log.record("a", "did", str(n)) for n in range(10)]
    assert log.since(0) == events[-3:]
    assert log.lost_since(events[0].id) == 6
    assert log.lost_since(events[6].id) == 0
    assert log.lost_since(0) == 0


async def test_a_subscriber_gets_what_comes_in_order() -> None:
    log = at(1.0)
    log.record("a", "before", "")
    with log.subscribe() as subscription:
        events = [log.record("a", "did", str(n)) for n in range(3)]
        await asyncio.wait_for(subscription.wait(), 1)
        assert subscription.take() == (0, events)
        assert subscription.take() == (0, [])
    assert log.subscribers == 0


async def test_waiting_lasts_until_something_happens() -> None:
    log = at(1.0)
    with log.subscribe() as subscription:
        asyncio.get_running_loop().call_later(0.01, log.record, "a", "did", "")
        await asyncio.wait_for(subscription.wait(), 1)
        _, (event,) = subscription.take()
    assert event.action == "did"


def test_a_slow_subscriber_loses_the_oldest_and_is_told_how_many() -> None:
    log = at(1.0)
    subscription = log.subscribe(capacity=2)
    events = [log.record("a", "did", str(n)) for n in range(5)]
    assert subscription.take() == (3, events[-2:])
    assert subscription.take() == (0, [])
    subscription.close()


async def test_closing_the_log_wakes_every_reader() -> None:
    log = at(1.0)
    subscriptions = [log.subscribe() for _ in range(3)]
    log.record("a", "last", "")
    log.close()
    for subscription in subscriptions:
        await asyncio.wait_for(subscription.wait(), 1)
        assert subscription.closed
        assert [event.action for event in subscription.take()[1]] == ["last"]
        await asyncio.wait_for(subscription.wait(), 1)
    assert log.subscribers == 0
