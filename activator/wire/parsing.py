"""The heads of HTTP/1.1 messages, read strictly: what passes can be read in one way only.

RFC 9112 with its leniencies left out: no bare CR or LF, no folding, no space before the colon,
no repeated or padded length, no transfer coding but one final `chunked`, no Transfer-Encoding
beside Content-Length or in HTTP/1.0, exactly one Host. Both roles use the same grammar. What a
message means is for others to say.
"""

from __future__ import annotations

import re
from typing import Final

from activator.wire.heads import (
    CHUNKED,
    UNTIL_CLOSE,
    Field,
    HeadLimits,
    Malformed,
    RequestHead,
    ResponseHead,
    TooLarge,
    split_fields,
)

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
    fields = split_fields(block)
    if len(fields) > limits.fields:
        raise TooLarge(f"more than {limits.fields} header fields")
    return fields


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
