"""Every activator's part of scaling down: its word that it has nothing, and taking it back.

Whoever has given its word may send nothing anywhere before every order that was prepared on it is
void (`Member.mark_revived`), unless the asker itself has called it off. A word has no limit in
time: it costs nothing until a request comes. Whether the word of all is enough is decided by
`asking`.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from activator.aiokit.tasks import Tasks
from activator.core.backoff import Backoff
from activator.core.draining import Stage
from activator.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.coordination.base import Member
    from activator.coordination.board_talk import Declared
    from activator.coordination.drain_store import DrainStore
    from activator.core.draining import Drain

LEAVES_WITHIN = 10.0
"""Seconds that single replicas are kept out of rotation on the word given for them: then they are
gone, or nobody has carried it out."""
ALONE_AFTER = 3.0
"""Seconds after which an activator that cannot tell the store of its endpoints serves them all the
same. By then whoever reaches the store knows by the roster that it must be asked."""
AT_ONCE = 100
"""Endpoints that are joined in one operation."""

_AGAIN = Backoff(first=0.1, cap=2.0)
_UNCHECKED = 0
"""The number of a word for a drain that is not known to exist: the store is about to say."""
_EARLIER = -1
"""The number of a word for drains of which the store has forgotten that they were agreed upon,
because another has been declared since: only `Member.mark_revived` makes their orders void."""
_NOT_TOLD: frozenset[str | None] = frozenset((None,))


@dataclass(slots=True)
class _Word:
    number: int
    replicas: tuple[str, ...] | None
    """None: all, and whatever comes is held."""
    owes: bool
    """An earlier word, given to somebody else, is still out: it is not enough that this one is
    called off."""
    ahead: frozenset[str | None]
    """Fences, of the orders that this was given for, which this activator has not seen yet: as far
    as it knows, none of these has been carried out. None: one that it was not told."""
    is_forgotten: bool = False
    """The store has lost what it was given for: whoever joins now knows of no order, which is to be
    void whether or not anybody comes."""


@dataclass(slots=True)
class _Seat:
    """One endpoint that this activator has joined."""

    endpoint: str
    member: Member
    word: _Word | None = None
    joined: bool = False
    """The store knows."""
    is_known: bool = False
    """The store knew at least once."""
    failed_at: float | None = None
    """When it could not be told for the first time."""
    heard: int = 0
    """The latest drain that was heard of."""
    fence: str | None = None
    """As it was seen last."""
    reviving: bool = False


class Words:
    """Of all endpoints of one activator."""

    def __init__(
        self,
        store: DrainStore,
        me: str,
        tasks: Tasks,
        *,
        is_ours: Callable[[str, int], bool],
        clock: Callable[[], float],
    ) -> None:
        """`is_ours`: whether a drain of an endpoint is this activator's own and not over; who
        asked for it then calls it off when a request comes."""
        self._store = store
        self._me = me
        self._tasks = tasks
        self._lasting = Tasks("words")
        """What goes on until it succeeds; `tasks` for what the store is told once."""
        self._is_ours = is_ours
        self._clock = clock
        self._seats: dict[str, _Seat] = {}
        self._joining = False

    async def aclose(self) -> None:
        """Nothing is tried again."""
        await self._lasting.aclose()

    def members(self) -> list[Member]:
        return [seat.member for seat in self._seats.values()]

    def member(self, endpoint: str) -> Member | None:
        seat = self._seats.get(endpoint)
        return seat.member if seat else None

    def patience(self, endpoint: str) -> float:
        seat = self._seats.get(endpoint)
        return seat.member.patience if seat else 0.0

    # --- membership

    def join(self, endpoint: str, member: Member) -> None:
        """Until the store has said that nothing is being drained, what comes is held."""
        seat = self._seats[endpoint] = _Seat(endpoint, member)
        if member.quiesce():
            seat.word = _Word(_UNCHECKED, None, owes=True, ahead=_NOT_TOLD)
        self._join_soon()

    def leave(self, endpoint: str) -> None:
        if self._seats.pop(endpoint, None) is not None:
            self._tasks.spawn(self._leave(endpoint), name=f"leave {endpoint}")

    def join_again(self) -> None:
        """What was declared may have been missed, and the store may have lost everything."""
        for seat in self._seats.values():
            seat.joined = False
        self._join_soon()

    def _join_soon(self) -> None:
        if not self._joining:
            self._joining = True
            self._lasting.spawn_lasting(self._join, name="join")

    async def _join(self) -> None:
        attempt = 0
        while seats := [each for each in self._seats.values() if not each.joined][:AT_ONCE]:
            if await self._join_these(seats):
                attempt = 0
                continue
            attempt += 1
            await asyncio.sleep(_AGAIN.delay(attempt))
        self._joining = False

    async def _join_these(self, seats: list[_Seat]) -> bool:
        try:
            drains = await self._store.join([seat.endpoint for seat in seats], self._me)
        except StoreUnavailable:
            for seat in seats:
                seat.failed_at = self._clock() if seat.failed_at is None else seat.failed_at
                self._revive_if_wanted(seat)
            return False
        for seat, drain in zip(seats, drains, strict=True):
            seat.joined = seat.is_known = True
            if self._seats.get(seat.endpoint) is seat:
                try:
                    self._joined(seat, drain)
                except Exception as bug:  # the others are joined all the same, and without delay
                    seat.joined = False
                    self._lasting.tell_failure(f"join {seat.endpoint}", bug)
        return all(seat.joined for seat in seats)

    def _joined(self, seat: _Seat, drain: Drain) -> None:
        word = seat.word
        match drain.stage:
            case Stage.NONE if word is not None and word.number == _UNCHECKED:
                self._let_go(seat)
            case Stage.NONE if word is not None and drain.number < word.number:
                seat.heard = drain.number
                seat.word = replace(word, is_forgotten=True)
                self._revive(seat)
            case Stage.ASKED:
                self._declared(seat, drain.number, drain.replicas, fence=None)
            case Stage.AGREED if word is None and drain.by != self._me:
                # without us: what we send there already must not be cut
                seat.word = _Word(drain.number, drain.replicas, owes=True, ahead=_NOT_TOLD)
                self._revive(seat)
        self._revive_if_wanted(seat)

    async def _leave(self, endpoint: str) -> None:
        try:
            await self._store.leave([endpoint], self._me)
        except StoreUnavailable:
            return  # the others see that we are gone
        if endpoint in self._seats:  # back already, and perhaps overtaken
            self._seats[endpoint].joined = False
            self._join_soon()

    # --- giving one's word

    def declared(self, said: Declared) -> None:
        seat = self._seats.get(said.endpoint)
        if seat is not None:
            self._declared(seat, said.number, said.replicas, fence=said.fence)
        else:  # we do not have it, and say so
            self._spawn_answer(said.endpoint, said.number, quiet=True)

    def called_off(self, endpoint: str, number: int) -> None:
        """By the asker itself: it will never order on this word, or has ordered and knows how
        that ended."""
        seat = self._seats.get(endpoint)
        if seat is None or seat.word is None or seat.word.number != number:
            return
        if seat.word.owes:
            self._keep(seat, replace(seat.word, number=_EARLIER))
            self._revive_if_wanted(seat)
        else:
            self._let_go(seat)

    def saw(self, endpoint: str, *, fence: str, empty: bool) -> None:
        """See `DemandBoard.saw`. What is seen comes in order, but may be old: that there is nothing
        may be from before what the word was given for."""
        seat = self._seats.get(endpoint)
        if seat is None:
            return
        seat.fence, word = fence, seat.word
        if word is None:
            return
        word.ahead -= {fence}
        if empty and not word.ahead:
            self._let_go(seat)

    def _declared(
        self, seat: _Seat, number: int, replicas: tuple[str, ...] | None, *, fence: str | None
    ) -> None:
        word = seat.word
        if number < seat.heard:
            return
        if number == seat.heard:  # the answer was missed
            quiet = word is not None and word.number == number
        else:
            seat.heard = number
            quiet = seat.member.quiesce(replicas)
            if quiet:
                self._give(seat, number, replicas, fence=fence)
        self._spawn_answer(seat.endpoint, number, quiet=quiet)

    def _give(
        self, seat: _Seat, number: int, replicas: tuple[str, ...] | None, *, fence: str | None
    ) -> None:
        word = seat.word
        if word is not None and replicas is not None:
            replicas = None if word.replicas is None else (*word.replicas, *replicas)
        ahead = frozenset() if word is None else word.ahead
        if fence is None or fence != seat.fence:
            ahead |= {fence}
        self._keep(seat, _Word(number, replicas, owes=word is not None, ahead=ahead))

    def _keep(self, seat: _Seat, word: _Word) -> None:
        seat.word = word
        if word.replicas is not None:
            expire = partial(self._expire, seat, word)
            self._lasting.spawn_lasting(expire, name=f"expire {seat.endpoint}")

    def _spawn_answer(self, endpoint: str, number: int, *, quiet: bool) -> None:
        self._tasks.spawn(self._answer(endpoint, number, quiet=quiet), name=f"answer {endpoint}")

    async def _answer(self, endpoint: str, number: int, *, quiet: bool) -> None:
        try:
            await self._store.answer(endpoint, act=self._me, number=number, quiet=quiet)
        except StoreUnavailable:
            return  # the asker asks again, or gives up

    def _let_go(self, seat: _Seat) -> None:
        seat.word = None
        seat.member.revive()

    async def _expire(self, seat: _Seat, word: _Word) -> None:
        await asyncio.sleep(LEAVES_WITHIN)
        if seat.word is not word:
            return
        if seat.member.withheld:
            self._revive(seat)
        else:
            self._let_go(seat)

    # --- taking it back

    def revive(self, endpoint: str) -> None:
        """A request may have come."""
        seat = self._seats.get(endpoint)
        if seat is not None:
            self._revive_if_wanted(seat)

    def _revive_if_wanted(self, seat: _Seat) -> None:
        word = seat.word
        if word is None or word.replicas is not None or not seat.member.demand:
            return
        if word.number == _UNCHECKED and not self._may_go_alone(seat):
            return  # the store is about to say whether there is a drain at all
        if not self._is_ours(seat.endpoint, word.number):
            self._revive(seat)

    def _may_go_alone(self, seat: _Seat) -> bool:
        if seat.is_known:
            return True
        return seat.failed_at is not None and self._clock() - seat.failed_at >= ALONE_AFTER

    def _revive(self, seat: _Seat) -> None:
        if not seat.reviving:
            seat.reviving = True
            take_back = partial(self._take_back, seat)
            name = f"revive {seat.endpoint}"
            self._lasting.spawn_lasting(take_back, name=name, pauses=_AGAIN)

    async def _take_back(self, seat: _Seat) -> None:
        attempt = 0
        while (word := seat.word) is not None and self._seats.get(seat.endpoint) is seat:
            if word.replicas is None and not (seat.member.demand or word.is_forgotten):
                break  # whoever came has left again
            is_void = await self._make_void(seat, word)
            if seat.word is not word:
                continue  # given anew meanwhile, or called off
            if is_void:
                self._let_go(seat)
                break
            attempt += 1
            await asyncio.sleep(_AGAIN.delay(attempt))
        seat.reviving = False

    async def _make_void(self, seat: _Seat, word: _Word) -> bool:
        """Every order that may have been prepared on this word is refused from now on."""
        told, marked = await asyncio.gather(
            self._tell_revived(seat.endpoint), seat.member.mark_revived()
        )
        if marked:
            if told is not None:
                await self._conclude(seat.endpoint, told)
            return True
        was_only_asked = told is not None and told.stage is Stage.ASKED
        return was_only_asked and told is not None and told.number == word.number and not word.owes

    async def make_void(self, endpoint: str, drain: Drain) -> None:
        """Its order may be out, and nobody knows of its asker: it is not to come any more."""
        member = self.member(endpoint)
        if member is not None and await member.mark_revived():
            await self._conclude(endpoint, drain)

    async def _conclude(self, endpoint: str, drain: Drain) -> None:
        """No order on it can be taken any more. Whoever joins meanwhile holds what comes."""
        if drain.stage is not Stage.AGREED:
            return
        with contextlib.suppress(StoreUnavailable):  # whoever asks next finds it so, and ends it
            await self._store.conclude(endpoint, number=drain.number, ordered=True)

    async def _tell_revived(self, endpoint: str) -> Drain | None:
        try:
            return await self._store.revive(endpoint, act=self._me)
        except StoreUnavailable:
            return None
