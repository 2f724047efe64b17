"""The outcomes an operator follows: kept for a while, numbered, told to whoever listens.

Every event is also a log line. What is an outcome is decided by those who record it (mostly the
brain's `Record`); how it travels to a browser or a terminal is the admin API's business.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger("activator.events")

_RESERVED = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "action"}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to an endpoint (or, with an empty name, to the activator)."""

    id: int
    """Rises by one with each event, and across restarts."""
    at: float
    """Unix time."""
    endpoint: str
    action: str
    """One name an outcome, in the past tense: `activated`, `deactivated`, `start_failed`."""
    reason: str
    fields: dict[str, Any] = field(default_factory=dict)


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
        self._events: deque[Event] = deque(maxlen=capacity)
        self._subscriptions: list[Subscription] = []
        # A reader that resumes after a restart names an id of the process before: ids go on rising
        # because they begin at the clock's milliseconds, and no process records 1000 a second.
        self._first = int(clock() * 1000)
        self._next = self._first

    @property
    def subscribers(self) -> int:
        return len(self._subscriptions)

    def record(self, endpoint: str, action: str, reason: str, **fields: Any) -> Event:
        """Keep, log and pass on what has happened; never waits."""
        event = Event(self._next, self._clock(), endpoint, action, reason, fields)
        self._next += 1
        self._events.append(event)
        extra = {f"{name}_" if name in _RESERVED else name: fields[name] for name in fields}
        _log.info(
            action,
            extra={"action": action, "endpoint": endpoint, "reason": reason, **extra},
        )
        for subscription in self._subscriptions:
            subscription.put(event)
        return event

    def since(self, after: int) -> list[Event]:
        """The events after this one that are still kept, oldest first; 0: all of them.

        An id that was never given out (of a clock that has gone back) counts as 0.
        """
        if after >= self._next:
            return list(self._events)
        return [event for event in self._events if event.id > after]

    def lost_since(self, after: int) -> int:
        """How many events of this process after `after` are no longer kept."""
        if not self._events or after >= self._next or after < self._first:
            return 0
        return max(0, self._events[0].id - after - 1)

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
