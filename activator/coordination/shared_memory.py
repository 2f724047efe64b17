"""A store that several activators within one process share: the twin of Redis, for tests and for
comparing both. What is kept and refused is decided by `core`'s records; nothing is ever away
unless it is told to be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from activator.core.election import LeaseRecord
from activator.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class SharedMemory:
    """Implements `roster.RosterStore` and `lease.LeaseStore`."""

    def __init__(self) -> None:
        self.away = False
        """Every verb raises StoreUnavailable."""
        self.roster: dict[str, bytes] = {}
        self.lease = LeaseRecord()
        self._given_back: list[Callable[[], None]] = []

    def check(self) -> None:
        if self.away:
            raise StoreUnavailable("The store is away")

    # --- the roster

    async def beat(self, act: str, record: bytes) -> tuple[bool, Mapping[str, bytes]]:
        self.check()
        is_new = act not in self.roster
        self.roster[act] = record
        return is_new, dict(self.roster)

    async def drop(self, act: str, record: bytes | None = None) -> None:
        self.check()
        if record is None or self.roster.get(act) == record:
            self.roster.pop(act, None)

    # --- the lease

    async def look(self) -> LeaseRecord:
        self.check()
        return self.lease

    async def acquire(self, act: str, *, seen: LeaseRecord, term: int) -> tuple[LeaseRecord, bool]:
        self.check()
        if self.lease != seen:
            return self.lease, False
        self.lease = LeaseRecord(act, term, 1)
        return self.lease, True

    async def renew(self, act: str, *, term: int) -> tuple[LeaseRecord, bool]:
        self.check()
        if (self.lease.holder, self.lease.term) != (act, term):
            return self.lease, False
        self.lease = LeaseRecord(act, term, self.lease.beat + 1)
        return self.lease, True

    async def give_back(self, act: str, *, term: int) -> None:
        self.check()
        if (self.lease.holder, self.lease.term) == (act, term):
            self.lease = LeaseRecord("", term, self.lease.beat)
            for told in tuple(self._given_back):
                told()

    def listen(self, given_back: Callable[[], None]) -> None:
        self._given_back.append(given_back)
