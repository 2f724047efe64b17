"""One activator's view of the deeds: who runs the processes of which endpoint.

What may follow what is decided by `core.deeds`, who is alive by the roster; records that have
changed are read by `deed_reader`. Here they are kept while the store is away, and asked to be
changed, one question an endpoint at a time so that answers come in order. What follows from a deed
is the driver's business.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import TYPE_CHECKING, Protocol, TypeVar
from weakref import WeakValueDictionary

from activator.aiokit.pace import Pace as Turns
from activator.aiokit.tasks import Tasks
from activator.coordination.deed_reader import DeedReader
from activator.coordination.whereabouts import has_ended, whereabouts
from activator.core.deeds import Deed, Ordered, has_forgotten, may_claim
from activator.core.election import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from activator.coordination.base import Roster

T = TypeVar("T")

LOOK = 1.0
"""Seconds between two looks at whether the holders still are."""

_log = logging.getLogger("activator.coordination")


class DeedStore(Protocol):
    """Where the records are: the verbs of `core.deeds.Deed`. Each returns the record as it then
    is, and all raise StoreUnavailable. What has changed is called out."""

    async def look(self, endpoints: Sequence[str]) -> Sequence[Deed | Exception]:
        """In the place of each that cannot be read, why."""

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
    ) -> tuple[Deed, bool]: ...

    async def order(
        self,
        endpoint: str,
        act: str,
        *,
        wanted: int,
        victims: tuple[str, ...],
        before: int | None,
        fence: str,
    ) -> tuple[Deed, Ordered]: ...

    async def revive(self, endpoint: str, act: str) -> Deed: ...

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
        """`aloud` False: nobody need look."""

    async def give_back(
        self, endpoint: str, act: str, *, term: int, number: int, told: bytes
    ) -> tuple[Deed, bool]: ...

    def listen(self, changed: Callable[[str, str], None], missed: Callable[[], None]) -> None:
        """`changed(activator, endpoint)` after every change, by anybody; `missed` whenever that
        begins: earlier changes may not have been heard."""


class SharedDeed:
    """One endpoint's, for its driver; implements `drivers.title.Title`."""

    def __init__(self, deeds: SharedDeeds, endpoint: str) -> None:
        self.deed = Deed()
        """As it is believed to be: the last one read, unless the store has forgotten it."""
        self.told_at = 0.0
        """Monotonic moment at which the holder said what is told."""
        self.is_known = False
        """It was read, or cannot be."""
        self.is_forgotten = False
        """The store does not know of `deed` any more."""
        self.is_lost = False
        """The holder has ended, or was silent for too long."""
        self.endpoint = endpoint
        self.lock = asyncio.Lock()
        """Of whoever asks the store about it."""
        self._deeds = deeds
        self._stored = Deed()
        self._highest = 0
        self._listeners: list[Callable[[], None]] = []

    @property
    def me(self) -> str:
        return self._deeds.me

    @property
    def is_leaving(self) -> bool:
        """This activator is about to end."""
        return self._deeds.is_leaving

    @property
    def has_company(self) -> bool:
        """There may be other activators, who may have requests at what this one runs."""
        return self._deeds.has_company

    @property
    def may_claim(self) -> bool:
        return may_claim(
            self.deed,
            me=self.me,
            is_lost=self.is_lost,
            is_here=self._deeds.is_here(self.deed.where),
        )

    def follow(self, changed: Callable[[], None]) -> Callable[[], None]:
        """`changed` after every change of what is known here; returns what ends it, and with the
        last one the reading."""
        self._listeners.append(changed)
        self._deeds.opened.add(self)
        self._sort()
        self.look()

        def end() -> None:
            self._listeners.remove(changed)
            if not self._listeners:
                self._deeds.opened.discard(self)
                self._deeds.of_others.discard(self)
                self._deeds.reader.forget(self)

        return end

    # --- asking the store; all raise StoreUnavailable

    async def claim(
        self, *, wanted: int | None, told: bytes = b"", term: int | None = None
    ) -> bool:
        """`wanted` None: as it stands. `term`: it was held with this before the store forgot it."""
        async with self.lock:
            # somebody else may have been seen to claim it while others' questions were answered
            if not (self.may_claim if term is None else self.is_forgotten):
                return False
            seen = self._stored
            if self.is_forgotten:
                seen = Deed(seen.holder, seen.term, number=self.deed.number, fence=self.deed.fence)
            return self._saw_done(
                await self._deeds.store.claim(
                    self.endpoint,
                    self.me,
                    seen=seen,
                    term=term or self._highest + 1,
                    wanted=wanted,
                    where=self._deeds.where,
                    told=told,
                )
            )

    async def order(
        self, *, wanted: int, victims: tuple[str, ...], before: int | None, fence: str
    ) -> Ordered:
        async with self.lock:
            return self._saw_done(
                await self._deeds.store.order(
                    self.endpoint,
                    self.me,
                    wanted=wanted,
                    victims=victims,
                    before=before,
                    fence=fence,
                )
            )

    async def revive(self) -> None:
        async with self.lock:
            self.saw(await self._deeds.store.revive(self.endpoint, self.me))

    async def tell(
        self, *, term: int, taken: int, wanted: int, told: bytes, is_leaving: bool, aloud: bool
    ) -> bool:
        async with self.lock:
            return self._saw_done(
                await self._deeds.store.tell(
                    self.endpoint,
                    self.me,
                    term=term,
                    taken=taken,
                    wanted=wanted,
                    told=told,
                    is_leaving=is_leaving,
                    aloud=aloud,
                )
            )

    async def give_back(self, *, term: int, number: int, told: bytes) -> bool:
        async with self.lock:
            return self._saw_done(
                await self._deeds.store.give_back(
                    self.endpoint, self.me, term=term, number=number, told=told
                )
            )

    # --- what is heard

    def look(self) -> None:
        """It may have changed."""
        if self in self._deeds.opened:
            self._deeds.reader.look((self,))

    def judge(self, *, is_lost: bool) -> None:
        """Whether its holder still is may have changed."""
        if is_lost != self.is_lost:
            self.is_lost = is_lost
            if is_lost:
                extra = {"action": "owner_lost", "endpoint": self.endpoint}
                _log.warning("owner lost", extra={**extra, "activator": self.deed.holder})
            self._tell()

    def cannot_be_read(self) -> None:
        """Whoever waits for it has waited long enough: the store is away."""
        if not self.is_known:
            self.is_known = True
            self._tell()

    def _saw_done(self, answer: tuple[Deed, T]) -> T:
        found, done = answer
        self.saw(found)
        return done

    def saw(self, found: Deed) -> None:
        """What the store has."""
        self._stored = found
        self._highest = max(self._highest, found.term)
        was = (self.is_known, self.is_forgotten, self.deed)
        self.is_known = True
        self.is_forgotten = has_forgotten(self.deed, found)
        if not self.is_forgotten and found != self.deed:
            self.deed = found
            self._sort()
            self.told_at = self._deeds.clock() - found.age
        if was != (True, self.is_forgotten, self.deed):
            self.is_lost = self._deeds.is_lost(self.deed)
            self._tell()

    def _sort(self) -> None:
        """Among those whose holder is looked at now and then, or not."""
        if self._listeners and self.deed.holder not in {"", self.me}:
            self._deeds.of_others.add(self)
        else:
            self._deeds.of_others.discard(self)

    def _tell(self) -> None:
        for changed in tuple(self._listeners):
            changed()


