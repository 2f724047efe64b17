"""What an owner tells the others of its replicas, in the deed that all share.

Decides when there is something new to tell, and in which words: what has changed is called out,
last lines alone are not, and whoever is about to end says so of what ends with it.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from activator.core.effects import FailedStart
from activator.drivers.base import Exit, Phase
from activator.drivers.published import Published, encode
from activator.drivers.tenure import KEPT_EXITS

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.drivers.tenure import Tenure
    from activator.drivers.title import Title

TELL_AGAIN = 3600.0
"""Seconds: what the store keeps expires a day after it was told."""


class Telling:
    """Of one tenure. Both verbs raise StoreUnavailable."""

    def __init__(
        self, title: Title, tenure: Tenure, *, lasting: bool, clock: Callable[[], float]
    ) -> None:
        """`lasting`: replicas outlive who runs them."""
        self._title = title
        self._tenure = tenure
        self._lasting = lasting
        self._clock = clock
        self._said: object = None
        self._said_lines: dict[str, tuple[str, ...]] = {}
        self._said_at = 0.0
        self._lock = asyncio.Lock()

    async def tell(self, is_leaving: Callable[[], bool]) -> None:
        """The others, if anything has changed."""
        async with self._lock:
            tenure, title = self._tenure, self._title
            if not tenure.has_begun:
                return
            ends = is_leaving() and not self._lasting
            now, word = self._clock(), self._word(ends=ends)
            wanted = 0 if ends else tenure.wanted
            said = (tenure.taken, wanted, replace(word, lines={}))
            aloud = said != self._said
            is_due = now - self._said_at >= TELL_AGAIN
            if not aloud and not is_due and word.lines == self._said_lines:
                return
            told = await title.tell(
                term=tenure.term,
                taken=tenure.taken,
                wanted=wanted,
                told=encode(word, now=now),
                is_leaving=ends,
                aloud=aloud,
            )
            if told:
                self._said, self._said_lines, self._said_at = said, dict(word.lines), now

    async def claim_again(self, *, is_leaving: bool) -> None:
        """The store has forgotten the deed."""
        tenure = self._tenure
        words = encode(self._word(ends=is_leaving and not self._lasting), now=self._clock())
        await self._title.claim(wanted=tenure.wanted, told=words, term=tenure.term)

    def _word(self, *, ends: bool) -> Published:
        tenure = self._tenure
        lines = {each.id: tenure.driver.last_lines(each.id) for each in tenure.replicas}
        word = Published(
            tenure.replicas,
            tenure.exits,
            lines,
            trouble=tenure.trouble,
            refused=tenure.refused,
            refusal=tenure.refusal,
        )
        if not ends:
            return word
        why = "the activator that runs it is being stopped"
        living = [each for each in tenure.replicas if each.phase is not Phase.STOPPING]
        exits = tuple(Exit(each.id, FailedStart(why)) for each in living)
        replicas = tuple(
            replace(each, phase=Phase.STOPPING, detail=why) if each in living else each
            for each in tenure.replicas
        )
        return replace(word, replicas=replicas, exits=(*tenure.exits, *exits)[-KEPT_EXITS:])
