"""Heads that have been read before, by their bytes.

Whoever keeps a connection open says much the same with each message, and so do many clients of
one library: reading it once is enough. What is kept is bounded, and each head it holds stands for
all messages with the same bytes, so that nobody may change one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from activator.wire.heads import RequestHead, ResponseHead
from activator.wire.outline import (
    Head,
    cut_answer,
    cut_request,
    may_stand_for_others,
    outline_answer,
    outline_request,
)
from activator.wire.parsing import parse_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.wire.heads import HeadLimits
    from activator.wire.outline import Cut, Key

MOST: Final = 1024
"""Heads, and outlines; at the bound all are forgotten, which costs the ones in use one more reading
each."""
LONGEST: Final = 2 << 10
"""Bytes of a head that is kept: more than clients send as a rule, little beside what it costs."""

HeadMade_co = TypeVar("HeadMade_co", covariant=True)


class _Outline(Protocol[HeadMade_co]):
    def filled(self, raw: bytes, query: bytes, values: list[bytes]) -> HeadMade_co | None: ...


class _Known(Generic[Head]):
    """Of messages that are read within the same limits and in the same role; those too that are
    alike but for what each says of its own."""

    __slots__ = ("_cut", "_heads", "_may_stand", "_once", "_outline", "_outlines", "get")

    def __init__(
        self,
        cut: Callable[[bytes], Cut | None],
        outline: Callable[[Head, Cut], _Outline[Head] | None],
        may_stand: Callable[[Head], bool],
    ) -> None:
        """`may_stand`: whether one without an outline may stand for others with its bytes."""
        self._cut = cut
        self._outline: Callable[[Head, Cut], _Outline[Head] | None] = outline
        self._may_stand: Callable[[Head], bool] = may_stand
        self._heads: dict[bytes, Head] = {}
        self._outlines: dict[Key, _Outline[Head]] = {}
        self._once: set[int] = set()
        """Hashes of what was here lately and is not kept: it is when it comes again."""
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
        if head is not None and self._comes_again(raw):
            self._keep(raw, head)
        return head

    def learn(self, raw: bytes, head: Head, limits: HeadLimits) -> None:
        """It has just been read within these limits."""
        if len(raw) > LONGEST:
            return
        found = self._cut(raw) if _are_far(limits) else None
        if not self._comes_again(raw if found is None else found[0]):
            return
        outline = None if found is None else self._outline(head, found)
        if found is not None and outline is not None:
            if len(self._outlines) >= MOST:
                self._outlines.clear()
            self._outlines[found[0]] = outline
        elif self._may_stand(head) and (found is None or self._comes_again(raw)):
            self._keep(raw, head)

    def _comes_again(self, what: bytes | Key) -> bool:
        """It was here lately. What comes only once would take memory and the place of others."""
        mark = hash(what)
        if mark in self._once:
            return True
        if len(self._once) >= MOST:
            self._once.clear()
        self._once.add(mark)
        return False

    def _keep(self, raw: bytes, head: Head) -> None:
        if len(self._heads) >= MOST:
            self._heads.clear()
        self._heads[raw] = head
        head.is_kept = True


class KnownRequests(_Known[RequestHead]):
    def __init__(self) -> None:
        super().__init__(cut_request, outline_request, may_stand_for_others)


class KnownAnswers(_Known[ResponseHead]):
    """Not those to HEAD, whose length means something else."""

    def __init__(self) -> None:
        super().__init__(cut_answer, outline_answer, lambda head: True)

    def read(self, raw: bytes, *, method: bytes, limits: HeadLimits) -> ResponseHead:
        """The head of an answer to a `method` request, if need be from its bytes. Raises Malformed
        or TooLarge."""
        if method == b"HEAD":
            return parse_response(raw, method=method, limits=limits)
        head = self.get(raw) or self.alike(raw)
        if head is None:
            head = parse_response(raw, method=method, limits=limits)
            self.learn(raw, head, limits)
        return head


def _are_far(limits: HeadLimits) -> bool:
    """No head that may be kept comes near them."""
    return min(limits.line, limits.total) >= LONGEST
