"""The beginning of a large body in a temporary file, while its model is searched or it waits.

The file has no name and ends with the process. It is written and read in pieces, which the
system's page cache takes in microseconds. How many bytes all spools may have is an `Intake`'s.
"""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Final

from activator.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from activator.proxy.edits import Edit
    from activator.proxy.intake import Intake

IN_MEMORY: Final = 1 << 20
"""Bytes of a body that stay in memory; a larger one goes into a file."""
PIECE: Final = 128 << 10
"""Bytes that are read at a time."""


class Spool:
    """A guest of the intake from its making to `close`. `admitted` tells that there is room."""

    def __init__(self, intake: Intake, *, room: int, admitted: Callable[[], None]) -> None:
        self._intake = intake
        self._admitted = admitted
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 -- ends in `close`
        self._written = 0
        self._edits: list[Edit] = []
        self.has_room = intake.enter(self, room)
        """False: write no more until `admitted`."""

    @property
    def held_bytes(self) -> int:
        return self._written

    def may_read(self) -> None:
        self.has_room = True
        self._admitted()

    @property
    def size(self) -> int:
        """Of what `read` gives."""
        return self._written + sum(edit.growth for edit in self._edits)

    def write(self, data: bytes) -> None:
        """Raises StoreUnavailable: the disk is full."""
        view = memoryview(data)
        try:
            while view:
                taken = os.pwrite(self._file.fileno(), view, self._written)
                self._written += taken
                view = view[taken:]
        except OSError as error:
            detail = f"A body could not be put into a temporary file: {error.strerror}"
            raise StoreUnavailable(detail, retry_after=10) from error

    def change(self, edits: Sequence[Edit]) -> None:
        """From now on `read` gives it changed. Where one edit has changed it another may again."""
        if self._edits:
            (before,), (edit,) = self._edits, edits
            assert (edit.start, edit.end) == (before.start, before.start + len(before.new))
            edits = [before._replace(new=edit.new)]
        self._edits = sorted(edits)

    def read(self, at: int) -> bytes:
        """The next piece from this offset on; empty at the end."""
        grown = 0
        for edit in self._edits:
            start = edit.start + grown
            if at < start:
                return self._bytes(at - grown, min(PIECE, start - at))
            if at < start + len(edit.new):
                return edit.new[at - start :]
            grown += edit.growth
        return self._bytes(at - grown, PIECE)

    def pieces(self) -> Iterator[bytes]:
        at = 0
        while piece := self.read(at):
            yield piece
            at += len(piece)

    def _bytes(self, at: int, size: int) -> bytes:
        return os.pread(self._file.fileno(), min(size, self._written - at), at)

    def close(self) -> None:
        self._file.close()
        self._intake.leave(self)