class SharedDeeds:
    """All of one activator, between `open` and `aclose`."""

    def __init__(
        self,
        store: DeedStore,
        roster: Roster,
        *,
        clock: Callable[[], float] = time.monotonic,
        pace: Pace | None = None,
        look: float = LOOK,
        ended: Callable[[Mapping[str, object]], bool] = has_ended,
        where: Mapping[str, object] | None = None,
    ) -> None:
        """`pace.lapse`: seconds of silence after which a holder is given up; `ended`: whether one
        certainly runs no more, by its whereabouts; `where`: this one's."""
        self.store = store
        self.me = roster.me
        self.clock = clock
        self.is_leaving = False
        self.tasks = Tasks("deeds")
        self.reader = DeedReader(store.look, self.tasks)
        self.opened: set[SharedDeed] = set()
        self.of_others: set[SharedDeed] = set()
        """Those of them that another activator has."""
        self._turns = Turns()
        self._whereabouts = whereabouts() if where is None else where
        self.where = json.dumps(self._whereabouts, separators=(",", ":"))
        self._roster = roster
        self._lapse = (pace or Pace()).lapse
        self._look = look
        self._ended = ended
        self._of: WeakValueDictionary[str, SharedDeed] = WeakValueDictionary()
        store.listen(self._changed, self._missed)
        roster.on_left(lambda _: self._judge())
        roster.on_forgotten(self._missed)

    def of(self, endpoint: str) -> SharedDeed:
        """The same for as long as anybody has it."""
        deed = self._of.get(endpoint)
        if deed is None:
            deed = self._of[endpoint] = SharedDeed(self, endpoint)
        return deed

    def open(self) -> None:
        self.tasks.spawn_lasting(self._watch, name="watch")

    async def aclose(self) -> None:
        self.opened.clear()  # whatever is heard from now on, nothing is read
        await self.tasks.aclose()

    def leave(self) -> None:
        """This activator is about to end: others should have what they need elsewhere."""
        self.is_leaving = True
        for each in tuple(self.opened):
            self._turns.call(each._tell)

    @property
    def has_company(self) -> bool:
        return bool(self._roster.unknown) or len(self._roster.members) > 1

    def is_here(self, where: str) -> bool:
        """True as well if it is not known."""
        boot = _read(where).get("boot")
        return not boot or boot == self._whereabouts.get("boot")

    def is_lost(self, deed: Deed) -> bool:
        if deed.holder in {"", self.me}:
            return False
        if self._roster.is_gone(deed.holder) or self._ended(_read(deed.where)):
            return True
        since = self._roster.silent_since(deed.holder)
        return since is not None and self.clock() - since >= self._lapse

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._look)
            self._judge()

    def _judge(self) -> None:
        lost: dict[tuple[str, str], bool] = {}
        """By holder and where that is: few have thousands."""
        for each in tuple(self.of_others):
            deed = each.deed
            who = deed.holder, deed.where
            if (is_lost := lost.get(who)) is None:
                is_lost = lost[who] = self.is_lost(deed)
            each.judge(is_lost=is_lost)

    def _changed(self, act: str, endpoint: str) -> None:
        deed = self._of.get(endpoint)
        if deed is not None and act != self.me:
            deed.look()

    def _missed(self) -> None:
        self.reader.look(self.opened)


def _read(where: str) -> Mapping[str, object]:
    """Empty for what is not known, or a newer version may have written."""
    try:
        words = json.loads(where or "{}")
    except ValueError:
        return {}
    return words if isinstance(words, dict) else {}
