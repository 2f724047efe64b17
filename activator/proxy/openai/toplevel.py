"""The values of some top-level keys of a JSON object that comes in pieces, without parsing it.

A prompt of megabytes may stand before `model`, and most of it is strings. So the work is done by
`bytes.replace`, `split` and `count` on slices: quotes that are escaped are blotted out (which keeps
every offset), what is between quotes is skipped, and of the rest only brackets are counted until
the object's own level is reached again. What is malformed is for the replica to refuse.
"""

from __future__ import annotations

import json
import re
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NamedTuple

from activator.proxy.openai.pieces import Pieces

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_KEY: Final = 256
_BEFORE: Final = b" \t\r\n\xef\xbb\xbf"
"""What may stand before an object: white space, and the mark that some editors begin files with."""
_STRUCTURE: Final = re.compile(rb"[\[\]{}:,]")
_BRACKETS: Final = re.compile(rb"[\[\]{}]")
_TRIVIAL: Final = frozenset({b"", b",", b":", b", ", b": "})
"""Between two strings of a nested value nothing but these says nothing."""
_OPENING: Final = b"[{"
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_LEVELS: Final = [1 if char in _OPENING else -1 for char in range(256)]

# where in the object it is, at the object's own level
_KEY, _COLON, _VALUE = range(3)


class Value(NamedTuple):
    """A value as it stands in the body: `raw` at the offsets `start` to `end`."""

    raw: bytes
    start: int
    end: int
    whole: bool = True
    """False: this is only its beginning."""
    is_text: bool = False
    """It is no JSON: the field of a form."""


