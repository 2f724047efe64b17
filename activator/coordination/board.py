"""The demand board of several activators: shares told around, words asked for and given.

Puts together `shares`, `words` and `asking` for `coordination.base.DemandBoard`, and passes on what
the others call out.
"""

from __future__ import annotations

import asyncio
import logging
import time
from math import inf
from typing import TYPE_CHECKING, Protocol

from activator.aiokit.tasks import Tasks
from activator.coordination.asking import Asking
from activator.coordination.board_talk import Answered, Concluded, Declared, Revived, Shares
from activator.coordination.drain_store import DrainStore
from activator.coordination.shares import SharesKept
from activator.coordination.words import Words
from activator.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from activator.coordination.base import Member, Roster, Share
    from activator.coordination.board_talk import Said
    from activator.coordination.shares import Timer

_log = logging.getLogger("activator.coordination")

LEFT_WITHIN = 1.0
"""Seconds that leaving may take when the activator ends: afterwards the others see it gone."""
JOINED_AGAIN = 3600.0
"""Seconds between two times that every endpoint is joined although it is: what the store keeps of
it expires after a day in which nobody has."""


class BoardStore(DrainStore, Protocol):
    """What a board needs of a store."""

    async def say(self, shares: Shares) -> None:
        """Call out what this activator has. Raises StoreUnavailable."""

    def listen(self, heard: Callable[[Said], None], missed: Callable[[], None]) -> None:
        """`heard` for everything that anybody calls out, also this activator itself; `missed`
        whenever that begins: what was said before may not have been heard."""


class SharedBoard:
    """Implements `DemandBoard`, until `aclose`."""

    def __init__(
        self,
        store: BoardStore,
        roster: Roster,
        *,
        term: Callable[[], int],
        overruled: Callable[[str, str], None],
        call_later: Callable[[float, Callable[[], None]], Timer],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`term`: of the lease, while leading. `overruled` is told (endpoint, activator) when one
        that may exist is waited for no longer."""
        self._store = store
        self._roster = roster
        self._clock = clock
        self._call_later = call_later
        self._tasks = Tasks("board")
        self._words = Words(
            store,
            roster.me,
            self._tasks,
            is_ours=self._is_ours,
            clock=clock,
        )
        self._asking = Asking(
            store,
            roster,
            self._words,
            self._tasks,
            term=term,
            clock=clock,
            overruled=overruled,
        )
        self._shares = SharesKept(
            roster.me,
            clock=clock,
            call_later=call_later,
            say=self._say,
            alive=lambda: roster.members,
        )
        self._joins_again = call_later(JOINED_AGAIN, self._join_again)
        store.listen(self._heard, self._missed)
        roster.on_joined(self._joined)
        roster.on_silent(self._silent)
        roster.on_left(self._left)
        roster.on_forgotten(self._missed)

    async def aclose(self) -> None:
        """Whoever has left is told to the store, if it answers in time."""
        self._joins_again.cancel()
        self._shares.close()
        await self._words.aclose()
        try:
            async with asyncio.timeout(LEFT_WITHIN):
                await self._tasks.drained()
        except TimeoutError:
            _log.info("not left in time", extra={"action": "not_left"})
        await self._tasks.aclose()

    # --- DemandBoard

    def join(self, endpoint: str, member: Member) -> None:
        self._words.join(endpoint, member)
        self._shares.join(endpoint, member)
        member.follow(lambda: self._stirred(endpoint))

    def leave(self, endpoint: str) -> None:
        member = self._words.member(endpoint)
        if member is not None:
            member.follow(_nothing)
        self._asking.conclude(endpoint, ordered=False)
        self._words.leave(endpoint)
        self._shares.leave(endpoint)

    def demand(self, endpoint: str) -> int:
        member = self._words.member(endpoint)
        ours = member.demand if member else 0
        return ours + self._shares.elsewhere(endpoint).demand

    def last_ended(self, endpoint: str) -> float:
        member = self._words.member(endpoint)
        return max(member.last_ended if member else -inf, self._shares.ended(endpoint))

    def elsewhere(self, endpoint: str) -> Share:
        return self._shares.elsewhere(endpoint)

    def unsure_until(self, endpoint: str) -> float:
        moments = [-inf]
        for act in self._roster.unknown:
            since = self._roster.silent_since(act)
            if since is not None:
                moments.append(since + (self._words.patience(endpoint) or inf))
        return max(moments)

    async def ask_quiet(
        self, endpoint: str, replicas: Sequence[str] | None = None, *, fence: str = ""
    ) -> bool:
        if replicas is None and self.demand(endpoint):
            return False
        which = None if replicas is None else tuple(replicas)
        return await self._asking.ask(endpoint, which, fence=fence)

    async def agree(self, endpoint: str) -> bool:
        return await self._asking.agree(endpoint)

    def conclude(self, endpoint: str, *, ordered: bool) -> None:
        self._asking.conclude(endpoint, ordered=ordered)
        self._words.revive(endpoint)

    def revive(self, endpoint: str) -> None:
        self.conclude(endpoint, ordered=False)

    def saw(self, endpoint: str, *, fence: str, empty: bool) -> None:
        self._words.saw(endpoint, fence=fence, empty=empty)

    # --- what happens

    def _is_ours(self, endpoint: str, number: int) -> bool:
        return self._asking.is_ours(endpoint, number)

    def _stirred(self, endpoint: str) -> None:
        self._shares.stirred(endpoint)
        self._words.revive(endpoint)

    def _heard(self, said: Said) -> None:
        match said:
            case Shares():
                if said.asks and said.act != self._roster.me:
                    self._shares.tell_all()
                for endpoint in self._shares.heard(said):
                    self._tell(endpoint)
            case Declared(by=by) if by != self._roster.me:
                self._words.declared(said)
            case Answered() | Revived():
                self._asking.heard(said)
            case Concluded(endpoint, number, ordered) if not ordered:
                self._words.called_off(endpoint, number)

    def _missed(self) -> None:
        self._words.join_again()
        self._shares.tell_all(asking=True)

    def _joined(self, _act: str) -> None:
        self._shares.roster_changed()
        self._tell_all()

    def _silent(self, _act: str) -> None:
        self._shares.roster_changed()
        self._tell_all()

    def _left(self, act: str) -> None:
        self._shares.forget(act)
        self._shares.roster_changed()
        self._tell_all()

    def _join_again(self) -> None:
        self._joins_again = self._call_later(JOINED_AGAIN, self._join_again)
        self._words.join_again()

    def _tell(self, endpoint: str) -> None:
        member = self._words.member(endpoint)
        if member is not None:
            member.changed()

    def _tell_all(self) -> None:
        for member in self._words.members():
            member.changed()

    def _say(self, shares: Shares) -> None:
        self._tasks.spawn(self._say_it(shares), name="say")

    async def _say_it(self, shares: Shares) -> None:
        try:
            await self._store.say(shares)
        except StoreUnavailable:
            return  # all of it is told once somebody can hear it


def _nothing() -> None:
    return
