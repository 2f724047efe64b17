"""A request's body on its way: what has come and is not known to have been delivered.

Kept while the request waits, and while it could still be sent once more; forgotten as soon as
neither is the case. The bounds are the caller's, except that of what is kept for a repetition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from activator.proxy.edits import Editor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from activator.proxy.edits import Edit
    from activator.proxy.spool import Spool
    from activator.wire.heads import Field

REPEATABLE: Final = 64 << 10
"""Bytes of a streamed body that are kept until the answer begins, in case it must be repeated."""


SMALL: Final = 4 << 10
"""Bytes up to which pieces are joined: a body that comes byte by byte must not cost an object a
byte."""

_NOTHING: Final[list[bytes]] = []
"""Shared by all bodies without chunks, never changed: most requests that wait have none."""

_NO_TRAILERS: Final[list[Field]] = []
"""In the same way."""


class HeldMemory:
    """Bytes that bodies of waiting requests may take in this process, all endpoints together."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def reserve(self, size: int) -> bool:
        if self.used + size > self.limit:
            return False
        self.used += size
        return True

    def free(self, size: int) -> None:
        self.used -= size


class Body:
    """See the module. `size` counts what has come, `chunks` is what is kept of it, unless it is in
    a `spool`."""

    __slots__ = ("_lost", "chunks", "complete", "size", "spool", "trailers")

    def __init__(self, *, complete: bool) -> None:
        self.chunks = _NOTHING
        self.spool: Spool | None = None
        self.size = 0
        self.complete = complete
        self.trailers = _NO_TRAILERS
        self._lost = False

    @classmethod
    def of(cls, data: bytes) -> Body:
        """All of it has come, and is kept."""
        body = cls(complete=True)
        body.chunks = [data]
        body.size = len(data)
        return body

    @classmethod
    def delivered(cls, size: int) -> Body:
        """All of it has been sent on, once and for all."""
        body = cls(complete=True)
        body.size = size
        body.forget()
        return body

    def add(self, data: bytes) -> None:
        """More has come and is kept. Raises StoreUnavailable if it cannot be."""
        self.size += len(data)
        if self.spool is not None:
            self.spool.write(data)
            return
        chunks = self.chunks
        if not chunks:
            self.chunks = [data]
        elif len(chunks[-1]) + len(data) <= SMALL:
            chunks[-1] += data
        else:
            chunks.append(data)

    def passed(self, data: bytes) -> None:
        """More has come and was sent on: kept only if it is small."""
        if self._lost:
            self.size += len(data)
        elif self.size + len(data) <= REPEATABLE:
            self.add(data)
        else:
            self.size += len(data)
            self.forget()

    def sent(self) -> None:
        """All that is kept was sent on."""
        if self.size > REPEATABLE and not self.complete:
            self.forget()

    def end(self, trailers: list[Field]) -> None:
        self.complete = True
        self.trailers = trailers or _NO_TRAILERS

    def spill(self, spool: Spool) -> None:
        """What is kept, and what comes, goes there. Raises StoreUnavailable if it does not."""
        self.spool = spool
        chunks, self.chunks = self.chunks, _NOTHING
        for chunk in chunks:
            spool.write(chunk)

    def change(self, edits: Sequence[Edit]) -> None:
        """Of bytes that have come; all of it is still kept. Where one edit has changed it another
        may again."""
        self.size += sum(edit.growth for edit in edits)
        if self.spool is not None:
            self.spool.change(edits)
        else:
            self.chunks = [Editor(edits).piece(b"".join(self.chunks))]

    def pieces(self) -> Iterator[bytes]:
        """All that is kept."""
        return iter(self.chunks) if self.spool is None else self.spool.pieces()

    def restore(self, chunks: Sequence[bytes]) -> None:
        """Back from the store."""
        self.chunks = list(chunks)

    def stored(self, size: int) -> None:
        """The store has it, all of its `size`: one number for both, since thousands may wait."""
        self.size = size
        self.chunks = _NOTHING

    def forget(self) -> None:
        """It will not be sent again."""
        self.chunks = _NOTHING
        self._lost = self.size > 0
        if self.spool is not None:
            self.spool.close()
            self.spool = None

    @property
    def repeatable(self) -> bool:
        """It can be sent from its beginning."""
        return not self._lost


NO_BODY: Final = Body(complete=True)
"""Shared by all requests without one: nothing is ever added to it."""
