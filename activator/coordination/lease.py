"""The lease that makes one activator the leader, over a record in a store that all share.

When to ask for what is decided by `core.election`; here it is asked, and told who wants to know.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Protocol

from activator.aiokit.tasks import Tasks
from activator.core.backoff import Backoff
from activator.core.duty import Duty
from activator.core.election import (
    Acquire,
    Election,
    LeaseRecord,
    Look,
    Pace,
    Renew,
    StepDown,
    Wait,
)
from activator.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.coordination.base import Roster
    from activator.core.election import Question

_log = logging.getLogger("activator.coordination")


class LeaseStore(Protocol):
    """Where the record is. Each verb returns it as it then is, and whether it did what it says.
    All raise StoreUnavailable."""

    async def look(self) -> LeaseRecord: ...

    async def acquire(self, act: str, *, seen: LeaseRecord, term: int) -> tuple[LeaseRecord, bool]:
        """Make `act` its holder, if the record is still `seen`."""

    async def renew(self, act: str, *, term: int) -> tuple[LeaseRecord, bool]:
        """Move the record, if it is still of this holder and term."""

    async def give_back(self, act: str, *, term: int) -> None:
        """Have it held by nobody, if it is still of this holder and term, and call that out."""

    def listen(self, given_back: Callable[[], None]) -> None: ...


class SharedLease:
    """Implements `coordination.base.Lease`, between `open` and `aclose`."""

    def __init__(
        self,
        store: LeaseStore,
        roster: Roster,
        *,
        clock: Callable[[], float] = time.monotonic,
        pace: Pace | None = None,
        is_all: bool = False,
    ) -> None:
        """`is_all`: activators share nothing else, so that only its holder is on duty."""
        self._store = store
        self._is_all = is_all
        self._me = roster.me
        self._clock = clock
        pace = pace or Pace()
        self._election = Election(roster.me, pace=pace)
        self._again = Backoff(first=pace.look, cap=pace.look)
        """After a fault: that it does not lead any more is told as soon as it is so."""
        self._reached = float("-inf")
        self._tasks = Tasks("lease")
        self._wake = asyncio.Event()
        self._listeners: dict[object, Callable[[], None]] = {}
        """One for each endpoint, too: thousands that come and go."""
        self._told = (False, self.duty)
        """What `leading` and `duty` were when the listeners were told."""
        roster.on_left(self._left)
        store.listen(self._given_back)

    @property
    def leading(self) -> bool:
        return self._election.leads(now=self._now)

    @property
    def term(self) -> int:
        return self._election.record.term

    @property
    def duty(self) -> Duty:
        return self._election.duty(now=self._now) if self._is_all else Duty.SERVES

    @property
    def record(self) -> LeaseRecord:
        """As last seen."""
        return self._election.record

    @property
    def taken_from(self) -> LeaseRecord | None:
        """While leading: what was found when it was taken."""
        return self._election.taken_from

    def on_change(self, told: Callable[[], None]) -> Callable[[], None]:
        this = object()
        self._listeners[this] = told

        def unfollow() -> None:
            self._listeners.pop(this, None)

        return unfollow

    def open(self) -> None:
        self._tasks.spawn_lasting(self._run, name="run", pauses=self._again)

    async def aclose(self) -> None:
        """Give it back, if it is ours."""
        await self._tasks.aclose()
        record = self._election.give_back()
        self._tell()
        if record is None:
            return
        try:
            await self._store.give_back(self._me, term=record.term)
        except StoreUnavailable as error:
            _log.info("lease not given back: %s", error.detail, extra={"action": "not_given_back"})

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            match self._election.step(now=self._now):
                case Wait(until):
                    await self._sleep(until)
                case StepDown():
                    self._tell()
                case question:
                    await self._ask(question)
                    self._tell()  # before anything else runs: whoever is told prepares for it

    @property
    def _now(self) -> float:
        """Timers may fire a hair early: what was slept until has come."""
        return max(self._reached, self._clock())

    async def _sleep(self, until: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, until - self._clock())):
                await self._wake.wait()
        except TimeoutError:
            self._reached = until

    async def _ask(self, question: Question) -> None:
        asked = self._clock()
        try:
            record, done = await self._carry_out(question)
        except Exception as error:
            self._election.failed(now=self._clock())
            if not isinstance(error, StoreUnavailable):
                raise
            return
        self._election.answered(question, record, done=done, asked=asked, now=self._clock())

    async def _carry_out(self, question: Question) -> tuple[LeaseRecord, bool]:
        match question:
            case Look():
                return await self._store.look(), True
            case Acquire(seen, term):
                return await self._store.acquire(self._me, seen=seen, term=term)
            case Renew(seen):
                return await self._store.renew(self._me, term=seen.term)

    def _tell(self) -> None:
        leading, duty = self.leading, self.duty
        before, self._told = self._told, (leading, duty)
        if before == self._told:
            return
        if leading != before[0]:
            action = "leading" if leading else "not_leading"
            _log.info(action, extra={"action": action, "term": self.term})
        self._tasks.tell_each(self._listeners.values())

    def _left(self, act: str) -> None:
        self._election.is_gone(act)
        self._wake.set()

    def _given_back(self) -> None:
        self._election.look_now()
        self._wake.set()
