"""Heads that have been read before, by their bytes.

Whoever keeps a connection open says much the same with each message, and so do many clients of
one library: reading it once is enough. What is kept is bounded, and each head it holds stands for
all messages with the same bytes, so that nobody may change one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from activator.wire.heads import RequestHead, ResponseHead
from activator.wire.outline import (
    cut_answer,
    cut_request,
    has_other_ids,
    outline_answer,
    outline_request,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.wire.heads import HeadLimits
    from activator.wire.outline import Cut, Key

MOST: Final = 1024
"""Heads, and outlines; at the bound all are forgotten, which costs the ones in use one more reading
each."""
LONGEST: Final = 2 << 10
"""Bytes of a head that is kept: more than clients send as a rule, little beside what it costs."""

RECENT: Final = 256
"""Heads that may come again, byte for byte."""

Head = TypeVar("Head", RequestHead, ResponseHead)
HeadMade_co = TypeVar("HeadMade_co", covariant=True)


class _Outline(Protocol[HeadMade_co]):
    def filled(self, raw: bytes, query: bytes, values: list[bytes]) -> HeadMade_co | None: ...


class _Known(Generic[Head]):
    """Of messages that are read within the same limits and in the same role; those too that are
    alike but for what each says of its own."""

    __slots__ = ("_cut", "_heads", "_once", "_outlines", "get")

    def __init__(self, cut: Callable[[bytes], Cut | None]) -> None:
        self._cut = cut
        self._heads: dict[bytes, Head] = {}
        self._outlines: dict[Key, _Outline[Head]] = {}
        self._once: set[bytes] = set()
        """Seen lately, with something of their own: the next time they are kept as they are."""
        self.get: Callable[[bytes], Head | None] = self._heads.get
        """The head that these bytes are; None: unknown. A plain look-up, once a message."""

    def __len__(self) -> int:
        return len(self._heads) + len(self._outlines)

    def alike(self, raw: bytes) -> Head | None:
        """The head that these bytes are, made from one that is known; None: there is none."""
        if len(raw) > LONGEST:
            return None
        found = self._cut(raw)
        if found is None:
            return None
        key, query, values = found
        outline = self._outlines.get(key)
        head = None if outline is None else outline.filled(raw, query, values)
        if head is not None:
            if raw in self._once:
                self._keep_whole(raw, head)
            else:
                if len(self._once) >= RECENT:
                    self._once.clear()
                self._once.add(raw)
        return head

    def _keep_whole(self, raw: bytes, head: Head) -> None:
        if len(self._heads) >= MOST:
            self._heads.clear()
        self._heads[raw] = head

    def _keep(self, raw: bytes, head: Head, found: tuple[Key, _Outline[Head]] | None) -> None:
        if len(raw) > LONGEST:
            return
        if found is None:
            self._keep_whole(raw, head)
            return
        if len(self._outlines) >= MOST:
            self._outlines.clear()
        key, outline = found
        self._outlines[key] = outline


class KnownRequests(_Known[RequestHead]):
    def __init__(self) -> None:
        super().__init__(cut_request)

    def learn(self, raw: bytes, head: RequestHead, limits: HeadLimits) -> None:
        """It has just been read within these limits."""
        found = outline_request(head, raw) if _is_far_from(limits, raw) else None
        if not has_other_ids(head):
            self._keep(raw, head, found)


class KnownAnswers(_Known[ResponseHead]):
    """Not those to HEAD, whose length means something else."""

    def __init__(self) -> None:
        super().__init__(cut_answer)

    def learn(self, raw: bytes, head: ResponseHead, limits: HeadLimits) -> None:
        """It has just been read within these limits."""
        self._keep(raw, head, outline_answer(head, raw) if _is_far_from(limits, raw) else None)


def _is_far_from(limits: HeadLimits, raw: bytes) -> bool:
    """No head that may be kept comes near them."""
    return len(raw) <= LONGEST <= min(limits.line, limits.total)