class TopLevel:
    """Bytes come by `feed`; `step` reads some of them. Of a key that stands twice the first counts,
    since the second may never come."""

    __slots__ = (
        "_at",
        "_capture",
        "_data",
        "_depth",
        "_escaped",
        "_from",
        "_inside",
        "_key",
        "_most",
        "_phase",
        "_pieces",
        "_start",
        "_wanted",
        "found",
        "over",
    )

    def __init__(self, wanted: Mapping[str, int]) -> None:
        """`wanted`: for each key how many bytes of its value are kept at most."""
        self._wanted = wanted
        self._pieces = Pieces()
        self._at = 0
        """Offset of the slice that is being read."""
        self._data = b""
        self._inside = False
        """In a string."""
        self._escaped = False
        """The last byte was a backslash that escapes the next."""
        self._depth = 0
        self._phase = _KEY
        self._key = bytearray()
        self._capture: bytearray | None = None
        self._most = 0
        self._start = 0
        self._from = 0
        self.found: dict[str, Value] = {}
        self.over = False
        """Nothing more will be found: the object has ended, or it is none."""

    def feed(self, data: bytes) -> None:
        if not self.over:
            self._pieces.add(data)

    @property
    def pending(self) -> bool:
        """There is something for `step` to read."""
        return bool(self._pieces)

    def step(self) -> None:
        """Read one slice."""
        if not self._pieces:
            return
        data = self._pieces.take()
        self._data, self._from = data, 0
        self._read(data, self._without_escapes(data))
        capture = self._capture
        if capture is not None:
            self._keep(capture, data[self._from :])
        self._at += len(data)
        self._data = b""
        if self.over:
            self._pieces.clear()

    def _without_escapes(self, data: bytes) -> bytes:
        """As long as `data`, with quotes only where a string begins or ends."""
        if self._escaped and data:
            data = b"." + data[1:]
        if b"\\" not in data:
            self._escaped = False
            return data
        clean = data.replace(b"\\\\", b"..")
        self._escaped = clean.endswith(b"\\")
        return clean.replace(b'\\"', b"..")

    def _read(self, data: bytes, clean: bytes) -> None:
        parts = clean.split(b'"')
        if self._depth > 1 and self._skipped(b"".join(parts[self._inside :: 2])):
            self._inside ^= not len(parts) % 2
            return
        position, last = 0, len(parts) - 1
        for index, part in enumerate(parts):
            end = position + len(part)
            if not self._inside:
                self._outside(part, position)
                if self.over:
                    return
            elif self._depth == 1 and self._phase == _KEY:
                self._key += data[position : min(end, position + LONGEST_KEY)]
            if index < last:
                self._quote()
                if self.over:
                    return
            position = end + 1

    def _quote(self) -> None:
        if self._depth == 1:
            if self._inside and self._phase == _KEY:
                self._phase = _COLON
            elif self._phase == _KEY:
                self._key.clear()
        elif not self._depth:
            self.over = True  # a text, not an object
        self._inside = not self._inside

    def _skipped(self, outside: bytes) -> bool:
        """All of it is deeper than the object's own level."""
        closing = outside.count(b"]") + outside.count(b"}")
        if self._depth - closing < 2:
            # so many close that it takes a look at their order
            brackets = outside.translate(None, _NO_BRACKETS)
            lowest = min(accumulate(map(_LEVELS.__getitem__, brackets)), default=0)
            if self._depth + lowest < 2:
                return False
        self._depth += outside.count(b"[") + outside.count(b"{") - closing
        return True

    def _outside(self, part: bytes, position: int) -> None:
        """What stands between two strings, at this position of the slice."""
        at = 0
        if self._depth > 1:
            if part in _TRIVIAL or self._skipped(part):
                return
            at = self._climb(part)
        while self._depth and (found := _STRUCTURE.search(part, at)) is not None:
            at = found.end()
            self._structure(part[at - 1], position + at - 1)
            if self.over:
                return
            if self._depth > 1:
                at = self._climb(part, at)
        if not self._depth and (rest := part.lstrip(_BEFORE)):
            self._begin(rest, position, part)

    def _begin(self, rest: bytes, position: int, part: bytes) -> None:
        if not rest.startswith(b"{"):
            self.over = True
            return
        self._depth = 1
        skipped = len(part) - len(rest) + 1
        self._outside(part[skipped:], position + skipped)

    def _climb(self, part: bytes, at: int = 0) -> int:
        """Back to the object's own level, if that is in this part; where to go on."""
        while self._depth > 1:
            found = _BRACKETS.search(part, at)
            if found is None:
                return len(part)
            at = found.end()
            self._depth += 1 if part[at - 1] in _OPENING else -1
        return at

    def _structure(self, char: int, index: int) -> None:
        """Of the object's own level."""
        match char:
            case 0x3A if self._phase == _COLON:
                self._phase = _VALUE
                self._begin_value(index + 1)
            case 0x2C:  # ,
                self._end_value(index)
                self._phase = _KEY
            case 0x7D | 0x5D:  # } ]
                self._end_value(index)
                self.over = True
            case 0x7B | 0x5B:  # { [
                self._depth = 2

    # --- values

    def _begin_value(self, index: int) -> None:
        key = _text(bytes(self._key))
        if key in self._wanted and key not in self.found:
            self._capture = bytearray()
            self._most = self._wanted[key]
            self._start = self._at + index
            self._from = index

    def _end_value(self, index: int) -> None:
        capture = self._capture
        if capture is not None:
            self._keep(capture, self._data[self._from : index])
        capture, self._capture = self._capture, None
        if capture is not None:
            self._tell(bytes(capture), whole=True)

    def _keep(self, capture: bytearray, data: bytes) -> None:
        capture += data[: self._most + 1 - len(capture)]
        if len(capture) > self._most:
            self._capture = None
            self._tell(bytes(capture[: self._most]), whole=False)

    def _tell(self, raw: bytes, *, whole: bool) -> None:
        start = self._start + len(raw) - len(raw.lstrip())
        raw = raw.strip()
        self.found[_text(bytes(self._key))] = Value(raw, start, start + len(raw), whole=whole)


def _text(key: bytes) -> str:
    """A key as text; one that is none is the empty one."""
    if b"\\" not in key:
        return key.decode("utf-8", "replace")
    try:
        text = json.loads(b'"' + key + b'"')
    except ValueError:
        return ""
    return text if isinstance(text, str) else ""
