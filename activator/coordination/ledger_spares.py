"""Slots that an activator keeps for its next requests as one keeps connections.

To the store they are in flight, so limits stay exact whoever dies. As soon as somebody finds no
slot, here or at another activator, all are given back, and nobody keeps any while somebody waits;
what was not needed for half a second is given back too. So where nobody waits a request costs no
round trip, and where somebody does everything is the store's to decide (`redis_ledger`). Decides
when there are plenty, and which spare is next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from activator.coordination.ledger_entry import Entry
from activator.core.dispatch import Ticket

if TYPE_CHECKING:
    from collections.abc import Sequence

PLENTY: Final = 8
"""Slots of a replica that must be free of everybody, spares too, before one is kept; of a limit
beyond twice as many it is half. So the others mostly find one at once, although some are kept."""


_NOBODYS: Final = Ticket()
"""A spare one keeps nothing alive: a ticket may be all there is of a request."""


def is_plenty(limit: int, busy: int) -> bool:
    """`busy`: slots of the replica that somebody has, over all activators."""
    return limit - busy >= max(PLENTY, limit // 2)


class Spares:
    """Those of one endpoint, all at its one replica."""

    __slots__ = ("_least", "allowed", "askers", "kept", "told")

    def __init__(self) -> None:
        self.kept: list[Entry] = []
        self.askers: dict[str, Entry] = {}
        """By seq: who has asked the store for a slot, and would do with a spare one. The first to
        ask is the first to be served."""
        self.allowed = False
        """There are plenty, as last heard."""
        self.told = False
        """The store knows that some may be kept here."""
        self._least = 0

    def put(self, entry: Entry) -> None:
        entry.phase, entry.ticket = Entry.SPARE, _NOBODYS
        entry.granted = entry.decided = None
        self.kept.append(entry)

    def take(self) -> Entry:
        entry = self.kept.pop()
        self._least = min(self._least, len(self.kept))
        return entry

    def next_asker(self) -> Entry:
        return self.askers.pop(next(iter(self.askers)))

    def take_idle(self) -> Sequence[Entry]:
        """Those that nobody has needed since this was asked last."""
        idle = self.kept[: self._least]
        del self.kept[: self._least]
        self._least = len(self.kept)
        return idle

    def take_all(self) -> Sequence[Entry]:
        """None is kept from now on."""
        kept, self.kept = self.kept, []
        self.allowed = self.told = False
        self._least = 0
        return kept
