"""What one activator says to a shared ledger in one call, and what it hears back.

Encodes and decodes for `lua/ledger.lua`, decides nothing. Replica ids here are those that all
activators share.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

VERSION: Final = 1
"""Of what is stored: an activator that does not know it leaves the ledger alone."""

Arg = str | int | float


class Batch:
    """Operations in order; `asked` says which of the results belong to whom."""

    __slots__ = ("args", "asked", "count")

    def __init__(self) -> None:
        self.args: list[Arg] = []
        self.count = 0
        self.asked: list[tuple[int, str, str]] = []
        """(index of the operation, its letter, seq), for those whose result matters."""

    def __bool__(self) -> bool:
        return self.count > 0

    def ask(self, seq: str, *, score: float, excluded: str, liked: str, would_wait: bool) -> None:
        """A slot now? Nobody overtakes one that `would_wait` before it enters the line or gives
        up, which it does as soon as it hears that there is none."""
        self._add("A", seq, repr(score), excluded, liked, int(would_wait), asked=seq)

    def enter(self, seq: str, *, score: float, excluded: str, liked: str) -> None:
        """A place in line, or other wishes at the same place."""
        self._add("E", seq, repr(score), excluded, liked)

    def give_up(self, seq: str) -> None:
        """Whatever it has: a place, an offer, a slot."""
        self._add("X", seq)

    def take(self, seq: str) -> None:
        """An offer is taken up."""
        self._add("T", seq, asked=seq)

    def answered(self, replica: str) -> None:
        self._add("F", replica)

    def offer(self, replicas: Sequence[tuple[str, bool]]) -> None:
        """(replica, it was just started) each: where this activator may forward to."""
        flat = [part for name, paced in replicas for part in (name, int(paced))]
        self._add("O", len(replicas), *flat)

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

    def leave(self) -> None:
        self._add("L")

    def _add(self, letter: str, *args: Arg, asked: str | None = None) -> None:
        if asked is not None:
            self.asked.append((self.count, letter, asked))
        self.args.append(letter)
        self.args += args
        self.count += 1


@dataclass(frozen=True, slots=True)
class Reply:
    is_member: bool
    """False: the ledger does not know this activator, and nothing was done."""
    born: str = ""
    wake_in: float | None = None
    """Seconds until time alone opens a slot for somebody who waits."""
    paced: bool = False
    results: Sequence[str] = ()
    """Of each operation that answers: a replica, or nothing."""
    grants: Sequence[tuple[str, str]] = ()
    """(seq, replica) of those who waited."""
    busy: Mapping[str, int] = field(default_factory=dict)
    """In flight at each replica, over all activators."""
    offers: Sequence[tuple[str, str]] = ()
    """After a check: (seq, replica) of offers that are not taken up."""
    missed: Sequence[str] = ()
    """After a check: seq of those whose offer has passed on. They have no place any more."""


def decode(raw: bytes) -> Reply:
    """Raises OtherVersion."""
    status, *parts = raw.decode().split("\t")
    if status == "version":
        raise OtherVersion
    if status != "ok":
        return Reply(is_member=False)
    born, wake, paced, results, grants, busy, told = parts
    offers = [(seq, replica) for seq, kind, replica in _tuples(told, 3) if kind == "o"]
    return Reply(
        is_member=True,
        born=born,
        wake_in=None if wake.startswith("-") else int(wake) / 1e3,
        paced=bool(paced),
        results=results.split("\n"),
        grants=[(seq, replica) for seq, replica in _tuples(grants, 2)],
        busy={replica: int(count) for replica, count in _tuples(busy, 2)},
        offers=offers,
        missed=[seq for seq, kind, _ in _tuples(told, 3) if kind != "o"],
    )


def joined(names: Iterable[str]) -> str:
    """A list within a value."""
    return "\n".join(names)


def _tuples(text: str, size: int) -> Iterable[tuple[str, ...]]:
    if not text:
        return ()
    flat = text.split("\n")
    return zip(*(flat[at::size] for at in range(size)), strict=True)


class OtherVersion(Exception):
    """The ledger is kept by a newer activator in a way that this one does not know."""
