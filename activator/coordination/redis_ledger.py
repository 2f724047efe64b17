"""The `SlotLedger` of one endpoint that several activators share: `lua/ledger.lua` keeps it.

What this activator has is known here (`_entries`), and told to the store by `ledger_talk`. While
the store is away, or the endpoint has no limit and no replica has just been started, a ledger in
memory decides: with this activator's share of the limit, or with none. So pacing is exact over all
activators, and without a limit a warm request asks nobody. Nor does it with a limit while slots are
plenty: what one gives back is kept for the next (`ledger_keeping`). `redis_ledgers` makes these and
brings them the others' news.
"""

from __future__ import annotations

from itertools import count
from math import inf
from typing import TYPE_CHECKING, Final

from activator.coordination.base import ASKED
from activator.coordination.ledger_entry import Entry, shared_id
from activator.coordination.ledger_keeping import Keeping
from activator.coordination.ledger_ops import joined
from activator.coordination.ledger_spares import Spares, is_plenty
from activator.coordination.ledger_talk import Talk
from activator.core.dispatch import TicketState
from activator.core.endpoint import Balance
from activator.core.hashing import fingerprint, rank

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from activator.coordination.base import Asked, Decided, Granted
    from activator.coordination.ledger_ops import Batch, Reply
    from activator.coordination.memory import MemoryLedger
    from activator.coordination.redis_ledgers import LedgerKit
    from activator.core.dispatch import Ticket
    from activator.core.endpoint import Endpoint, Replica

STRICT: Final = 1e10
"""Seconds by which a level of urgency outweighs any time in line, where waiting improves none."""


