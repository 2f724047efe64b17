"""The heads of HTTP/1.1 messages, once they are read: fields to look up, and what a connection has
to know of each. How they are read, and what is none, is for `parsing`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from activator.wire.outline import AnswerOutline, Outline

CHUNKED: Final = -1
"""A body length: framed by chunks."""
UNTIL_CLOSE: Final = -2
"""A body length: whatever comes until the connection ends (responses only)."""

Field = tuple[bytes, bytes, bytes]
"""(name in lower case, value without surrounding white space, the line as it came, no CRLF)"""


class Malformed(Exception):
    """The other side sent something that is not one unambiguous HTTP/1.1 message."""


class TooLarge(Exception):
    """A head beyond its limits."""


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """Bounds of one head, in bytes and number of fields."""

    line: int = 16 << 10
    """Of the request line or status line."""
    total: int = 64 << 10
    """Of all field lines together."""
    fields: int = 200


class _Head:
    """What both heads have. `first` is the first field of each name, for look-ups in one step.

    Once read, a head does not change: it may stand for many messages (`wire.known`).
    """

    __slots__ = (
        "_fields", "_first", "connection", "folded", "is_kept", "keep_alive", "length", "minor",
        "note",
    )  # fmt: skip

    def __init__(self, minor: int, fields: list[Field]) -> None:
        self.minor = minor
        self.folded = b""
        """The fields while nobody looks at them: what follows the first CRLF."""
        self._fields = fields
        self._first = _first_of(fields)
        self.length = 0
        self.keep_alive = minor == 1
        self.connection: frozenset[bytes] = _NO_OPTIONS
        self.is_kept = False
        """It stands for others, or has what others have in common: what is concluded from it is
        worth noting."""
        self.note: object = None
        """What its reader has concluded from it alone, for the next message with the same head."""

    def fold(self) -> None:
        """Its fields take a tenth of the memory until somebody looks at one: four objects each
        become one for all."""
        if not self.folded:
            self.folded = b"".join([b"\r\n" + line for _, _, line in self.fields])
            self.first  # noqa: B018 - there to be deleted, whether it was asked for or not
            del self._fields, self._first

    # what is not there is made when it is asked for. No `__getattr__`: with one, the interpreter
    # takes the long way to every attribute of a head

    @property
    def fields(self) -> list[Field]:
        try:
            return self._fields
        except AttributeError:
            _, _, lines = self.folded.partition(b"\r\n")
            self._fields = split_fields(lines)
            self.folded = b""
            return self._fields

    @fields.setter
    def fields(self, fields: list[Field]) -> None:
        self._fields = fields

    @property
    def first(self) -> dict[bytes, Field]:
        """The first field of each name."""
        try:
            return self._first
        except AttributeError:
            self._first = _first_of(self.fields)
            return self._first

    def get(self, name: bytes) -> bytes | None:
        """The value of the first field of this lower-case name."""
        field = self.first.get(name)
        return None if field is None else field[1]

    def text(self, name: str) -> str | None:
        """`get` for those who compare text; every byte is a character (ISO 8859-1)."""
        value = self.get(name.encode("latin-1"))
        return None if value is None else value.decode("latin-1")

    def get_all(self, name: bytes) -> list[bytes]:
        if name not in self.first:
            return []
        return [value for lower, value, _ in self.fields if lower == name]


class RequestHead(_Head):
    """A request's head. `length` is the body's: a number of bytes or CHUNKED."""

    __slots__ = (
        "_own", "expects_continue", "host", "method", "outline", "query", "target", "websocket",
    )  # fmt: skip

    def __init__(self, method: bytes, target: bytes, minor: int, fields: list[Field]) -> None:
        super().__init__(minor, fields)
        self.method = method
        self.target = target
        _, mark, query = target.partition(b"?")
        self.query = mark + query
        """Of its target, with the question mark; empty if it has none."""
        self._own = NOTHING_OWN
        self.outline: Outline | None = None
        """What it has in common with others; None: nothing, or nobody keeps it."""
        self.host = b""
        self.expects_continue = False
        self.websocket = False

    def fold(self) -> None:
        if self.own:
            del self._own  # values that its fields have, too
        super().fold()
        self.method = _METHODS.get(self.method, self.method)

    @property
    def own(self) -> dict[bytes, bytes]:
        """Values of fields that differ from message to message; whether or not they are here, they
        are among the fields (`wire.outline`)."""
        try:
            return self._own
        except AttributeError:
            assert self.outline is not None
            first = self.first
            self._own = {each: first[each][1] for each in self.outline.names}
            return self._own

    @own.setter
    def own(self, own: dict[bytes, bytes]) -> None:
        self._own = own


class ResponseHead(_Head):
    """A response's head. `length` is the body's: bytes, CHUNKED, or UNTIL_CLOSE."""

    __slots__ = ("is_usual", "outline", "own", "reason", "status")

    def __init__(self, status: int, reason: bytes, minor: int, fields: list[Field]) -> None:
        super().__init__(minor, fields)
        self.status = status
        self.reason = reason
        self.own = NOTHING_OWN
        self.outline: AnswerOutline | None = None
        """As a request's, both of them."""
        self.is_usual = status >= 200
        """An answer, and nothing in it that a connection would have to heed beyond `keep_alive`."""


_METHODS: Final = {method: method for method in (b"GET", b"POST", b"PUT", b"PATCH", b"DELETE")}
"""One object each for all requests that wait."""
_NO_OPTIONS: Final[frozenset[bytes]] = frozenset()
NOTHING_OWN: Final[dict[bytes, bytes]] = {}


def split_fields(block: bytes) -> list[Field]:
    """Of lines that are known to be fields, each with its CRLF."""
    return [
        _field(line) if len(line) <= _COMMON else _read(line)
        for line in block.split(b"\r\n")
        if line
    ]


def _read(line: bytes) -> Field:
    name, _, value = line.partition(b":")
    return name.lower(), value.strip(b" \t"), line


_COMMON: Final = 256
"""Bytes of a line that may be the same in message after message."""
_field = lru_cache(maxsize=1024)(_read)


def _first_of(fields: list[Field]) -> dict[bytes, Field]:
    return {field[0]: field for field in reversed(fields)}
