"""The `SlotLedger` of one endpoint that several activators share: `lua/ledger.lua` keeps it.

Here are its promises, and who keeps them. Mostly the store does: what it is told of this
activator's tickets, and what follows from its answers, is `ledger_sharing`'s, the conversation
`ledger_talk`'s. While the store is away, or the endpoint has no limit and no replica has just been
started, a ledger in memory decides: with this activator's share of the limit, or with none. So
pacing is exact over all activators, and without a limit a warm request asks nobody. Nor does it
with a limit while slots are plenty: what one gives back is kept for the next (`ledger_keeping`).
`redis_ledgers` makes these and brings them the others' news.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from activator.coordination.base import ASKED
from activator.coordination.ledger_entry import Entry, shared_id
from activator.coordination.ledger_sharing import Sharing
from activator.coordination.ledger_talk import Talk
from activator.core.dispatch import TicketState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from activator.coordination.base import Asked, Decided, Granted
    from activator.coordination.ledger_ops import Batch
    from activator.coordination.memory import MemoryLedger
    from activator.coordination.redis_ledgers import LedgerKit
    from activator.core.dispatch import Ticket
    from activator.core.endpoint import Endpoint, Replica


class RedisLedger(Sharing):
    """See the module; for its promises see `coordination.base`."""

    def __init__(
        self, endpoint: Endpoint, kit: LedgerKit, *, make_local: Callable[[Endpoint], MemoryLedger]
    ) -> None:
        """`make_local`: the ledger that decides while this activator is on its own."""
        super().__init__(endpoint, kit)
        self._make_local = make_local
        self._hears: Granted = self._granted_here
        """One for all tickets: bound anew for each it would be kept by each."""
        if not endpoint.concurrency:
            self._local = self._new_local(endpoint)
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
        self._hears = _nobody_hears  # it is a part of us: we are to be freed at once
        self._kit.forget(self)
        self._talk.close()

    # --- what the others do (told by `redis_ledgers`)

    def recalled(self) -> None:
        """Somebody has found no slot."""
        if self._local is None:
            self._stop_keeping()

    def silent(self, activator: str) -> None:
        """It is to be taken for dead: its slots pass on. Whoever is not heard by the store now says
        so when it declares what it has."""
        if self.is_shared:
            self._dead |= {activator}
        if self._local is None:
            self._talk.batch.bury(activator)
            self._talk.go()
        else:
            self._apply_limit()

    def joined(self, activator: str) -> None:
        """It is there, perhaps again."""
        self._dead -= {activator}
        self.share_anew()

    def share_anew(self) -> None:
        """There are more activators than before, or it is known by now how many there are."""
        if self._local is not None and self.endpoint.concurrency:
            self._apply_limit()

    def catch_up(self) -> None:
        """Something may have been missed."""
        if not self._closed:
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

    @property
    def _is_to_pace(self) -> bool:
        """A replica has been started, and with whoever keeps the limit it would be paced anyway."""
        if self.endpoint.concurrency or not self._kit.link.up:
            return False
        return any(paced for _, paced in self._paces.values())

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


def _nobody_hears(ticket: Ticket, replica: Replica) -> None:
    """The ledger is closed."""