class RedisLedger(Keeping):
    """See the module; for its promises see `coordination.base`."""

    def __init__(
        self, endpoint: Endpoint, kit: LedgerKit, *, make_local: Callable[[Endpoint], MemoryLedger]
    ) -> None:
        """`make_local`: the ledger that decides while this activator is on its own."""
        self.endpoint = endpoint
        self._kit = kit
        self._make_local = make_local
        self._hears: Granted = self._granted_here
        """One for all tickets: bound anew for each it would be kept by each."""
        self._local: MemoryLedger | None = (
            self._new_local(endpoint) if not endpoint.concurrency else None
        )
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
        self._held = False
        self._closed = False
        self._talk = Talk(kit, self)

    # --- tickets

    def acquire(self, ticket: Ticket, granted: Granted) -> Replica | None:
        entry = self._entries.get(ticket)
        if entry is None and self._spares.kept and self._has_spare_for(ticket):
            return self._take_spare(ticket)
        if entry is None or entry.phase != Entry.REFUSED:
            entry = self._entry(ticket, Entry.WAITING)
        entry.granted = granted
        if self._local is not None:
            replica = self._local.acquire(ticket, self._hears)
            if replica is not None:
                self._reserve(entry, replica)
            return replica
        ticket.state, ticket.replica = TicketState.WAITING, None
        self._enter(entry)
        return None

    def acquire_now(self, ticket: Ticket, decided: Decided) -> Replica | Asked | None:
        if self._local is not None:
            replica = self._local.acquire_now(ticket, decided)
            if replica is not None:
                self._reserve(self._entry(ticket, Entry.ASKING), replica)
            return replica
        if self._spares.kept and self._has_spare_for(ticket):
            return self._take_spare(ticket)
        if self._held or not self._replicas:
            return None
        entry = self._entry(ticket, Entry.ASKING)
        entry.decided = decided
        self._ask(entry)
        return ASKED

    def withdraw(self, ticket: Ticket) -> None:
        self.release(ticket)

    def release(self, ticket: Ticket) -> None:
        entry = self._entries.pop(ticket, None)
        if entry is None:
            return
        if self._spares.allowed and self._keep(entry):
            return
        name = self._drop(entry)
        if self._local is not None:
            self._local.release(ticket)
            return
        ticket.state = TicketState.DONE
        if name:
            self._talk.batch.release(entry.seq, name)
        else:
            self._talk.batch.give_up(entry.seq)
        self._talk.go()

    def answered(self, ticket: Ticket) -> None:
        if self._local is not None:
            self._local.answered(ticket)
        elif self._paced and not ticket.passive and ticket.replica is not None:
            self._talk.batch.answered(shared_id(ticket.replica.id))
            self._talk.go()

    # --- replicas and limits

    def offer(self, replicas: Sequence[tuple[Replica, bool]]) -> None:
        self._replicas = {shared_id(each.id): (each, paced) for each, paced in replicas}
        self._warm &= self._replicas.keys()
        if self._local is not None and self._is_to_pace:
            self._pace()
        elif self._local is not None:
            self._local.offer(replicas)
            self._warm.update(self._replicas)
        else:
            self._offer()
            for entry in self._entries.values():
                ticket = entry.ticket
                if entry.phase == Entry.WAITING and (ticket.exclude or ticket.affinity is not None):
                    self._enter(entry)  # its wishes are among those that are offered

    def configure(self, endpoint: Endpoint) -> None:
        was_shared, self.endpoint = bool(self.endpoint.concurrency), endpoint
        if was_shared and not endpoint.concurrency:
            self._stop_sharing()
        self._apply_limit()

    def hold(self) -> None:
        self._held = True
        if self._local is not None:
            self._local.hold()
        else:
            self._offer()

    def resume(self) -> None:
        self._held = False
        if self._local is not None:
            self._apply_limit()
        else:
            self._offer()

    @property
    def waiting(self) -> int:
        return sum(entry.phase in (Entry.WAITING, Entry.TAKING) for entry in self._entries.values())

    @property
    def full(self) -> bool:
        if self._local is not None:
            return self._local.full
        if self._spares.kept:
            return False
        limit = self.endpoint.concurrency or inf
        free = (self._load(name) < limit for name in self._replicas)
        return self._held or self.waiting > 0 or not any(free)

    def place(self, ticket: Ticket) -> int | None:
        """Among those of this activator: the others' are the store's to know."""
        if self._local is not None:
            return self._local.place(ticket)
        entry = self._entries.get(ticket)
        if entry is None or entry.phase not in (Entry.WAITING, Entry.TAKING):
            return None
        mine = self._order(entry)
        others = (each for each in self._entries.values() if each.phase == Entry.WAITING)
        return 1 + sum(self._order(each) < mine for each in others)

    @property
    def is_settled(self) -> bool:
        """The store knows of everything that has happened here, and has answered."""
        return self._talk.is_settled

    def load(self, replica_id: str) -> int:
        """As last heard, and no less than this activator has there itself."""
        if self.endpoint.concurrency:
            return self._load(shared_id(replica_id))
        if self._local is not None:
            return self._local.load(replica_id)
        return self._mine.get(shared_id(replica_id), 0)  # the board adds what the others have

    @property
    def loads(self) -> Mapping[str, int]:
        return dict(self._mine)

    def close(self) -> None:
        """The store is told as soon as it can be; `LedgerKit.aclose` waits for it."""
        self._closed = True
        self._forget_spares()
        if self._local is not None:
            self._local.close()
        self._kit.forget(self)
        self._talk.close()

    # --- what the others do (told by `redis_ledgers`)

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

    def recalled(self) -> None:
        """Somebody has found no slot."""
        if self._local is None:
            self._stop_keeping()

    def silent(self, activator: str) -> None:
        """It is to be taken for dead: its slots pass on."""
        if self._local is None:
            self._talk.batch.bury(activator)
            self._talk.go()
        else:
            self._apply_limit()

    def share_anew(self) -> None:
        """There are more activators than before, or it is known by now how many there are."""
        if self._local is not None:
            self._apply_limit()

    def catch_up(self) -> None:
        """Something may have been missed."""
        self._forget_spares()
        self._talk.begin_again()

    # --- as ledger_talk's Speaker

    @property
    def is_shared(self) -> bool:
        return bool(self.endpoint.concurrency) or self._pacing

    @property
    def is_alone(self) -> bool:
        return self._local is not None

    @property
    def has_tickets(self) -> bool:
        return bool(self._entries or self._spares.kept)

    def before_check(self, batch: Batch) -> None:
        for spare in self._spares.take_idle():
            self._give_back(spare)
        if self._spares.kept:
            batch.keep()  # once more: a word that was lost would not be missed

    def declare(self, batch: Batch) -> None:
        self._begin_sharing()
        self._forget_spares()
        self._lined_up_in = None
        self._offer()
        # what is in flight comes first: whoever asks or waits is given only what that leaves
        for entry in sorted(self._entries.values(), key=_is_without):
            self._declare(entry, batch)

    # --- inside: with the store ------------------------------------------------------------------

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

    def follow(self, batch: Batch, reply: Reply) -> None:
        self._paced, self._busy = reply.paced, reply.busy
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

    def _grant(self, entry: Entry | None, name: str) -> None:
        if entry is None or entry.phase not in (Entry.WAITING, Entry.TAKING):
            return
        replica = self._replicas.get(name, (None, False))[0]
        if replica is None or self._held:
            self._line_up_anew(entry)
        elif entry.granted is not None:
            self._reserve(entry, replica)
            self._tell(entry.granted, entry.ticket, replica)

    def _begin_sharing(self) -> None:
        """The store decides from here on, and not this activator on its own."""
        local, self._local = self._local, None
        if local is None:
            return
        local.close()
        for entry in self._entries.values():
            if not entry.seq:
                self._name(entry)

    # --- inside: on our own

    def carry_on_alone(self) -> None:
        self._forget_spares()
        local = self._local = self._new_local(self._kit.with_share(self.endpoint))
        local.hold()
        local.offer(list(self._paces.values()))
        self._warm.update(self._replicas)  # whatever comes later, they are not paced anew
        self._pacing = False
        for entry in self._entries.values():
            if entry.phase == Entry.GRANTED:
                local.adopt(entry.ticket)
        lined_up = [entry for entry in self._entries.values() if entry.phase != Entry.GRANTED]
        for entry in sorted(lined_up, key=self._order):
            entry.ticket.state = TicketState.NEW
            if entry.phase != Entry.ASKING:
                entry.phase = Entry.WAITING
                local.acquire(entry.ticket, self._hears)
        self._apply_limit()
        for entry in lined_up:
            if entry.phase == Entry.ASKING and entry.decided is not None:
                self._ask_local(local, entry, entry.decided)

    def _new_local(self, endpoint: Endpoint) -> MemoryLedger:
        local = self._make_local(endpoint)
        local.usual = self._hears
        return local

    def _pace(self) -> None:
        """Together with all the others, until every replica is warm."""
        self._pacing = True
        self._begin_sharing()
        self._talk.begin_again()

    def _end_pacing(self) -> None:
        if self._held or self._offered_in is not None:
            return  # the store has not heard of all
        self._warm.update(self._replicas)
        self._pacing = False
        if not self.endpoint.concurrency:
            self._stop_sharing()

    def _stop_sharing(self) -> None:
        """The endpoint has no limit, and nothing is paced."""
        if self._local is None:
            self.carry_on_alone()
        self._talk.leave()

    def _ask_local(self, local: MemoryLedger, entry: Entry, decided: Decided) -> None:
        replica = local.acquire_now(entry.ticket, decided)
        if replica is None:
            self._forget(entry)
        else:
            self._reserve(entry, replica)
        self._tell(decided, entry.ticket, replica)

    def _apply_limit(self) -> None:
        if self._local is None:
            self._offer()  # whatever follows from another limit, the store says in its answer
            return
        self._local.configure(self._kit.with_share(self.endpoint))
        if self._held or (self.endpoint.concurrency and not self._kit.share_of(self.endpoint)):
            self._local.hold()
        else:
            self._local.resume()
        self._talk.go()

    def _granted_here(self, ticket: Ticket, replica: Replica) -> None:
        entry = self._entries.get(ticket)
        if entry is None or entry.phase == Entry.GRANTED or entry.granted is None:
            return  # it has been told before, or was acquired anew
        self._reserve(entry, replica)
        entry.granted(ticket, replica)

    # --- inside: small things

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

    def _score(self, entry: Entry) -> int:
        """Microseconds."""
        ticket = entry.ticket
        level = self.endpoint.queue.age or STRICT
        return int((ticket.arrived + ticket.urgency * level + self._kit.store_clock.offset) * 1e6)

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

    @property
    def _is_to_pace(self) -> bool:
        """A replica has been started, and with whoever keeps the limit it would be paced anyway."""
        if self.endpoint.concurrency or not self._kit.link.up:
            return False
        return any(paced for _, paced in self._paces.values())

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

    def _load(self, name: str) -> int:
        busy = self._busy.get(name, 0) - len(self._spares.kept)  # they are all at one
        return max(self._mine.get(name, 0), busy)


def _is_without(entry: Entry) -> bool:
    return entry.phase != Entry.GRANTED
