"""The outcomes an operator follows: kept for a while, numbered, told to whoever listens.

Every event is also a log line. What is an outcome is decided by those who record it (mostly the
brain's `Record`); how it travels to a browser or a terminal is the admin API's business. Where
several activators share a store, an `Outlet` takes what is recorded, and brings back what all of
them have said.
"""

from __future__ import annotations

import asyncio
import logging
import time
from bisect import bisect_right, insort
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger("activator.events")

_WITHIN = 11
"""Bits of an id that count the events of one millisecond."""
_FUTURE = 60.0
"""Seconds by which clocks of activators may differ."""
_FORGOTTEN = 10_000
_RESERVED = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "action"}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to an endpoint (or, with an empty name, to the activator)."""

    id: int
    """Rises with each event, and across restarts: milliseconds of Unix time, and a number within
    each of them."""
    at: float
    """Unix time."""
    endpoint: str
    action: str
    """One name an outcome, in the past tense: `activated`, `deactivated`, `start_failed`."""
    reason: str
    fields: dict[str, Any] = field(default_factory=dict)
    activator: str = ""
    """Who has said it; empty: the only one there is."""


def first_id(at: float) -> int:
    """Of an event at this moment of Unix time. Exact in JavaScript for the rest of the century."""
    return int(at * 1000) << _WITHIN


def id_of(milliseconds: int, number: int) -> int:
    return (milliseconds << _WITHIN) + min(number, (1 << _WITHIN) - 1)


def moment_of(event_id: int) -> tuple[int, int]:
    """(milliseconds of Unix time, number): the reverse of `id_of`."""
    return event_id >> _WITHIN, event_id & (1 << _WITHIN) - 1


class Outlet(Protocol):
    def put(self, event: Event) -> None:
        """It was recorded here; `EventLog.keep` brings it back, as one of all activators'."""


class Subscription:
    """Events from the moment of subscribing, in order, for one reader.

    The reader's queue is bounded: one that is slower than events come loses the oldest and is
    told how many. It never holds up whoever records. Use as a context manager.
    """

    def __init__(self, log: EventLog, *, capacity: int) -> None:
        self._log = log
        self._queue: deque[Event] = deque(maxlen=capacity)
        self._lost = 0
        self._wake = asyncio.Event()
        self.closed = False

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *ending: object) -> None:
        self.close()

    async def wait(self) -> None:
        """Until there is something to take, or the subscription is closed."""
        await self._wake.wait()

    def take(self) -> tuple[int, list[Event]]:
        """How many events were lost before these, and these."""
        taken = self._lost, list(self._queue)
        self._lost = 0
        self._queue.clear()
        if not self.closed:
            self._wake.clear()
        return taken

    def close(self) -> None:
        """No more events; wakes the reader. Closing twice is no error."""
        self.closed = True
        self._log.unsubscribe(self)
        self._wake.set()

    def put(self, event: Event) -> None:
        if len(self._queue) == self._queue.maxlen:
            self._lost += 1
        self._queue.append(event)
        self._wake.set()


class EventLog:
    """The last `capacity` events, and the readers who follow."""

    def __init__(self, *, capacity: int = 1000, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._capacity = capacity
        self._events: list[Event] = []
        """By id."""
        self._subscriptions: list[Subscription] = []
        self._last = 0
        self._dropped: deque[int] = deque(maxlen=_FORGOTTEN)
        """Ids of those that are no longer kept."""
        self.outlet: Outlet | None = None
        self.me = ""
        """This activator's name in what it records."""

    @property
    def subscribers(self) -> int:
        return len(self._subscriptions)

    def record(self, endpoint: str, action: str, reason: str, **fields: Any) -> Event:
        """Keep, log and pass on what has happened; never waits."""
        # A reader that resumes after a restart names an id of the process before: ids go on rising
        # because they follow the clock
        self._last = max(self._last + 1, first_id(self._clock()))
        event = Event(self._last, self._clock(), endpoint, action, reason, fields, self.me)
        extra = {f"{name}_" if name in _RESERVED else name: fields[name] for name in fields}
        _log.info(
            action,
            extra={"action": action, "endpoint": endpoint, "reason": reason, **extra},
        )
        if self.outlet is None:
            self.keep(event)
        else:
            self.outlet.put(event)
        return event

    def keep(self, event: Event, *, is_news: bool = True) -> None:
        """And pass it on to whoever listens, if it is news."""
        self._insert(event)
        for subscription in self._subscriptions if is_news else ():
            subscription.put(event)

    def renumber(self, event: Event, event_id: int) -> None:
        """One that is kept already is found by this id from now on; nobody is told again."""
        if event in self._events:
            self._events.remove(event)
            self._insert(replace(event, id=event_id))

    def _insert(self, event: Event) -> None:
        self._last = max(self._last, event.id)
        insort(self._events, event, key=lambda each: each.id)
        if len(self._events) > self._capacity:
            self._dropped.append(self._events.pop(0).id)

    def since(self, after: int) -> list[Event]:
        """The events after this one that are still kept, oldest first; 0: all of them.

        An id that was never given out (of a clock that has gone back) counts as 0.
        """
        if after > max(self._last, first_id(self._clock() + _FUTURE)):
            return list(self._events)
        return self._events[bisect_right(self._events, after, key=lambda each: each.id) :]

    def lost_since(self, after: int) -> int:
        """How many events that were kept here after `after` no longer are."""
        return sum(event_id > after for event_id in self._dropped) if after else 0

    def subscribe(self, *, capacity: int = 256) -> Subscription:
        subscription = Subscription(self, capacity=capacity)
        self._subscriptions.append(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    def close(self) -> None:
        """End every subscription: their readers take what is left and go."""
        for subscription in list(self._subscriptions):
            subscription.close()
