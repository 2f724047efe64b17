"""The heads of HTTP/1.1 messages, read strictly: what passes can be read in one way only.

RFC 9112 with its leniencies left out: no bare CR or LF, no folding, no space before the colon,
no repeated or padded length, no transfer coding but one final `chunked`, no Transfer-Encoding
beside Content-Length or in HTTP/1.0, exactly one Host. Both roles use the same grammar. What a
message means is for others to say.
"""

from __future__ import annotations

import re
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

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_TEXT: Final = rb"[\t\x20-\x7e\x80-\xff]"
_FIELD_LINES: Final = rb"(?:" + _TOKEN + rb"++:" + _TEXT + rb"*+\r\n)*+"
_REQUEST: Final = re.compile(
    rb"(?!CONNECT /)("
    + _TOKEN
    + rb"++) ([\x21\x22\x24-\x7e]++) HTTP/1\.([01])\r\n("
    + _FIELD_LINES
    + rb")\r\n"
)
_RESPONSE: Final = re.compile(
    rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: (" + _TEXT + rb"*+))?\r\n(" + _FIELD_LINES + rb")\r\n"
)
_TRAILERS: Final = re.compile(_FIELD_LINES)
NEVER_IN_A_HEAD: Final = re.compile(rb"(?<!\r)\n|\r(?=[^\n])|\x00")
# around what says where a body ends not even tabs, which others take for a part of the value
_LENGTH: Final = re.compile(rb"[^:]++: *+(0|[1-9][0-9]{0,17}) *+")
_CODING: Final = re.compile(rb"[^:]++: *+chunked *+", re.IGNORECASE)
_AUTHORITY: Final = re.compile(rb"(?:[A-Za-z0-9._~\-]++|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_ABSOLUTE: Final = re.compile(rb"https?://([^/?]++)(.*+)", re.IGNORECASE)


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
            self._fields = _split(lines)
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
_CLOSE: Final = frozenset({b"close"})
_ONCE_IN_A_RESPONSE: Final = frozenset({b"content-length", b"transfer-encoding"})
_ONCE_IN_A_REQUEST: Final = _ONCE_IN_A_RESPONSE | {b"host"}


def check_partial(data: bytes | bytearray, *, start: int, limits: HeadLimits) -> None:
    """Refuse a head that cannot become valid any more, before its end has come.

    `start`: what lies before it has been looked at already. Raises Malformed or TooLarge.
    """
    if NEVER_IN_A_HEAD.search(data, max(0, start - 1)):
        raise Malformed("a bare CR or LF, or a NUL, in the head")
    if len(data) > limits.line + 1 and data.find(b"\r\n", 0, limits.line + 2) < 0:
        raise TooLarge(f"the first line is longer than {limits.line} bytes")
    if len(data) > limits.line + limits.total + len(b"\r\n\r"):
        raise TooLarge(f"the head is larger than {limits.total} bytes")


class UnfinishedHead:
    """A head whose end has not come. Each byte is looked at once, in however many pieces."""

    __slots__ = ("_data", "_limits")

    def __init__(self, data: bytes, limits: HeadLimits) -> None:
        """Raises Malformed or TooLarge if it cannot become valid any more."""
        self._data = bytearray(data)
        self._limits = limits
        check_partial(self._data, start=0, limits=limits)

    def more(self, data: bytes) -> bytes | None:
        """All that has come, once the end is in it. Raises Malformed or TooLarge."""
        known = len(self._data)
        self._data += data
        # a lone CR may have been half of an empty line: what it is shows only now
        half_a_line = known == 1 and self._data.startswith(b"\r")
        if half_a_line or self._data.find(b"\r\n\r\n", max(0, known - 3)) >= 0:
            return bytes(self._data)
        check_partial(self._data, start=known, limits=self._limits)
        return None


def parse_request(head: bytes, limits: HeadLimits) -> RequestHead:
    """Read a whole head, its empty line included. Raises Malformed or TooLarge."""
    found = _REQUEST.fullmatch(head)
    if found is None:
        check_partial(head, start=0, limits=limits)
        raise Malformed(_why_not_a_request(head))
    method, target, minor, block = found.groups()
    if len(head) - len(block) - 4 > limits.line:
        raise TooLarge(f"the request line is longer than {limits.line} bytes")
    request = RequestHead(method, target, 1 if minor == b"1" else 0, _fields(block, limits))
    _read_request_fields(request)
    return request


def _read_request_fields(request: RequestHead) -> None:
    first = request.first
    if len(first) != len(request.fields):
        _refuse_repeated(request.fields, _ONCE_IN_A_REQUEST)
    request.length = _body_length(first, minor=request.minor, default=0)
    if b"connection" in first:
        request.connection = _options(b",".join(request.get_all(b"connection")))
    _read_host(request, request.get(b"host"))
    if b"expect" in first:
        expected = request.get_all(b"expect")[-1]
        request.expects_continue = request.minor == 1 and expected.lower() == b"100-continue"
    options = request.connection
    if not options:
        return
    if request.minor == 1:
        request.keep_alive = b"close" not in options
        request.websocket = (
            request.method == b"GET"
            and request.length == 0
            and b"upgrade" in options
            and b"websocket" in _options(b",".join(request.get_all(b"upgrade")))
        )
    else:
        request.keep_alive = b"keep-alive" in options and b"close" not in options


def _refuse_repeated(fields: list[Field], once: frozenset[bytes]) -> None:
    seen: set[bytes] = set()
    for name, _, line in fields:
        if name in once:
            if name in seen:
                raise Malformed(f"more than one {line.partition(b':')[0].decode()}")
            seen.add(name)


def _read_host(request: RequestHead, host: bytes | None) -> None:
    if host is None:
        if request.minor == 1:
            raise Malformed("no Host")
        host = b""
    elif host and not _AUTHORITY.fullmatch(host):
        raise Malformed("an invalid Host")
    if request.target[:1] != b"/":
        if request.method == b"CONNECT":
            _read_connect(request)
        elif request.target != b"*" or request.method != b"OPTIONS":
            host = _read_absolute(request)
    request.host = host


def _read_connect(request: RequestHead) -> None:
    if not _AUTHORITY.fullmatch(request.target):
        raise Malformed("an invalid target")
    if request.length:
        raise Malformed("a body on CONNECT")
    request.connection |= _CLOSE  # what follows may be meant for a tunnel that nobody opened


def _read_absolute(request: RequestHead) -> bytes:
    """RFC 9112 §3.2.2: an absolute-form target replaces Host."""
    absolute = _ABSOLUTE.fullmatch(request.target)
    if absolute is None:
        raise Malformed("an invalid target")
    host: bytes
    rest: bytes
    host, rest = absolute.groups()
    if not _AUTHORITY.fullmatch(host):
        raise Malformed("an invalid authority in the target")
    if rest[:1] != b"/":
        # RFC 9112 §3.2.4: OPTIONS without a path asks about the server as a whole
        rest = b"*" if not rest and request.method == b"OPTIONS" else b"/" + rest
    request.target = rest
    return host


def parse_response(head: bytes, *, method: bytes, limits: HeadLimits) -> ResponseHead:
    """Read a whole head that answers a `method` request. Raises Malformed or TooLarge."""
    found = _RESPONSE.fullmatch(head)
    if found is None:
        check_partial(head, start=0, limits=limits)
        raise Malformed("the answer's head is not HTTP/1.1")
    minor, status, reason, block = found.groups()
    response = ResponseHead(
        int(status), reason or b"", 1 if minor == b"1" else 0, _fields(block, limits)
    )
    first = response.first
    if len(first) != len(response.fields):
        _refuse_repeated(response.fields, _ONCE_IN_A_RESPONSE)
    response.length = _body_length(first, minor=response.minor, default=UNTIL_CLOSE)
    if b"connection" in first:
        options = response.connection = _options(b",".join(response.get_all(b"connection")))
        if response.minor == 1:
            response.keep_alive = b"close" not in options
        else:
            response.keep_alive = b"keep-alive" in options
    if b"keep-alive" in first:
        response.is_usual = False
    if method == b"HEAD" or response.status in (204, 304) or response.status < 200:
        if response.length == CHUNKED and response.status != 304 and method != b"HEAD":
            raise Malformed("Transfer-Encoding where there is no body (RFC 9112 §6.1)")
        response.length = 0
    elif response.length == UNTIL_CLOSE:
        response.keep_alive = False
    return response


def parse_trailers(block: bytes, limits: HeadLimits) -> list[Field]:
    """The trailer section without its empty line. Raises Malformed or TooLarge."""
    if not block:
        return []
    if not _TRAILERS.fullmatch(block):
        raise Malformed("a malformed trailer")
    fields = _fields(block, limits)
    if any(field[0] in _ONCE_IN_A_RESPONSE for field in fields):
        raise Malformed("a trailer that says where a body ends")  # a head that was swallowed?
    return [
        field
        for field in fields
        if field[0] not in NEVER_IN_TRAILERS and not field[0].startswith(b"x-forwarded-")
    ]


NEVER_IN_TRAILERS: Final = frozenset(
    {
        b"authorization", b"cache-control", b"connection", b"content-encoding", b"content-range",
        b"content-type", b"cookie", b"expect", b"forwarded", b"host",
        b"keep-alive", b"max-forwards", b"proxy-authenticate", b"proxy-authorization",
        b"proxy-connection", b"range", b"set-cookie", b"te", b"trailer", b"upgrade",
        b"traceparent", b"tracestate", b"via", b"x-api-key", b"x-real-ip", b"x-request-id",
    }
)  # fmt: skip
"""RFC 9110 §6.5.1: fields that frame, route, authenticate or modify must not come as trailers.
Nor may what a proxy says of a request, `X-Forwarded-*` included: nobody looks for it there."""


def _fields(block: bytes, limits: HeadLimits) -> list[Field]:
    if len(block) > limits.total:
        raise TooLarge(f"the head is larger than {limits.total} bytes")
    fields = _split(block)
    if len(fields) > limits.fields:
        raise TooLarge(f"more than {limits.fields} header fields")
    return fields


def _split(block: bytes) -> list[Field]:
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


def _body_length(first: dict[bytes, Field], *, minor: int, default: int) -> int:
    """From the whole lines of Content-Length and Transfer-Encoding."""
    length = first.get(b"content-length")
    coding = first.get(b"transfer-encoding")
    if coding is not None:
        if length is not None:
            raise Malformed("both Content-Length and Transfer-Encoding")
        if minor == 0:
            raise Malformed("Transfer-Encoding in HTTP/1.0")
        if not _CODING.fullmatch(coding[2]):
            raise Malformed("a transfer coding other than chunked")
        return CHUNKED
    if length is None:
        return default
    found = _LENGTH.fullmatch(length[2])
    if found is None:
        raise Malformed("an invalid Content-Length")
    return int(found.group(1))


def _options(value: bytes) -> frozenset[bytes]:
    return frozenset(option.strip(b" \t") for option in value.lower().split(b",")) - {b""}


def _why_not_a_request(head: bytes) -> str:
    line, _, _ = head.partition(b"\r\n")
    parts = line.split(b" ")
    if len(parts) != 3:
        return "the request line is not METHOD TARGET HTTP/1.1"
    if parts[2] not in (b"HTTP/1.1", b"HTTP/1.0"):
        return "an HTTP version other than 1.0 and 1.1"
    if not re.fullmatch(_TOKEN + rb"+", parts[0]):
        return "an invalid method"
    if not re.fullmatch(rb"[\x21\x22\x24-\x7e]+", parts[1]) or head.startswith(b"CONNECT /"):
        return "an invalid target"
    return "a malformed header line"
