"""Events of all activators of a store, in one order, and under the same ids everywhere.

What is recorded here goes to the store, and is told when it comes back from there, in its place
among the others', unless another has told the same before (`core.told_once`). While the store is
away it is told at once, and written when that is back; then it is found under the id that all know,
and is not told again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from activator.aiokit.tasks import Tasks
from activator.core.told_once import ToldOnce
from activator.errors import StoreUnavailable
from activator.telemetry.events import Event
from activator.telemetry.logs import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from activator.telemetry.events import EventLog

KEPT: Final = 1000
PENDING: Final = 1000
"""Events of this activator that wait for the store; beyond, the oldest stays here."""
AT_ONCE: Final = 50
PAGE: Final = 250
"""Events written, and read, in one operation."""
AGAIN: Final = 1.0
"""Seconds before a store that is away is asked again."""
LONGEST: Final = 4096
"""Characters of one event as it is kept, more or less."""
PARTING: Final = 0.5
"""Seconds that the last events may take at the end."""


@dataclass(frozen=True, slots=True)
class Entry:
    id: int
    author: str
    number: int
    """Which of its author's."""
    said: str


class EventStore(Protocol):
    """All verbs raise StoreUnavailable. Ids are `telemetry.events`'; as many as `KEPT` stay."""

    async def append(self, said: Sequence[tuple[int, str]], *, author: str, again: bool) -> None:
        """(number, text) each, in this order. `again`: some of it may have been done before; what
        the author has said under a number is there once."""

    async def since(self, after: int) -> list[Entry]:
        """Events after this one, in order; not all if there are many."""

    def listen(self, news: Callable[[], None]) -> Callable[[], None]:
        """`news` when there may be something new, and whenever something may have been missed.
        Returns what ends it."""


class SharedEvents:
    """Implements `telemetry.events.Outlet`."""

    def __init__(self, store: EventStore, log: EventLog, *, me: str) -> None:
        """From here on what is recorded goes to the store."""
        self._store = store
        self._log = log
        self._me = me
        self._number = self._written = 0
        """Of the last event that was recorded here, and that the store has."""
        self._is_in_doubt = False
        """Some of what is written next may be there already."""
        self._pending: dict[int, Event] = {}
        """Those that have not come back yet, by number."""
        self._shown: dict[int, Event] = {}
        """Those of them that were told under an id of ours."""
        self._told = ToldOnce()
        self._last = 0
        self._is_news = False
        """What is read for the first time is the past."""
        self._to_write, self._to_read = asyncio.Event(), asyncio.Event()
        self._to_read.set()
        self._tasks = Tasks("events")
        self._ended: Callable[[], None] = lambda: None
        log.outlet, log.me = self, me

    def open(self) -> None:
        self._ended = self._store.listen(self._to_read.set)
        spawn = self._tasks.spawn_lasting
        spawn(self._read_on, name="read", again=self._to_read.set)
        spawn(self._write_on, name="write", again=self._to_write.set)

    async def aclose(self) -> None:
        """The last ones are written, if the store is there, and told here in any case."""
        self._ended()
        await self._tasks.aclose()
        with contextlib.suppress(TimeoutError, StoreUnavailable):
            async with asyncio.timeout(PARTING):
                while self._written < self._number:
                    await self._write(again=True)
        self._log.outlet = None
        self._show()

    def put(self, event: Event) -> None:
        self._number += 1
        self._pending[self._number] = event
        if len(self._pending) > PENDING:
            oldest = next(iter(self._pending))
            self._show_one(oldest)
            del self._pending[oldest], self._shown[oldest]
            self._written = max(self._written, oldest)
        self._to_write.set()

    # --- to the store

    async def _write_on(self) -> None:
        while True:
            await self._to_write.wait()
            self._to_write.clear()
            try:
                while self._written < self._number:
                    again, self._is_in_doubt = self._is_in_doubt, True
                    await self._write(again=again)
                    self._is_in_doubt = False
            except StoreUnavailable:
                self._show()
                await asyncio.sleep(AGAIN)
                self._to_write.set()
            except Exception:
                self._show()  # here at least
                raise

    async def _write(self, *, again: bool) -> None:
        due = [number for number in self._pending if number > self._written][:AT_ONCE]
        said = [(number, _said(self._pending[number])) for number in due]
        if due:
            await self._store.append(said, author=self._me, again=again)
        self._written = max(self._written, due[-1] if due else self._number)

    def _show(self) -> None:
        for number in self._pending:
            self._show_one(number)

    def _show_one(self, number: int) -> None:
        if number not in self._shown:
            self._shown[number] = self._pending[number]
            self._log.keep(self._pending[number])

    # --- and from there

    async def _read_on(self) -> None:
        while True:
            await self._to_read.wait()
            self._to_read.clear()
            try:
                while found := await self._store.since(self._last):
                    for each in found:
                        self._take(each)
                self._is_news = True
            except StoreUnavailable:
                self._show()
                await asyncio.sleep(AGAIN)
                self._to_read.set()

    def _take(self, entry: Entry) -> None:
        self._last = entry.id
        is_ours = entry.author == self._me
        if is_ours:
            self._pending.pop(entry.number, None)
            self._written = max(self._written, entry.number)
        shown = self._shown.pop(entry.number, None) if is_ours else None
        event = _event(entry)
        is_repeat = event is not None and self._told.is_repeat(
            event.endpoint,
            event.action,
            replica=str(event.fields.get("replica", "")),
            author=entry.author,
            at=event.at,
        )
        if shown is not None:
            self._log.renumber(shown, entry.id)
        if event is not None and shown is None and not is_repeat:
            self._log.keep(event, is_news=self._is_news or is_ours)


def _said(event: Event) -> str:
    fields = {
        "at": event.at,
        "endpoint": event.endpoint,
        "action": event.action,
        "reason": event.reason,
        "fields": plain(event.fields),
    }
    said = json.dumps(fields, ensure_ascii=False)
    if len(said) > LONGEST:
        said = json.dumps(
            {**fields, "reason": event.reason[: LONGEST // 2], "fields": {}}, ensure_ascii=False
        )
    return said


def _event(entry: Entry) -> Event | None:
    """None for what a newer version may have said in other words."""
    try:
        said = json.loads(entry.said)
        return Event(
            entry.id,
            float(said["at"]),
            str(said["endpoint"]),
            str(said["action"]),
            str(said["reason"]),
            dict(said["fields"]),
            entry.author,
        )
    except (ValueError, TypeError, KeyError):
        return None
