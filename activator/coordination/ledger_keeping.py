"""A ledger that keeps slots for its next requests while they are plenty: what it does with them.

When, and which, is `ledger_spares`'; that the store hears of it, `ledger_talk`'s.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from activator.coordination.ledger_entry import Entry
from activator.coordination.ledger_spares import is_plenty
from activator.core.dispatch import TicketState

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.coordination.ledger_ops import Batch, Reply
    from activator.coordination.ledger_spares import Spares
    from activator.coordination.ledger_talk import Talk
    from activator.coordination.redis_ledgers import LedgerKit
    from activator.core.dispatch import Ticket
    from activator.core.endpoint import Endpoint, Replica

_log = logging.getLogger("activator.coordination")


class Keeping:
    """Of a ledger that is `Sharing`, which fills this in and says what it all is."""

    endpoint: Endpoint
    _kit: LedgerKit
    _talk: Talk
    _clock: Callable[[], float]
    """Exact, as of the kit."""
    _entries: dict[Ticket, Entry]
    _by_seq: dict[str, Entry]
    _replicas: dict[str, tuple[Replica, bool]]
    _mine: dict[str, int]
    _spares: Spares
    _can_be_plenty: bool
    """One replica with a limit that leaves room for slots that are kept."""
    _is_serving: bool
    """Spare ones are given to those that ask at the end of this turn of the loop."""
    _offered_in: Batch | None
    """What tells the store of the replicas, until it has answered."""
    _lined_up_in: Batch | None
    """What tells the store of the latest to line up, likewise."""
    _held: bool
    _closed: bool

    def _has_spare_for(self, ticket: Ticket) -> bool:
        spares = self._spares
        if spares.askers or ticket.exclude:
            return False  # who asks already comes first
        return self._clock() < self._talk.fresh_until

    def _take_spare(self, ticket: Ticket) -> Replica:
        self._refuse_twice(ticket)
        entry = self._spares.take()
        entry.ticket = ticket
        self._entries[ticket] = entry
        if ticket.arrived < 0:
            ticket.arrived = self._kit.clock()
        return self._begin_flight(entry, entry.at)

    def _keep(self, entry: Entry) -> bool:
        """The slot that its ticket gives back; False: it is the store's to give to somebody."""
        name = entry.at
        if entry.phase != Entry.GRANTED or name not in self._replicas:
            return False
        if self._clock() >= self._talk.fresh_until:
            return False
        entry.ticket.state = TicketState.DONE
        self._end_flight(name)
        self._put(entry)
        return True

    def _put(self, spare: Entry) -> None:
        spares = self._spares
        spares.put(spare)
        if not spares.told:
            spares.told = True
            self._talk.batch.keep()
            self._talk.go()
        if spares.askers and not self._is_serving:
            self._is_serving = True
            self._talk.call_soon(self._serve)

    def _serve(self) -> None:
        """Who asks takes what is spare; what the store answers it is spare then."""
        self._is_serving = False
        spares = self._spares
        while spares.kept and spares.askers and self._clock() < self._talk.fresh_until:
            entry, spare = spares.next_asker(), spares.take()
            entry.seq, spare.seq = spare.seq, entry.seq
            self._by_seq[entry.seq], self._by_seq[spare.seq] = entry, spare
            spare.phase = Entry.LEFT
            replica = self._begin_flight(entry, spare.at)
            if entry.decided is not None:
                self._tell(entry.decided, entry.ticket, replica)

    def _spare_or_not(self, entry: Entry, name: str) -> None:
        """What was asked for on behalf of one that has left."""
        if name in self._replicas and self._spares.allowed:
            entry.at = name
            self._put(entry)
            return
        del self._by_seq[entry.seq]
        self._talk.batch.give_up(entry.seq)

    def _keep_or_not(self, reply: Reply, *, refused: bool) -> None:
        """`refused`: somebody here has found no slot."""
        scarce = refused or reply.scarce or reply.paced or self._held or self._closed
        unheard = self._offered_in is not None or self._lined_up_in is not None
        if scarce or unheard:
            self._stop_keeping()
        elif is_plenty(self.endpoint.concurrency, reply.busy.get(next(iter(self._replicas)), 0)):
            self._spares.allowed = True
        else:
            self._stop_keeping()

    def _stop_keeping(self) -> None:
        if not self._spares.allowed:
            return
        for spare in self._spares.take_all():
            self._give_back(spare)
        self._talk.go()

    def _give_back(self, spare: Entry) -> None:
        del self._by_seq[spare.seq]
        self._talk.batch.release(spare.seq, spare.at)

    def _forget_spares(self) -> None:
        """The store is told of everything anew, or of nothing any more."""
        self._spares.take_all()
        self._spares.askers.clear()
        self._by_seq = {entry.seq: entry for entry in self._entries.values() if entry.seq}

    # --- small things

    def _refuse_twice(self, ticket: Ticket) -> None:
        if ticket in self._entries:
            raise ValueError("a ticket that waits or has a slot cannot be acquired")

    def _begin_flight(self, entry: Entry, name: str) -> Replica:
        """As `_reserve`, by the name that all activators share."""
        replica, ticket = self._replicas[name][0], entry.ticket
        entry.phase, entry.at = Entry.GRANTED, name
        ticket.state, ticket.replica = TicketState.GRANTED, replica
        self._mine[name] = self._mine.get(name, 0) + 1
        return replica

    def _end_flight(self, name: str) -> None:
        left = self._mine[name] = self._mine[name] - 1
        if not left:
            del self._mine[name]

    def _tell(self, told: Callable[..., None], ticket: Ticket, replica: Replica | None) -> None:
        """One that raises does not cost the others their grant."""
        if self._closed:
            return
        try:
            told(ticket, replica)
        except Exception:
            _log.exception("a grant could not be told", extra={"action": "not_told"})
