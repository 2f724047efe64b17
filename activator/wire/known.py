"""Heads that have been read before, by their bytes.

Whoever keeps a connection open says much the same with each message, and so do many clients of
one library: reading it once is enough. What is kept is bounded, and each head it holds stands for
all messages with the same bytes, so that nobody may change one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

from activator.wire.heads import NOTHING_OWN, RequestHead
from activator.wire.outline import cut, is_told_apart, outline_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.wire.heads import HeadLimits
    from activator.wire.outline import Outline

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


class KnownRequests(KnownHeads[RequestHead]):
    """Of requests: those too that are alike but for what each says of its own."""

    __slots__ = ("_outlines",)

    def __init__(self) -> None:
        super().__init__()
        self._outlines: dict[tuple[bytes, ...], Outline] = {}

    def __len__(self) -> int:
        return len(self._heads) + len(self._outlines)

    def alike(self, raw: bytes) -> RequestHead | None:
        """The head that these bytes are, made from one that is known; None: there is none."""
        if len(raw) > LONGEST:
            return None
        found = cut(raw)
        if found is None:
            return None
        key, query, values = found
        outline = self._outlines.get(key)
        return None if outline is None else outline.filled(raw, query, values)

    def learn(self, raw: bytes, head: RequestHead, limits: HeadLimits) -> None:
        """It has just been read within these limits."""
        found = None
        if len(raw) <= LONGEST <= min(limits.line, limits.total):  # nothing kept comes near them
            found = outline_of(head, raw)
        if not is_told_apart(head):
            head.outline, head.own = None, NOTHING_OWN
        elif found is None:
            self.keep(raw, head)
        else:
            key, outline = found
            if len(self._outlines) >= MOST:
                self._outlines.clear()
            self._outlines[key] = outline
