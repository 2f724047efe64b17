"""The roster of activators that share a store: each beats once a second and reads the others.

Who is alive is decided by `core.liveness`. Here: the beats, the evidence that one which is silent
has ended, and telling whoever wants to know.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from typing import TYPE_CHECKING, Protocol

from activator import __version__
from activator.aiokit.tasks import Tasks
from activator.coordination.whereabouts import has_ended, whereabouts
from activator.core.backoff import Backoff
from activator.core.liveness import BEAT, SILENCE, Joined, Left, Liveness, Silent
from activator.core.versioned import dump, load
from activator.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from activator.core.liveness import News

VERSION = 1
"""Of the record. Any record's moving is understood, whatever its version."""
FORGOTTEN_AFTER = 86400.0
"""Seconds after which a record that nobody moves is removed although nobody has seen its
activator end: longer than any request is allowed to take."""
KNOWN_GONE = 1000
"""Of those that have left or are not known, so many are remembered."""

_log = logging.getLogger("activator.coordination")


class RosterStore(Protocol):
    """Where the records are. All raise StoreUnavailable."""

    async def beat(self, act: str, record: bytes) -> tuple[bool, Mapping[str, bytes]]:
        """Write one record and read all of them, in one step. True: there was none of `act`."""

    async def drop(self, act: str, record: bytes | None = None) -> None:
        """Remove a record, if it is still this one."""


class SharedRoster:
    """Implements `coordination.base.Roster`, between `open` and `aclose`."""

    def __init__(
        self,
        store: RosterStore,
        *,
        clock: Callable[[], float] = time.monotonic,
        beat: float = BEAT,
        silence: float = SILENCE,
        ended: Callable[[Mapping[str, object]], bool] = has_ended,
    ) -> None:
        """`ended`: whether an activator, by its record, certainly runs no more."""
        self.me = os.urandom(8).hex()
        self._store = store
        self._clock = clock
        self._beat = beat
        self._silence = silence
        self._ended = ended
        self._liveness = Liveness(self.me, beat=beat, silence=silence)
        self._tasks = Tasks("roster")
        self._number = 0
        self._was_there = False
        self._whereabouts = whereabouts()
        self._strangers: dict[str, float] = {}
        """Of whom somebody asked whether they are gone: since when nobody has known them."""
        self._joined: list[Callable[[str], None]] = []
        self._silent: list[Callable[[str], None]] = []
        self._left: list[Callable[[str], None]] = []
        self._forgotten: list[Callable[[], None]] = []
        self._acquainted: list[Callable[[], None]] = []

    # --- its course

    async def open(self) -> None:
        """Beat once, if the store answers, and go on beating."""
        await self._beat_once()
        # whoever does not beat is taken for dead: none may be left out for long
        pauses = Backoff(first=self._beat, cap=self._beat)
        self._tasks.spawn_lasting(self._run, name="beat", pauses=pauses)

    async def aclose(self) -> None:
        """Sign off."""
        await self._tasks.aclose()
        try:
            await self._store.drop(self.me)
        except StoreUnavailable as error:
            _log.info("not signed off: %s", error.detail, extra={"action": "not_signed_off"})

    async def _run(self) -> None:
        due = self._clock()
        while True:
            due = max(due + self._beat, self._clock())
            await asyncio.sleep(due - self._clock())
            await self._beat_once()

    async def _beat_once(self) -> None:
        self._number += 1
        asked = self._clock()
        try:
            is_new, records = await self._store.beat(self.me, self._record())
        except Exception as error:
            self._liveness.failed()
            self._strangers.clear()
            if not isinstance(error, StoreUnavailable):
                raise
            return
        was_lost, self._was_there = is_new and self._was_there, True
        now = self._clock()
        if now - asked > self._beat:
            self._strangers.clear()
        was_acquainted = self._liveness.is_acquainted
        self._tell(self._liveness.beat(records, was_lost=was_lost, asked=asked, now=now))
        if self._liveness.is_acquainted and not was_acquainted:
            count = len(self._liveness.members)
            _log.info("acquainted", extra={"action": "acquainted", "activators": count})
            self._tasks.tell_each(self._acquainted)
        if was_lost:
            self._tasks.tell_each(self._forgotten)
        await self._bury(now=now)

    def _record(self) -> bytes:
        record = {
            "beat": self._number,
            "version": __version__,
            "host": socket.gethostname(),
            **self._whereabouts,
        }
        return dump(VERSION, record)

    async def _bury(self, *, now: float) -> None:
        """Those that are silent and certainly run no more."""
        for act in self._liveness.unknown:
            raw = self._liveness.record(act)
            since = self._liveness.silent_since(act)
            overdue = since is not None and now - since >= FORGOTTEN_AFTER
            if not overdue and not self._ended(_read(raw)):
                continue
            try:
                await self._store.drop(act, raw)
            except StoreUnavailable:
                return
            self._tell(self._liveness.seen_gone(act))

    # --- who there is

    @property
    def members(self) -> frozenset[str]:
        return self._liveness.members

    @property
    def is_acquainted(self) -> bool:
        """It knows how many there are, and they count it."""
        return self._liveness.is_acquainted

    @property
    def unknown(self) -> frozenset[str]:
        return self._liveness.unknown

    def silent_since(self, act: str) -> float | None:
        return self._liveness.silent_since(act)

    def is_gone(self, act: str) -> bool:
        if act in self._liveness.members or act in self._liveness.unknown:
            self._strangers.pop(act, None)
            return False
        now = self._clock()
        return now - self._strangers.setdefault(act, now) >= self._silence

    def on_joined(self, told: Callable[[str], None]) -> None:
        self._joined.append(told)

    def on_silent(self, told: Callable[[str], None]) -> None:
        self._silent.append(told)

    def on_left(self, told: Callable[[str], None]) -> None:
        self._left.append(told)

    def on_acquainted(self, told: Callable[[], None]) -> None:
        """From now on it `is_acquainted`."""
        self._acquainted.append(told)

    def on_forgotten(self, told: Callable[[], None]) -> None:
        self._forgotten.append(told)

    def _tell(self, news: list[News]) -> None:
        for each in news:
            match each:
                case Joined(act):
                    action, listeners = "activator_joined", self._joined
                case Silent(act):
                    action, listeners = "activator_silent", self._silent
                case Left(act):
                    action, listeners = "activator_left", self._left
                    self._remember_gone(act)
            _log.info(action, extra={"action": action, "activator": act})
            self._tasks.tell_each(listeners, act)

    def _remember_gone(self, act: str) -> None:
        if len(self._strangers) >= KNOWN_GONE:
            self._strangers.clear()
        self._strangers[act] = float("-inf")


def _read(raw: bytes) -> Mapping[str, object]:
    """Empty for what a newer version may have written."""
    return load(VERSION, raw, dict, otherwise={})
