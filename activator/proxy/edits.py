"""Bytes exchanged in a body that passes in pieces: what stands around them stays to the byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class Edit(NamedTuple):
    """`new` stands where the bytes from `start` to `end` stood; offsets of the body as it came."""

    start: int
    end: int
    new: bytes

    @property
    def growth(self) -> int:
        return len(self.new) - (self.end - self.start)


class Editor:
    """Takes a body in pieces, from its beginning, and gives it changed. Edits do not overlap."""

    def __init__(self, edits: Iterable[Edit]) -> None:
        self._edits = sorted(edits)
        self._at = 0

    def piece(self, data: bytes) -> bytes:
        start, end = self._at, self._at + len(data)
        self._at, kept, parts = end, start, list[bytes]()
        for edit in self._edits:
            if start <= edit.start < end:
                parts += (data[kept - start : edit.start - start], edit.new)
                kept = edit.end
            elif edit.start < start:
                kept = max(kept, edit.end)
        return b"".join((*parts, data[kept - start :])) if parts or kept > start else data
