"""What one activator says to a shared ledger in one call, and what it hears back.

Encodes and decodes for `lua/ledger.lua`, decides nothing. Replica ids here are those that all
activators share.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from activator.errors import StoreUnavailable

VERSION: Final = 2
"""Of what is stored: an activator that does not know it leaves the ledger alone."""


class Batch:
    """Operations in order; `asked` says whose the answers are."""

    __slots__ = ("args", "asked", "buried")

    def __init__(self) -> None:
        self.args: list[str] = []
        self.asked: list[tuple[str, str]] = []
        """(letter of the operation, seq), for each that is answered."""
        self.buried: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.args)

    def ask(self, seq: str, *, score: int, would_wait: bool) -> None:
        """A slot now? Nobody overtakes one that `would_wait` before it enters the line or gives
        up, which it does as soon as it hears that there is none. The lowest score is first."""
        self.asked.append(("A", seq))
        self.args += ("A", seq, str(score), "1" if would_wait else "0")

    def ask_for(self, seq: str, *, score: int, would_wait: bool, excluded: str, liked: str) -> None:
        """The same, with wishes."""
        self.asked.append(("A", seq))
        self.args += ("W", seq, str(score), _flag(would_wait), excluded, liked)

    def enter(self, seq: str, *, score: int, excluded: str, liked: str) -> None:
        """A place in line, or other wishes at the same place."""
        self._add("E", seq, str(score), excluded, liked)

    def give_up(self, seq: str) -> None:
        """Whatever it has: a place, an offer, a slot."""
        self._add("X", seq)

    def release(self, seq: str, replica: str) -> None:
        """A slot of that replica, which it is known to have."""
        self.args += ("R", seq, replica)

    def take(self, seq: str) -> None:
        """An offer is taken up."""
        self._add("T", seq, asked=seq)

    def answered(self, replica: str) -> None:
        self._add("F", replica)

    def offer(self, replicas: Sequence[tuple[str, bool]], *, held: bool) -> None:
        """(replica, it was just started) each: where this activator may forward to, or might but
        for being `held`."""
        flat = [part for name, paced in replicas for part in (name, _flag(paced))]
        self._add("O", _flag(held), str(len(replicas)), *flat)

    def keep(self) -> None:
        """Slots that have come free here are kept for requests to come: it wants to be told once
        somebody finds none."""
        self._add("K")

    def check(self) -> None:
        """What was missed?"""
        self._add("C")

    def declare(self, *, born: str, name: str) -> None:
        """What follows is all there is of this activator. `born`: the ledger's life as it was
        known, if it was; `name`: of a new life, if the store has none."""
        self._add("D", born, name)

    def has(self, seq: str, replica: str) -> None:
        """Within a declaration: this is in flight."""
        self._add("G", seq, replica)

    def bury(self, activator: str) -> None:
        self._add("B", activator)
        self.buried = (*self.buried, activator)

    def leave(self) -> None:
        self._add("L")

    def _add(self, letter: str, *args: str, asked: str | None = None) -> None:
        if asked is not None:
            self.asked.append((letter, asked))
        self.args += (letter, *args)


class Reply(NamedTuple):
    is_member: bool
    """False: the ledger does not know this activator, and nothing was done."""
    born: str = ""
    wake_in: float | None = None
    """Seconds until time alone opens a slot for somebody who waits."""
    paced: bool = False
    scarce: bool = False
    """Somebody waits, at whichever activator."""
    answers: Sequence[str] = ()
    """To each operation that is answered: a replica, or nothing."""
    busy: Mapping[str, int] = MappingProxyType({})
    """In flight at each replica, over all activators."""
    grants: Sequence[tuple[str, str]] = ()
    """(seq, replica) of those who waited."""
    offers: Sequence[tuple[str, str]] = ()
    """After a check: (seq, replica) of offers that are not taken up."""
    missed: Sequence[str] = ()
    """After a check: seq of those whose offer has passed on. They have no place any more."""


def decode(raw: bytes | StoreUnavailable) -> Reply:
    """Raises OtherVersion, or why there is no answer."""
    if not isinstance(raw, bytes):
        raise raw
    status, *parts = raw.decode().split("\t")
    if status == "version":
        raise OtherVersion
    if status != "ok":
        return Reply(is_member=False)
    born, wake, flags, answers, busy, grants, told = parts
    flat = busy.split("\n")
    return Reply(
        True,
        born,
        None if wake == "-1" else int(wake) / 1e3,
        "p" in flags,
        "w" in flags,
        answers.split("\n"),
        dict(zip(flat[::2], map(int, flat[1::2]), strict=True)) if busy else {},
        [(seq, replica) for seq, replica in _tuples(grants, 2)] if grants else (),
        [(seq, replica) for seq, kind, replica in _tuples(told, 3) if kind == "o"] if told else (),
        [seq for seq, kind, _ in _tuples(told, 3) if kind != "o"] if told else (),
    )


def _flag(said: object) -> str:
    return "1" if said else "0"


def joined(names: Iterable[str]) -> str:
    """A list within a value."""
    return "\n".join(names)


def _tuples(text: str, size: int) -> Iterable[tuple[str, ...]]:
    flat = text.split("\n")
    return zip(*(flat[at::size] for at in range(size)), strict=True)


class OtherVersion(Exception):
    """The ledger is kept by a newer activator in a way that this one does not know."""
