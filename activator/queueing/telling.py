"""Who wants to hear of what, within this process; hearing comes a turn of the loop later.

So nobody is called from within his own call, and one that fails does not keep the others from
hearing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

K = TypeVar("K")
T = TypeVar("T")


class Bells(Generic[K, T]):
    """Bells of many topics; each costs an entry as long as somebody listens."""

    def __init__(
        self,
        *,
        first: Callable[[K], None] = lambda topic: None,
        last: Callable[[K], None] = lambda topic: None,
    ) -> None:
        """`first`, `last`: called when a topic gets its first listener and has lost its last."""
        self._listeners: dict[K, list[Bell[K, T]]] = {}
        self._first = first
        self._last = last

    def listen(self, topic: K, told: Callable[[T], None]) -> Bell[K, T]:
        bell = Bell(self, topic, told)
        listeners = self._listeners.setdefault(topic, [])
        listeners.append(bell)
        if len(listeners) == 1:
            self._first(topic)
        return bell

    def ring(self, topic: K, what: T) -> None:
        loop = asyncio.get_running_loop()
        for bell in self._listeners.get(topic, ()):
            loop.call_soon(bell.hear, what)

    @property
    def topics(self) -> list[K]:
        return list(self._listeners)

    def forget(self, bell: Bell[K, T]) -> None:
        listeners = self._listeners.get(bell.topic, [])
        if bell in listeners:
            listeners.remove(bell)
            if not listeners:
                del self._listeners[bell.topic]
                self._last(bell.topic)


class Bell(Generic[K, T]):
    """One listener."""

    __slots__ = ("_bells", "_told", "topic")

    def __init__(self, bells: Bells[K, T], topic: K, told: Callable[[T], None]) -> None:
        self._bells: Bells[K, T] | None = bells
        self._told = told
        self.topic = topic

    def hear(self, what: T) -> None:
        if self._bells is not None:
            self._told(what)

    def close(self) -> None:
        bells, self._bells = self._bells, None
        self._told = _nobody
        if bells is not None:
            bells.forget(self)


def _nobody(what: object) -> None:
    """Nobody listens any more."""
