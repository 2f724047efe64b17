"""Which activators are alive: each moves a record in the store, the others watch.

Decides who is silent: whose record stood still for `silence` seconds of this activator's own clock
while the store answered it all that time. A paused store, or an own pause, proves nothing about
anybody. What follows from silence (slots freed, endpoints kept up) is decided elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

BEAT = 1.0
"""Seconds between two beats of one activator."""
SILENCE = 5.0
"""Seconds: an activator that is only slow misses a beat or two, and a dead one's slots are to be
back within 6 s."""
LATE = 1.0
"""Seconds: a beat answered later than this proves nothing about the time before it. Less where a
silence is short: it must be longer than such a beat and two others."""
ACQUAINTED = 3
"""Answered beats, the first of which told us of the others and the store of us: by the third each
of them has had more than a beat's time to read of us."""


@dataclass(frozen=True, slots=True)
class Joined:
    """Seen for the first time, or again after a silence."""

    act: str


@dataclass(frozen=True, slots=True)
class Silent:
    """It does not move its record any more; it may still exist."""

    act: str


@dataclass(frozen=True, slots=True)
class Left:
    """Its record is gone: it signed off, or somebody has seen it gone."""

    act: str


News = Joined | Silent | Left


@dataclass(slots=True)
class _Watched:
    record: bytes
    still_since: float
    is_silent: bool = False
    is_lost: bool = False
    """The store has lost its record, with ours: it did not sign off."""


class Liveness:
    """What one activator knows about the others. `me` is never among them."""

    def __init__(self, me: str, *, beat: float = BEAT, silence: float = SILENCE) -> None:
        self._me = me
        self._silence = silence
        # who was held up with us by a store that was paused must not look silent
        self._late = min(LATE, (silence - 2 * beat) / 2)
        self._gap = 2 * beat + self._late
        """A longer pause between two answered beats is a hole in what was watched."""
        self._others: dict[str, _Watched] = {}
        self._answered_at: float | None = None
        self._answers = 0

    @property
    def members(self) -> frozenset[str]:
        """Alive as far as is known, me included."""
        moving = (act for act, each in self._others.items() if not each.is_silent)
        return frozenset((self._me, *moving))

    @property
    def is_acquainted(self) -> bool:
        """It knows how many there are, and they count it. One that is started while the store is
        away knows of nobody, which does not mean that nobody is there."""
        return self._answers >= ACQUAINTED

    @property
    def unknown(self) -> frozenset[str]:
        """Silent, and not seen gone."""
        return frozenset(act for act, each in self._others.items() if each.is_silent)

    def silent_since(self, act: str) -> float | None:
        """When its record was seen to move for the last time; None: it is not silent."""
        each = self._others.get(act)
        return each.still_since if each is not None and each.is_silent else None

    def record(self, act: str) -> bytes:
        """What it last said of itself; empty for one that is not known."""
        each = self._others.get(act)
        return each.record if each else b""

    def beat(
        self, records: Mapping[str, bytes], *, was_lost: bool, asked: float, now: float
    ) -> list[News]:
        """Our own beat was answered: these are the records of all that there are.

        `was_lost`: the store did not know us any more, though we had not signed off; so it may
        have lost others as well.
        """
        if not self._proves(asked=asked, now=now):
            self._forget_times(now=now)
        self._answered_at = now
        self._answers += 1
        return [
            *self._missing(records, was_lost=was_lost, now=now),
            *self._seen(records, now=now),
        ]

    def failed(self) -> None:
        """Our own beat was not answered."""
        self._answered_at = None

    def seen_gone(self, act: str) -> list[News]:
        """It certainly runs no more, whatever its record says."""
        return [Left(act)] if self._others.pop(act, None) else []

    def _proves(self, *, asked: float, now: float) -> bool:
        if self._answered_at is None or now - asked > self._late:
            return False
        return now - self._answered_at <= self._gap

    def _forget_times(self, *, now: float) -> None:
        """One that is silent already stays it: nothing but its own sign ends that."""
        for each in self._others.values():
            if not each.is_silent:
                each.still_since = now

    def _missing(self, records: Mapping[str, bytes], *, was_lost: bool, now: float) -> list[News]:
        news: list[News] = []
        for act in [act for act in self._others if act not in records]:
            each = self._others[act]
            if was_lost and not each.is_lost:
                each.is_lost = True
                each.still_since = each.still_since if each.is_silent else now
            if each.is_lost:
                news += self._stands_still(act, each, now=now)
            else:
                news += self.seen_gone(act)
        return news

    def _seen(self, records: Mapping[str, bytes], *, now: float) -> list[News]:
        news: list[News] = []
        for act, record in records.items():
            each = self._others.get(act)
            if act == self._me:
                continue
            if each is not None and record == each.record:
                each.is_lost = False
                news += self._stands_still(act, each, now=now)
                continue
            self._others[act] = _Watched(record, now)
            if each is None or each.is_silent:
                news.append(Joined(act))
        return news

    def _stands_still(self, act: str, each: _Watched, *, now: float) -> list[News]:
        if each.is_silent or now - each.still_since < self._silence:
            return []
        each.is_silent = True
        return [Silent(act)]
