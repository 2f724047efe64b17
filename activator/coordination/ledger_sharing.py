"""A ledger as far as the store decides: what is said of its tickets and replicas, and what follows
from the answers.

When it is said is `ledger_talk`'s; slots that are kept for the next requests are
`ledger_keeping`'s. Whether it is the store that decides, or this activator on its own, is left to
`redis_ledger`, which builds on this.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import count
from typing import TYPE_CHECKING, Final

from activator.coordination.ledger_entry import Entry, shared_id
from activator.coordination.ledger_keeping import Keeping
from activator.coordination.ledger_ops import joined
from activator.coordination.ledger_spares import Spares, is_plenty
from activator.core.dispatch import TicketState
from activator.core.endpoint import Balance
from activator.core.hashing import fingerprint, rank

if TYPE_CHECKING:
    from collections.abc import Mapping

    from activator.coordination.ledger_ops import Batch, Reply
    from activator.coordination.memory import MemoryLedger
    from activator.coordination.redis_ledgers import LedgerKit
    from activator.core.dispatch import Ticket
    from activator.core.endpoint import Endpoint, Replica

STRICT: Final = 1e10
"""Seconds by which a level of urgency outweighs any time in line, where waiting improves none."""


class Sharing(Keeping, ABC):
    """Of a `RedisLedger`. What this activator has is known here: `_entries`."""

    def __init__(self, endpoint: Endpoint, kit: LedgerKit) -> None:
        self.endpoint = endpoint
        self._kit = kit
        self._local: MemoryLedger | None = None
        """Decides while this activator is on its own; None: the store does."""
        self._entries: dict[Ticket, Entry] = {}
        self._by_seq: dict[str, Entry] = {}
        """Those that the store knows, or is about to."""
        self._seqs = count()
        self._clock = kit.exact_clock
        self._spares = Spares()
        self._can_be_plenty = False
        self._is_serving = False
        self._replicas: dict[str, tuple[Replica, bool]] = {}
        """By the id that all activators share: as it is offered here, and whether it is paced."""
        self._busy: Mapping[str, int] = {}
        """In flight at each replica over all activators, as last heard."""
        self._mine: dict[str, int] = {}
        """In flight at each replica, of this activator."""
        self._paced = False
        """As last heard: a replica's window is still opening."""
        self._pacing = False
        """Shared for that reason, limit or none."""
        self._warm: set[str] = set()
        """Replicas that are not paced any more."""
        self._offered_in = self._lined_up_in = None
        self._dead: frozenset[str] = frozenset()
        """Activators that are to be taken for dead, until the store has heard it from here."""
        self._held = False
        self._closed = False

    @abstractmethod
    def _end_pacing(self) -> None:
        """The store has said that no replica's window is opening any more."""

    # --- what it hears

    def follow(self, batch: Batch, reply: Reply) -> None:
        self._paced, self._busy = reply.paced, reply.busy
        if batch.buried:
            self._dead = self._dead.difference(batch.buried)
        if batch is self._offered_in:
            self._offered_in = None
        if batch is self._lined_up_in:
            self._lined_up_in = None
        for (letter, seq), name in zip(batch.asked, reply.answers, strict=False):
            if letter == "A":
                self._decide(seq, name)
            else:
                self._taken(seq, name)
        for seq, replica in reply.grants:
            self._grant(self._by_seq.get(seq), replica)
        if reply.offers or reply.missed:
            self._make_up_for(reply)
        if self._can_be_plenty:
            self._keep_or_not(reply, refused=bool(batch.asked) and "" in reply.answers)
        if not reply.paced and (self._pacing or len(self._warm) < len(self._replicas)):
            self._end_pacing()

    def _decide(self, seq: str, name: str) -> None:
        entry = self._by_seq.get(seq)
        if entry is not None and entry.phase == Entry.LEFT:
            self._spare_or_not(entry, name)
            return
        if entry is None or entry.phase != Entry.ASKING or entry.decided is None:
            return  # it has left, which the store is told next
        self._spares.askers.pop(seq, None)
        replica = self._replicas.get(name, (None, False))[0]
        if replica is None:
            if name:
                self._talk.batch.give_up(seq)  # that replica has just gone
            entry.phase, entry.ticket.state = Entry.REFUSED, TicketState.DONE
        else:
            self._reserve(entry, replica)
        self._tell(entry.decided, entry.ticket, replica)
        if entry.phase == Entry.REFUSED and entry.ticket in self._entries:
            self._forget(entry)  # it lines up later, or never
            self._talk.batch.give_up(seq)

    def _taken(self, seq: str, name: str) -> None:
        entry = self._by_seq.get(seq)
        if entry is None or entry.phase != Entry.TAKING:
            return
        if name:
            self._grant(entry, name)
        else:
            self._enter(entry)

    def _make_up_for(self, reply: Reply) -> None:
        """What a check has brought to light."""
        for seq, replica in reply.offers:
            if seq in self._by_seq:
                self.offered(seq, replica)
            else:
                self._talk.batch.give_up(seq)
        for seq in reply.missed:
            entry = self._by_seq.get(seq)
            if entry is None or entry.phase >= Entry.GRANTED:
                self._talk.batch.give_up(seq)
            else:
                self._enter(entry)

    def offered(self, seq: str, replica: str) -> None:
        """A slot has become free for one of ours."""
        entry = self._by_seq.get(seq)
        if entry is None or entry.phase != Entry.WAITING or self._local is not None:
            return
        if replica not in self._replicas:
            self._line_up_anew(entry)
            return
        entry.phase = Entry.TAKING
        self._talk.batch.take(seq)
        self._talk.go()

    def _grant(self, entry: Entry | None, name: str) -> None:
        if entry is None or entry.phase not in (Entry.WAITING, Entry.TAKING):
            return
        replica = self._replicas.get(name, (None, False))[0]
        if replica is None or self._held:
            self._line_up_anew(entry)
        elif entry.granted is not None:
            self._reserve(entry, replica)
            self._tell(entry.granted, entry.ticket, replica)

    # --- what it says

    def declare(self, batch: Batch) -> None:
        self._begin_sharing()
        self._forget_spares()
        self._lined_up_in = None
        for each in self._dead:
            batch.bury(each)
        self._offer()
        # what is in flight comes first: whoever asks or waits is given only what that leaves
        for entry in sorted(self._entries.values(), key=_is_without):
            self._declare(entry, batch)

    def _declare(self, entry: Entry, batch: Batch) -> None:
        ticket = entry.ticket
        if entry.phase == Entry.GRANTED:
            assert ticket.replica is not None
            batch.has(entry.seq, entry.at)
        elif entry.phase == Entry.ASKING:
            self._ask(entry)
        else:
            entry.phase = Entry.WAITING
            ticket.state, ticket.replica = TicketState.WAITING, None
            self._enter(entry)

    def _begin_sharing(self) -> None:
        """The store decides from here on, and not this activator on its own."""
        local, self._local = self._local, None
        if local is None:
            return
        local.close()
        for entry in self._entries.values():
            if not entry.seq:
                self._name(entry)

    def _ask(self, entry: Entry) -> None:
        ticket, batch = entry.ticket, self._talk.batch
        if self._can_be_plenty and not ticket.exclude:
            self._spares.askers[entry.seq] = entry
        score, would_wait = self._score(entry), not ticket.passive
        if not ticket.exclude and ticket.affinity is None:
            batch.ask(entry.seq, score=score, would_wait=would_wait)
        else:
            excluded, liked = self._wishes(ticket)
            batch.ask_for(
                entry.seq, score=score, would_wait=would_wait, excluded=excluded, liked=liked
            )
        # with nobody else here nobody comes along in this turn of the loop
        self._talk.go(at_once=len(self._entries) == 1)

    def _enter(self, entry: Entry) -> None:
        entry.phase = Entry.WAITING
        self._stop_keeping()
        self._lined_up_in = self._talk.batch
        excluded, liked = self._wishes(entry.ticket)
        self._talk.batch.enter(entry.seq, score=self._score(entry), excluded=excluded, liked=liked)
        self._talk.go()

    def _line_up_anew(self, entry: Entry) -> None:
        """It cannot use what it was given. By another name: what the store says of the one that is
        given up may have been on its way before."""
        self._talk.batch.give_up(entry.seq)
        del self._by_seq[entry.seq]
        self._name(entry)
        self._enter(entry)

    def _offer(self) -> None:
        self._stop_keeping()
        self._can_be_plenty = len(self._replicas) == 1 and is_plenty(self.endpoint.concurrency, 0)
        offered = [(name, paced) for name, (_, paced) in self._paces.items()]
        self._talk.batch.offer(offered, held=self._held)
        self._offered_in = self._talk.batch
        self._talk.go()

    @property
    def _paces(self) -> dict[str, tuple[Replica, bool]]:
        """The replicas, and whether each is to be paced: one that is warm is not, whoever asks."""
        return {
            name: (replica, paced and name not in self._warm)
            for name, (replica, paced) in self._replicas.items()
        }

    def _score(self, entry: Entry) -> int:
        """Microseconds."""
        ticket = entry.ticket
        level = self.endpoint.queue.age or STRICT
        return int((ticket.arrived + ticket.urgency * level + self._kit.store_clock.offset) * 1e6)

    def _order(self, entry: Entry) -> tuple[float, str]:
        ticket = entry.ticket
        return ticket.arrived + ticket.urgency * (self.endpoint.queue.age or STRICT), entry.seq

    def _wishes(self, ticket: Ticket) -> tuple[str, str]:
        """(replicas that it must not meet, those that it likes in order)"""
        present = {replica.id: name for name, (replica, _) in self._replicas.items()}
        excluded = [present[name] for name in ticket.exclude if name in present]
        if ticket.affinity is None:
            return joined(excluded), ""
        mark = fingerprint(ticket.affinity)
        able = [name for name in self._replicas if name not in excluded]
        able.sort(key=lambda name: rank(mark, fingerprint(name.encode())), reverse=True)
        everyone = self.endpoint.balance is Balance.PREFIX_HASH
        return joined(excluded), joined(able if everyone else able[:1])

    # --- what it has

    def _entry(self, ticket: Ticket, phase: int) -> Entry:
        self._refuse_twice(ticket)
        entry = self._entries[ticket] = Entry(ticket, phase)
        if self._local is None:
            self._name(entry)
        if ticket.arrived < 0:
            ticket.arrived = self._kit.clock()
        return entry

    def _name(self, entry: Entry) -> None:
        """For the store; the one that was here first has the lesser name."""
        entry.seq = seq = f"{next(self._seqs):012x}"
        self._by_seq[seq] = entry

    def _forget(self, entry: Entry) -> None:
        entry.ticket.state = TicketState.DONE
        del self._entries[entry.ticket]
        self._drop(entry)

    def _drop(self, entry: Entry) -> str:
        """Returns the replica of which it had a slot."""
        if entry.seq:
            del self._by_seq[entry.seq]
        if entry.phase != Entry.GRANTED:
            self._spares.askers.pop(entry.seq, None)
            return ""
        self._end_flight(entry.at)
        return entry.at

    def _reserve(self, entry: Entry, replica: Replica) -> None:
        entry.phase = Entry.GRANTED
        entry.ticket.state, entry.ticket.replica = TicketState.GRANTED, replica
        name = entry.at = shared_id(replica.id)
        self._mine[name] = self._mine.get(name, 0) + 1

    def _load(self, name: str) -> int:
        busy = self._busy.get(name, 0) - len(self._spares.kept)  # they are all at one
        return max(self._mine.get(name, 0), busy)


def _is_without(entry: Entry) -> bool:
    return entry.phase != Entry.GRANTED
