"""How bodies are cut out of a stream of bytes and framed again: lengths, chunks, until-close.

A decoder is fed what came from the socket and gives the body's bytes; what lies beyond the end of
the message it neither looks at nor copies. Nothing is buffered but an unfinished chunk line or
trailer section.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

from activator.wire.heads import CHUNKED, UNTIL_CLOSE, Field, HeadLimits, Malformed, TooLarge
from activator.wire.parsing import NEVER_IN_A_HEAD, parse_trailers

_CHUNK_LINE: Final = re.compile(
    rb"([0-9A-Fa-f]{1,15})"
    rb"(?:;[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
    rb"(?:=(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++|\"(?:[\t !\x23-\x5b\x5d-\x7e]|\\[\t\x20-\x7e])*+\"))?"
    rb")*+"
)
_CHUNK_LINE_BEGUN: Final = re.compile(rb"[0-9A-Fa-f]{1,15}(?:;|\Z)")
_CHUNK_LINE_LIMIT: Final = 256
"""Bytes of one chunk line: extensions are legal, unbounded ones are an attack."""
_TRAILER_LIMIT: Final = 8 << 10
"""Bytes of a trailer section: it is held whole until its end, whatever the head may be."""
_USUAL_SIZES: Final = {b"%x" % size: size for size in range(2048)}
"""Chunk lines as most servers write them, for the sizes that tokens and their events have."""
USUAL_CHUNKS: Final = {
    len(line) + 4 + size: (line + b"\r\n", size) for line, size in _USUAL_SIZES.items() if size
}
"""Bytes that a chunk takes with its framing → how it begins, if it is framed as we would; and the
bytes of the body in it."""
LAST_CHUNK: Final = b"0\r\n\r\n"


class Decoder(Protocol):
    done: bool
    trailers: list[Field]

    @property
    def left(self) -> int:
        """Bytes of the body that are still to come; 0: none, or nobody can tell."""

    @property
    def between(self) -> bool:
        """A chunk begins with the next byte, if the body goes on."""

    def feed(self, data: bytes, at: int = 0) -> tuple[bytes, int]:
        """(body bytes in `data` from `at` on, where the message ends there; the length of `data`
        until it does). Raises Malformed or TooLarge."""

    def eof(self) -> bool:
        """The connection has ended: is the body complete?"""


class LengthDecoder:
    """Content-Length bytes, not one more."""

    __slots__ = ("done", "left", "trailers")

    def __init__(self, length: int) -> None:
        self.left = length
        self.done = length == 0
        self.trailers: list[Field] = []

    @property
    def between(self) -> bool:
        return False

    def feed(self, data: bytes, at: int = 0) -> tuple[bytes, int]:
        end, size = at + self.left, len(data)
        if end > size:
            self.left = end - size
            return data[at:], size
        self.left, self.done = 0, True
        return data[at:end], end

    def eof(self) -> bool:
        return self.done


class UntilCloseDecoder:
    """Everything that comes; the end of the connection is the end of the body."""

    __slots__ = ("done", "trailers")
    left = 0

    def __init__(self) -> None:
        self.done = False
        self.trailers: list[Field] = []

    @property
    def between(self) -> bool:
        return False

    def feed(self, data: bytes, at: int = 0) -> tuple[bytes, int]:
        return data[at:], len(data)

    def eof(self) -> bool:
        self.done = True
        return True


_SIZE, _DATA, _DATA_END, _TRAILERS = range(4)
"""What comes next: a chunk line, bytes of a chunk, the CRLF behind them, the trailer section."""


class ChunkedDecoder:
    """RFC 9112 §7.1, chunk extensions checked and dropped, trailers kept."""

    __slots__ = ("_left", "_limits", "_partial", "_scanned", "_state", "done", "trailers")
    left = 0

    def __init__(self, limits: HeadLimits) -> None:
        self._limits = limits
        self._state = _SIZE
        self._left = 0
        self._partial = b""
        self._scanned = 0
        self.done = False
        self.trailers: list[Field] = []

    @property
    def between(self) -> bool:
        return self._state == _SIZE and not self._partial

    def feed(self, data: bytes, at: int = 0) -> tuple[bytes, int]:
        if self._state == _SIZE and not at and not self._partial:
            # most reads of a stream bring one whole chunk, whose line need not be taken apart
            usual = USUAL_CHUNKS.get(len(data))
            if usual is not None and data.startswith(usual[0]) and data.endswith(b"\r\n"):
                return data[len(usual[0]) : -2], len(data)
        shift = 0
        if self._partial:
            shift = len(self._partial) - at
            data = self._partial + data[at:]
            self._partial, at = b"", 0
        pieces: list[bytes] = []
        size = len(data)
        while at < size and not self.done:
            if self._state == _DATA:
                end = at + self._left
                pieces.append(data[at:end])
                if data[end : end + 2] == b"\r\n":
                    self._state = _SIZE
                    at = end + 2
                elif end > size:
                    self._left = end - size
                    at = size
                else:
                    self._state = _DATA_END
                    at = end
            elif self._state == _SIZE:
                end = data.find(b"\r\n", at, at + _CHUNK_LINE_LIMIT + 2)
                if end < 0:
                    self._keep_partial_line(data[at:])
                    break
                self._begin_chunk(data[at:end])
                at = end + 2
            elif self._state == _DATA_END:
                at = self._end_chunk(data, at)
            else:
                at = self._read_trailers(data, at)
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return body, (at if self.done else size) - shift

    def eof(self) -> bool:
        return self.done

    def _begin_chunk(self, line: bytes) -> None:
        length = _USUAL_SIZES.get(line)
        if length is None:
            found = _CHUNK_LINE.fullmatch(line)
            if found is None:
                raise Malformed("an invalid chunk size")
            length = int(found.group(1), 16)
        self._left = length
        self._state = _DATA if length else _TRAILERS

    def _end_chunk(self, data: bytes, at: int) -> int:
        tail = data[at : at + 2]
        if tail == b"\r\n":
            self._state = _SIZE
        elif tail == b"\r":
            self._partial = tail
        else:
            raise Malformed("a chunk longer than its size")
        return at + len(tail)

    def _keep_partial_line(self, rest: bytes) -> None:
        whole = rest.removesuffix(b"\r")
        if len(whole) > _CHUNK_LINE_LIMIT:
            raise Malformed("a chunk line that is too long")
        if b"\r" in whole or b"\n" in whole:
            raise Malformed("a bare CR or LF in a chunk line")
        if whole and not _CHUNK_LINE_BEGUN.match(whole):
            raise Malformed("an invalid chunk size")
        self._partial = rest

    def _read_trailers(self, data: bytes, at: int) -> int:
        if data.startswith(b"\r\n", at):
            self.done = True
            return at + 2
        end = data.find(b"\r\n\r\n", at + max(0, self._scanned - 3))
        whole = end >= 0
        if (end + 2 if whole else len(data) - 1) - at > _TRAILER_LIMIT:
            raise TooLarge(f"trailers larger than {_TRAILER_LIMIT} bytes")
        if whole:
            self.trailers = parse_trailers(data[at : end + 2], self._limits)
            self.done = True
            return end + 4
        if NEVER_IN_A_HEAD.search(data, at + max(0, self._scanned - 1)):
            raise Malformed("a bare CR or LF in a trailer")
        self._partial = data[at:]
        self._scanned = len(self._partial)
        return len(data)


def decoder(length: int, limits: HeadLimits) -> Decoder:
    """The decoder for a head's `length`."""
    if length == CHUNKED:
        return ChunkedDecoder(limits)
    if length == UNTIL_CLOSE:
        return UntilCloseDecoder()
    return LengthDecoder(length)


def chunk(data: bytes) -> bytes:
    """One chunk around non-empty data."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk(trailers: list[Field]) -> bytes:
    if not trailers:
        return LAST_CHUNK
    return b"0\r\n" + b"".join(line + b"\r\n" for _, _, line in trailers) + b"\r\n"
