"""The values of some fields of a `multipart/form-data` body that comes in pieces (RFC 7578).

Files are skipped, in whichever order they stand; only fields that are wanted are kept.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from activator.proxy.openai.pieces import Pieces
from activator.proxy.openai.toplevel import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_HEAD: Final = 8 << 10
"""Bytes of one part's header lines."""
_BOUNDARY: Final = re.compile(
    rb"""multipart/form-data\s*;(?:[^"]|"[^"]*")*?\bboundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))""",
    re.IGNORECASE,
)
_NAME: Final = re.compile(
    rb"""^content-disposition:[ \t]*form-data[ \t]*;(?:[^"\r\n]|"[^"]*")*?\bname="?([^";\r\n]*)""",
    re.IGNORECASE | re.MULTILINE,
)

# what is being read
_SKIPPED, _DELIMITER, _HEAD, _FIELD = range(4)


def boundary_of(content_type: bytes) -> bytes | None:
    """None: it is not this kind of body."""
    found = _BOUNDARY.match(content_type.strip())
    return None if found is None else found[1] or found[2]


class Multipart:
    """As `TopLevel`, for this kind of body."""

    __slots__ = ("_at", "_buffer", "_delimiter", "_name", "_pieces", "_state", "_wanted",
                 "found", "over")  # fmt: skip

    def __init__(self, boundary: bytes, wanted: Mapping[str, int]) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._wanted = wanted
        self._pieces = Pieces()
        self._buffer = bytearray(b"\r\n")  # the first delimiter has no line before it
        self._at = -2
        """Offset in the body of the buffer's first byte."""
        self._state = _SKIPPED
        self._name = ""
        self.found: dict[str, Value] = {}
        self.over = False

    def feed(self, data: bytes) -> None:
        if not self.over:
            self._pieces.add(data)

    @property
    def pending(self) -> bool:
        return bool(self._pieces)

    def step(self) -> None:
        if not self._pieces:
            return
        data = self._pieces.take()
        self._buffer += data
        while not self.over and self._advance():
            pass
        if self.over:
            self._pieces.clear()

    def _advance(self) -> bool:
        """False: more has to come first."""
        match self._state:
            case 1:  # _DELIMITER
                return self._after_delimiter()
            case 2:  # _HEAD
                return self._head()
            case _:
                return self._to_delimiter()

    def _to_delimiter(self) -> bool:
        buffer = self._buffer
        end = buffer.find(self._delimiter)
        field = self._state == _FIELD
        if end < 0:
            if field and len(buffer) <= self._wanted[self._name] + len(self._delimiter):
                return False
            self._state = _SKIPPED  # longer than such a field can be
            self._drop(max(0, len(buffer) - len(self._delimiter) + 1))
            return False
        if field and end <= self._wanted[self._name]:
            self.found[self._name] = Value(
                bytes(buffer[:end]), self._at, self._at + end, is_text=True
            )
        self._drop(end + len(self._delimiter))
        self._state = _DELIMITER
        return True

    def _after_delimiter(self) -> bool:
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        if buffer.startswith(b"--"):
            self.over = True
            return False
        end = buffer.find(b"\r\n")
        if end < 0:
            self.over = len(buffer) > LONGEST_HEAD
            return False
        self._drop(end)  # its CRLF stays: a head may have no line
        self._state = _HEAD
        return True

    def _head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            self.over = len(self._buffer) > LONGEST_HEAD
            return False
        named = _NAME.search(bytes(self._buffer[:end]))
        self._name = "" if named is None else named[1].decode("utf-8", "replace")
        self._drop(end + 4)
        wanted = self._name in self._wanted and self._name not in self.found
        self._state = _FIELD if wanted else _SKIPPED
        return True

    def _drop(self, size: int) -> None:
        del self._buffer[:size]
        self._at += size
