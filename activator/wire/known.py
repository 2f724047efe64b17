"""Heads that have been read before, by their bytes.

Whoever keeps a connection open says much the same with each message, and so do many clients of
one library: reading it once is enough. What is kept is bounded, and each head it holds stands for
all messages with the same bytes, so that nobody may change one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

MOST: Final = 1024
"""Heads; at the bound all are forgotten, which costs the ones in use one more reading each."""
LONGEST: Final = 2 << 10
"""Bytes of a head that is kept: more than clients send as a rule, little beside what it costs."""

Head = TypeVar("Head")


class KnownHeads(Generic[Head]):
    """Of messages that are read within the same limits and in the same role."""

    __slots__ = ("_heads", "get")

    def __init__(self) -> None:
        self._heads: dict[bytes, Head] = {}
        self.get: Callable[[bytes], Head | None] = self._heads.get
        """The head that these bytes are; None: unknown. A plain look-up, once a message."""

    def __len__(self) -> int:
        return len(self._heads)

    def keep(self, raw: bytes, head: Head) -> None:
        if len(raw) <= LONGEST:
            if len(self._heads) >= MOST:
                self._heads.clear()
            self._heads[raw] = head
