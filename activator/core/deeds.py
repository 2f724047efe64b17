"""Whose the replicas of one endpoint are, as the store keeps it for all activators: its deed.

Decides what may follow what. One activator holds a deed: it runs the processes and tells the others
where they are; whoever wants more or fewer of them writes that into the deed, and the holder
carries it out. A deed has no beat of its own: its holder is alive as long as the roster says so.
Whom the roster has lost may be followed by anybody, under a higher term, and whoever is not named
any more gives its processes nothing new. An endpoint with no process has a deed that nobody holds.
Replicas that outlive whoever runs them (containers) pass to the next holder as they are; such a
deed is always somebody's, for as long as there is an activator.

The implementation over Redis is a script of the same rules (`coordination/lua/deed.lua`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum, auto


class Ordered(Enum):
    """What became of an order."""

    TAKEN = auto()
    OUTDATED = auto()
    """It was prepared before something that makes it void."""
    NOBODYS = auto()
    """Nobody could carry it out: nobody holds the deed, or its holder is about to end."""


@dataclass(frozen=True, slots=True)
class Deed:
    """The record of one endpoint. Values only: each verb returns the record that follows, and
    whether it did what it says."""

    holder: str = ""
    """An activator. Empty: nobody, and no process runs."""
    term: int = 0
    """Rises with every holder: what an earlier one says is refused."""
    where: str = ""
    """By which others on its machine can see that the holder has ended."""
    is_leaving: bool = False
    """The holder is about to end: it carries out no order, its processes get nothing new."""
    number: int = 0
    """Of the latest order."""
    taken: int = 0
    """Of the latest order that the holder has carried out."""
    fence: int = 0
    """Rises with every order and revival."""
    wanted: int = 0
    """Processes that were asked for and are still owed or run."""
    victims: tuple[str, ...] = ()
    """Those that go first, of all orders that have not been carried out."""
    told: bytes = b""
    """What the holder last told of its processes. Opaque."""
    age: float = field(default=0.0, compare=False)
    """Seconds since it was told, when this was read."""

    @property
    def fence_word(self) -> str:
        """What an order carries that is void once anything else was ordered or revived."""
        return f"{self.term}.{self.fence}"

    def claim(
        self, act: str, *, seen: Deed, term: int, wanted: int | None, where: str, told: bytes
    ) -> tuple[Deed, bool]:
        """Hold it, with an order for so many processes; with None as it stands: what runs, and what
        was ordered and is not so yet, outlives whoever held it. Refused if it is not held any more
        as it was `seen`; `seen` may know of higher numbers than a store that has lost its memory.
        """
        if (self.holder, self.term) != (seen.holder, seen.term) or term <= self.term:
            return self, False
        if wanted is None:
            fence = max(self.fence, seen.fence) + 1
            succeeded = replace(
                self, holder=act, term=term, where=where, is_leaving=False, fence=fence
            )
            return succeeded, True
        number = max(self.number, seen.number)
        claimed = Deed(
            holder=act,
            term=term,
            where=where,
            number=number + 1,
            taken=number,
            fence=max(self.fence, seen.fence) + 1,
            wanted=wanted,
            told=told,
        )
        return claimed, True

    def order(
        self, *, wanted: int, victims: tuple[str, ...], before: int | None, fence: str
    ) -> tuple[Deed, Ordered]:
        """Ask for so many; with `before` only if exactly so many are wanted: otherwise somebody
        else was faster, and what they asked for stands."""
        if not self.holder or self.is_leaving:
            return self, Ordered.NOBODYS
        if fence and fence != self.fence_word:
            return self, Ordered.OUTDATED
        if before is not None and before != self.wanted:
            return self, Ordered.TAKEN
        ordered = replace(
            self,
            number=self.number + 1,
            fence=self.fence + 1,
            wanted=wanted,
            victims=self.victims + victims if wanted < self.wanted else self.victims,
        )
        return ordered, Ordered.TAKEN

    def revive(self) -> Deed:
        """Orders that carry an earlier fence are void."""
        return replace(self, fence=self.fence + 1)

    def tell(
        self, act: str, *, term: int, taken: int, wanted: int, told: bytes, is_leaving: bool
    ) -> tuple[Deed, bool]:
        """The holder's word on its processes, all orders up to `taken` carried out."""
        if (self.holder, self.term) != (act, term):
            return self, False
        is_done = taken >= self.number
        after = replace(
            self,
            is_leaving=is_leaving,
            taken=taken,
            wanted=wanted if is_done else self.wanted,
            victims=() if is_done else self.victims,
            told=told,
        )
        return after, True

    def give_back(self, act: str, *, term: int, number: int, told: bytes) -> tuple[Deed, bool]:
        """The holder has no process any more. Refused if there is an order after `number`."""
        if (self.holder, self.term) != (act, term) or (
            self.number > number and not self.is_leaving
        ):
            return self, False
        return Deed(
            term=term, number=self.number, taken=self.number, fence=self.fence, told=told
        ), True


def may_claim(deed: Deed, *, me: str, is_lost: bool, is_here: bool) -> bool:
    """Whether processes may be started instead of those of the deed's holder.

    `is_lost`: the holder has ended, or was silent for too long; `is_here`: it is on this machine,
    whose memory and devices its processes hold until they have ended.
    """
    if deed.holder == me:
        return False
    return not deed.holder or is_lost or (deed.is_leaving and not is_here)


def has_forgotten(known: Deed, found: Deed) -> bool:
    """The store has lost a deed that somebody held: it was not given back, and `known` stands
    until its holder claims it anew, or is lost."""
    return bool(known.holder) and not found.holder and found.term < known.term
