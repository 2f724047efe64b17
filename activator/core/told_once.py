"""Which events of several activators tell the same: all of them see what becomes of a replica.

Decides what is told once. Everything else (an order, a change of the configuration) is of the
activator that says it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

SEEN_BY_ALL: Final = frozenset(
    {
        *("activating", "replica_ready", "activated", "deactivated"),
        *("lost", "crashed", "start_failed", "failed", "rescaled"),
    }
)
"""Actions that every activator records by itself of the endpoints that it shares."""

TOGETHER: Final = 60.0
"""Seconds within which activators see the same: they probe and watch for themselves."""


@dataclass(slots=True)
class _Occasion:
    at: float
    authors: set[str] = field(default_factory=set)


class ToldOnce:
    """Asked about events in the order that all activators know, it says the same at each."""

    __slots__ = ("_occasions",)

    def __init__(self) -> None:
        self._occasions: dict[tuple[str, str, str], list[_Occasion]] = {}
        """By endpoint, action and replica."""

    def is_repeat(
        self, endpoint: str, action: str, *, replica: str, author: str, at: float
    ) -> bool:
        """Whether another activator has told this before; `at`: Unix time, as the author says.

        Who tells it a second time tells of another occasion."""
        if action not in SEEN_BY_ALL:
            return False
        self._forget(before=at - TOGETHER)
        what = (endpoint, action, replica)
        # taken out and put in again: whichever was told of last comes last
        occasions = [one for one in self._occasions.pop(what, []) if at - one.at <= TOGETHER]
        self._occasions[what] = occasions
        for occasion in occasions:
            if author not in occasion.authors:
                occasion.authors.add(author)
                return True
        occasions.append(_Occasion(at, {author}))
        return False

    def _forget(self, *, before: float) -> None:
        """Bounded by what happens within `TOGETHER`."""
        for what, occasions in list(self._occasions.items()):
            if occasions[-1].at >= before:
                return
            del self._occasions[what]
