"""The drains of one endpoint, as the store keeps them for all activators: who asks, who has agreed.

Decides what may follow what. Each drain has a number, higher than any before. An activator that
has joined and has nothing gives its word to a number; when all have, and nobody has revived the
endpoint since, the asker may have the number agreed, once, and only then order. From then on the
order may come at any time, until the asker says how it ended or somebody has made it void: until
then nobody is asked anew, and whoever joins finds it so. Who must not be waited for, and what a
word costs its giver, is decided elsewhere.

The implementation over Redis is a script of the same rules (`coordination/lua/drain.lua`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


class Stage(StrEnum):
    NONE = ""
    """No drain, or the last one is over."""
    ASKED = "asked"
    AGREED = "agreed"
    """The order may have been given."""


@dataclass(frozen=True, slots=True)
class Drain:
    """The record of one endpoint. Values only: each verb returns the record that follows, and
    whether it did what it says."""

    number: int = 0
    """Of the latest drain."""
    stage: Stage = Stage.NONE
    by: str = ""
    """The activator that asked for it."""
    term: int = 0
    """The highest with which anybody ever asked."""
    replicas: tuple[str, ...] | None = None
    """Which are to be stopped; None: all of them."""
    words: Mapping[str, int] = field(default_factory=dict)
    """By activator that has joined: the number that it gave its word to last; 0: none."""

    def join(self, act: str) -> Drain:
        """It is to be asked from now on. What it has given its word to stays."""
        return self if act in self.words else replace(self, words={**self.words, act: 0})

    def leave(self, acts: Collection[str]) -> Drain:
        """They have nothing and never will."""
        kept = {act: number for act, number in self.words.items() if act not in acts}
        return replace(self, words=kept)

    def declare(
        self, *, by: str, term: int, number: int, replicas: tuple[str, ...] | None
    ) -> tuple[Drain, bool]:
        """Ask everybody. Refused if somebody with a higher term has asked, and while an order that
        was agreed upon may be out."""
        if term < self.term or self.stage is Stage.AGREED:
            return self, False
        asked = replace(
            self,
            number=max(number, self.number + 1),
            stage=Stage.ASKED,
            by=by,
            term=term,
            replicas=replicas,
        )
        return asked, True

    def answer(self, act: str, *, number: int, quiet: bool) -> tuple[Drain, bool]:
        """An activator's word that it has nothing, or its no, which ends the drain.

        Refused if the drain is over, or has been agreed upon without this activator."""
        if number != self.number or self.stage is not Stage.ASKED:
            return self, False
        if quiet:
            return replace(self, words={**self.words, act: number}), True
        return replace(self, stage=Stage.NONE, words={**self.words, act: 0}), True

    def agree(self, *, number: int, excused: Collection[str]) -> tuple[Drain, bool]:
        """The asker's last look: everybody but the excused has given their word to this."""
        if number != self.number or self.stage is not Stage.ASKED:
            return self, False
        if any(word != number for act, word in self.words.items() if act not in excused):
            return self, False
        return replace(self, stage=Stage.AGREED), True

    def revive(self, act: str) -> tuple[Drain, Stage]:
        """Somebody has a request after all. Returns how far the latest drain was: what has been
        agreed upon does not end with this."""
        stage = Stage.AGREED if self.stage is Stage.AGREED else Stage.NONE
        return replace(self.join(act), stage=stage, words={**self.words, act: 0}), self.stage

    def conclude(self, *, number: int) -> tuple[Drain, bool]:
        """The asker has ordered what it was for, or calls it off; or its order is void."""
        if number != self.number or self.stage is Stage.NONE:
            return self, False
        return replace(self, stage=Stage.NONE), True
