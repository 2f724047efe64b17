"""A store that several activators within one process share: the twin of Redis, for tests and for
comparing both. What is kept and refused is decided by `core`'s records; nothing is ever away
unless it is told to be.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from activator.coordination import wish_talk
from activator.coordination.board_talk import Answered, Concluded, Declared, Revived
from activator.coordination.shared_events import KEPT, PAGE, Entry
from activator.core.deeds import Deed
from activator.core.draining import Drain, Stage
from activator.core.election import LeaseRecord
from activator.core.standing import Standing
from activator.errors import StoreUnavailable
from activator.telemetry.events import first_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from activator.coordination.board_talk import Said, Shares
    from activator.core.deeds import Ordered


class SharedMemory:
    """Implements `roster.RosterStore`, `lease.LeaseStore`; `board` is a `board.BoardStore`,
    `wishes` a `wishes.WishStore`, `deeds` a `deeds.DeedStore`, `events` a
    `shared_events.EventStore`."""

    def __init__(self) -> None:
        self.away = False
        """Every verb raises StoreUnavailable."""
        self.refused = 0
        """So many have."""
        self.roster: dict[str, bytes] = {}
        self.lease = LeaseRecord()
        self.board = SharedMemoryBoard(self.check)
        self.wishes = SharedMemoryWishes(self.check)
        self.deeds = SharedMemoryDeeds(self.check)
        self.events = SharedMemoryEvents(self.check)
        self._given_back: list[Callable[[], None]] = []

    def check(self) -> None:
        if self.away:
            self.refused += 1
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


class SharedMemoryBoard:
    """Implements `board.BoardStore`. What is called out is heard in a later turn of the loop."""

    def __init__(self, check: Callable[[], None]) -> None:
        self.drains: dict[str, Drain] = {}
        self._numbers = count(1)
        self._check = check
        self._listeners: list[Callable[[Said], None]] = []

    def listen(self, heard: Callable[[Said], None], missed: Callable[[], None]) -> None:
        self._listeners.append(heard)
        asyncio.get_running_loop().call_soon(missed)

    async def say(self, shares: Shares) -> None:
        self._check()
        self._call_out(shares)

    async def remind(self, declared: Declared) -> None:
        self._check()
        self._call_out(declared)

    async def join(self, endpoints: Sequence[str], act: str) -> Sequence[Drain]:
        self._check()
        for endpoint in endpoints:
            self.drains[endpoint] = self._of(endpoint).join(act)
        return [self.drains[endpoint] for endpoint in endpoints]

    async def leave(self, endpoints: Sequence[str], act: str) -> None:
        self._check()
        for endpoint in endpoints:
            drain = self.drains[endpoint] = self._of(endpoint).leave([act])
            if not drain.words and drain.stage is Stage.NONE:
                del self.drains[endpoint]

    async def declare(
        self, endpoint: str, *, by: str, term: int, replicas: tuple[str, ...] | None, fence: str
    ) -> tuple[Drain, bool]:
        self._check()
        number = next(self._numbers)  # it rises although the record may have been dropped
        drain, done = self._of(endpoint).declare(by=by, term=term, number=number, replicas=replicas)
        if done:
            self.drains[endpoint] = drain
            self._call_out(Declared(endpoint, drain.number, by, replicas, fence))
        return drain, done

    async def answer(self, endpoint: str, *, act: str, number: int, quiet: bool) -> None:
        self._check()
        self.drains[endpoint], done = self._of(endpoint).answer(act, number=number, quiet=quiet)
        if done:
            self._call_out(Answered(endpoint, number, act, quiet))

    async def agree(self, endpoint: str, *, number: int, excused: Sequence[str]) -> bool:
        self._check()
        self.drains[endpoint], done = self._of(endpoint).agree(number=number, excused=excused)
        return done

    async def revive(self, endpoint: str, *, act: str) -> Drain:
        self._check()
        before = self._of(endpoint)
        self.drains[endpoint], stage = before.revive(act)
        if stage is not Stage.NONE:
            self._call_out(Revived(endpoint, before.number))
        return before

    async def conclude(self, endpoint: str, *, number: int, ordered: bool) -> None:
        self._check()
        if self._of(endpoint).number == number:
            self.drains[endpoint], _ = self._of(endpoint).conclude(number=number)
            self._call_out(Concluded(endpoint, number, ordered))

    def _of(self, endpoint: str) -> Drain:
        return self.drains.get(endpoint, Drain())

    def _call_out(self, said: Said) -> None:
        loop = asyncio.get_running_loop()
        for heard in self._listeners:
            loop.call_soon(heard, said)


class SharedMemoryWishes:
    """Implements `wishes.WishStore`. What is called out is heard in a later turn of the loop."""

    def __init__(self, check: Callable[[], None]) -> None:
        self.kept: dict[str, Standing] = {}
        self._check = check
        self._listeners: list[Callable[[wish_talk.Said], None]] = []

    def listen(self, heard: Callable[[wish_talk.Said], None], missed: Callable[[], None]) -> None:
        self._listeners.append(heard)
        asyncio.get_running_loop().call_soon(missed)

    async def order(self, endpoint: str, *, paused: bool, known: int) -> Standing:
        self._check()
        before, clock = self.kept.get(endpoint, Standing()), int(time.time() * 1000)
        self._keep(endpoint, before.follow(paused=paused, known=known, clock=clock))
        return self.kept[endpoint]

    async def meet(self, known: Mapping[str, Standing]) -> Mapping[str, Standing]:
        self._check()
        for endpoint, standing in known.items():
            if standing.number > self.kept.get(endpoint, Standing()).number:
                self._keep(endpoint, standing)
        return dict(self.kept)

    async def say(self, said: wish_talk.Activated | wish_talk.Asked | wish_talk.Answered) -> None:
        self._check()
        self._call_out(said)

    def _keep(self, endpoint: str, standing: Standing) -> None:
        self.kept[endpoint] = standing
        self._call_out(wish_talk.Ordered(endpoint, standing))

    def _call_out(self, said: wish_talk.Said) -> None:
        loop = asyncio.get_running_loop()
        for heard in self._listeners:
            loop.call_soon(heard, said)


class SharedMemoryDeeds:
    """Implements `deeds.DeedStore`. What is called out is heard in a later turn of the loop."""

    def __init__(self, check: Callable[[], None]) -> None:
        self.of: dict[str, Deed] = {}
        self._told_at: dict[str, float] = {}
        self._check = check
        self._listeners: list[Callable[[str, str], None]] = []

    def listen(self, changed: Callable[[str, str], None], missed: Callable[[], None]) -> None:
        self._listeners.append(changed)
        asyncio.get_running_loop().call_soon(missed)

    async def look(self, endpoints: Sequence[str]) -> Sequence[Deed | Exception]:
        return [await self._look(each) for each in endpoints]

    async def _look(self, endpoint: str) -> Deed:
        self._check()
        now = self._now
        return replace(self.of.get(endpoint, Deed()), age=now - self._told_at.get(endpoint, now))

    async def claim(
        self,
        endpoint: str,
        act: str,
        *,
        seen: Deed,
        term: int,
        wanted: int | None,
        where: str,
        told: bytes,
    ) -> tuple[Deed, bool]:
        deed, done = (await self._look(endpoint)).claim(
            act, seen=seen, term=term, wanted=wanted, where=where, told=told
        )
        tells = wanted is not None
        return await self._keep(endpoint, act, deed, done=done, told=tells), done

    async def order(
        self,
        endpoint: str,
        act: str,
        *,
        wanted: int,
        victims: tuple[str, ...],
        before: int | None,
        fence: str,
    ) -> tuple[Deed, Ordered]:
        found = await self._look(endpoint)
        deed, became = found.order(wanted=wanted, victims=victims, before=before, fence=fence)
        return await self._keep(endpoint, act, deed, done=deed != found), became

    async def revive(self, endpoint: str, act: str) -> Deed:
        deed = (await self._look(endpoint)).revive()
        return await self._keep(endpoint, act, deed, done=True)

    async def tell(
        self,
        endpoint: str,
        act: str,
        *,
        term: int,
        taken: int,
        wanted: int,
        told: bytes,
        is_leaving: bool,
        aloud: bool,
    ) -> tuple[Deed, bool]:
        deed, done = (await self._look(endpoint)).tell(
            act, term=term, taken=taken, wanted=wanted, told=told, is_leaving=is_leaving
        )
        return await self._keep(endpoint, act, deed, done=done, told=True, aloud=aloud), done

    async def give_back(
        self, endpoint: str, act: str, *, term: int, number: int, told: bytes
    ) -> tuple[Deed, bool]:
        deed, done = (await self._look(endpoint)).give_back(
            act, term=term, number=number, told=told
        )
        return await self._keep(endpoint, act, deed, done=done, told=True), done

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _keep(
        self,
        endpoint: str,
        act: str,
        deed: Deed,
        *,
        done: bool,
        told: bool = False,
        aloud: bool = True,
    ) -> Deed:
        if done:
            self.of[endpoint] = deed
            if told:
                self._told_at[endpoint] = self._now
            loop = asyncio.get_running_loop()
            for changed in self._listeners if aloud else ():
                loop.call_soon(changed, act, endpoint)
        return await self._look(endpoint)


class SharedMemoryEvents:
    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._entries: list[Entry] = []
        self._listeners: list[Callable[[], None]] = []

    async def append(self, said: Sequence[tuple[int, str]], *, author: str, again: bool) -> None:
        self._check()
        there = {each.number for each in self._entries if each.author == author} if again else ()
        for number, text in said:
            if number not in there:
                last = self._entries[-1].id if self._entries else 0
                now = max(last + 1, first_id(time.time()))
                self._entries.append(Entry(now, author, number, text))
        del self._entries[:-KEPT]
        for news in tuple(self._listeners):
            news()

    async def since(self, after: int) -> list[Entry]:
        self._check()
        return [each for each in self._entries if each.id > after][:PAGE]

    def listen(self, news: Callable[[], None]) -> Callable[[], None]:
        self._listeners.append(news)
        return lambda: self._listeners.remove(news)
