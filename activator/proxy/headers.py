"""The heads that are passed on: what is dropped, what is added, in both directions.

Hop-by-hop fields go (RFC 9110 §7.6.1), forwarding fields and ids are set or passed on; every
other line travels as the parser saw it, in its order.
"""

from __future__ import annotations

import os
import random
import re
from binascii import hexlify
from typing import TYPE_CHECKING, Final

from activator.errors import Loop
from activator.telemetry.spans import valid_traceparent
from activator.wire.heads import CHUNKED, RequestHead

if TYPE_CHECKING:
    from activator.core.endpoint import Replica
    from activator.wire.heads import Field, ResponseHead

_HOP_BY_HOP: Final = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding",
        b"upgrade", b"proxy-authorization",
    }
)  # fmt: skip
_REMADE_REQUEST: Final = _HOP_BY_HOP | {
    b"host", b"via", b"x-request-id", b"x-forwarded-for", b"x-forwarded-proto",
    b"x-forwarded-host", b"forwarded", b"traceparent",
}  # fmt: skip
_REMADE_FOR_STRANGERS: Final = _REMADE_REQUEST | {
    b"x-real-ip", b"x-forwarded-port", b"x-forwarded-server", b"x-forwarded-prefix",
    b"x-forwarded-scheme", b"x-forwarded-ssl", b"x-client-ip", b"true-client-ip",
}  # fmt: skip
"""What only a trusted proxy may say of where a request comes from."""
_REMADE_RESPONSE: Final = _HOP_BY_HOP | {b"x-request-id"}
_OURS: Final = b"x-activator-"
"""Fields that say what the proxy did: a replica's are not passed on, or its answers could look
like ours."""
_NEVER_NAMED: Final = frozenset({b"content-length", b"host"})
"""`Connection` may not take these away from a message: they say where it ends and to whom it is."""
_ID: Final = b"x-request-id"
_FORWARDED: Final = b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b"
_REQUEST_ID: Final = re.compile(rb"[\x21-\x7e]{1,128}")

AT_ONCE: Final = 128
"""Ids that are made at a time: one by one they are twice as dear."""

_dice = random.Random(os.urandom(16))
_ids: list[bytes] = []
"""Made, and not given to a request yet."""
_take_id = _ids.pop


def _begin_anew() -> None:
    _dice.seed(os.urandom(16))
    _ids.clear()


os.register_at_fork(after_in_child=_begin_anew)  # or both would give their requests the same ids


def via_name() -> bytes:
    """This process's pseudonym in `Via`: unique, so that meeting it again means a loop."""
    return b"activator-" + os.urandom(5).hex().encode()


def request_id(head: RequestHead) -> bytes:
    """The client's `X-Request-Id` if it is usable, else a new one (128 random bits)."""
    given = head.get(_ID) if head.outline is None else head.own.get(_ID)
    return usable_id(given) or new_request_id()


def usable_id(given: bytes | None) -> bytes | None:
    if given is None:
        return None
    # most have nothing but letters and digits, which is found out faster
    return (
        given if (given.isalnum() and len(given) <= 128) or _REQUEST_ID.fullmatch(given) else None
    )


def new_request_id() -> bytes:
    """128 random bits; unique, not secret."""
    try:
        return _take_id()
    except IndexError:
        _ids.extend(hexlify(_dice.randbytes(16 * AT_ONCE), b" ", 16).split(b" "))
        return _take_id()


def new_traceparent() -> bytes:
    """W3C Trace Context: whoever begins a trace names it; not sampled, since nobody has asked."""
    return b"00-%032x-%016x-00" % (_dice.getrandbits(128) or 1, _dice.getrandbits(64) or 1)


def authority(replica: Replica) -> bytes:
    """For a client that named no host."""
    host = f"[{replica.host}]" if ":" in replica.host else replica.host
    return f"{host}:{replica.port}".encode()


def is_loop(head: RequestHead | ResponseHead, via: bytes) -> bool:
    """Whether this message has been through the process with this `Via` pseudonym."""
    return any(
        via in value and via in value.replace(b",", b" ").split() for value in head.get_all(b"via")
    )


def upstream_head(
    head: RequestHead,
    *,
    target: bytes,
    host: bytes,
    via: bytes,
    request_id: bytes,
    peer: str,
    tls: bool,
    trusted: bool,
    credentials: frozenset[bytes],
    continued: bool,
    identity: bool = False,
    parent: bytes | None = None,
    fields: list[Field] | None = None,
) -> bytes:
    """The request's head as the replica gets it, framing included.

    `trusted`: the peer's forwarding fields are believed. `credentials`: lower-case names
    of the fields that carry a key of our door; they are not passed on. `continued`: the client
    has had its 100, so the replica is not asked for one. `identity`: the answer is not to be
    compressed. `parent`: its `traceparent`; None: as it came, or a new one. `fields`: instead of
    those of the head.
    """
    lines = [b"%b %b HTTP/1.1" % (head.method, target), b"Host: " + host]
    dropped = (head.connection - _NEVER_NAMED) | credentials
    remade = _REMADE_REQUEST if trusted else _REMADE_FOR_STRANGERS
    vias: list[bytes] = []
    takes_trailers, traced = False, None
    for name, value, line in head.fields if fields is None else fields:
        if name in remade:
            if name == b"via":
                vias.append(value)
            elif name == b"te":
                takes_trailers = takes_trailers or b"trailers" in _members(value)
            elif name == b"traceparent" and traced is None:
                traced = value
            continue
        if name in dropped or (continued and name == b"expect"):
            continue
        if identity and name == b"accept-encoding":
            continue
        if b"_" in name and name.replace(b"_", b"-") in remade:
            continue  # CGI and WSGI servers read X_Forwarded_For as X-Forwarded-For
        lines.append(line)
    vias.append(b"1.%d %b" % (head.minor, via))
    lines.append(b"Via: %b\r\nX-Request-Id: %b" % (b", ".join(vias), request_id))
    if identity:
        lines.append(b"Accept-Encoding: identity")
    parent = parent or valid_traceparent(traced) or new_traceparent()
    if trusted:
        _add_forwarding(lines, head, host=host, peer=peer, tls=tls)
        lines.append(b"traceparent: " + parent)
    else:
        lines.append(
            _FORWARDED % (peer.encode(), b"https" if tls else b"http", host)
            + b"\r\ntraceparent: "
            + parent
        )
    if takes_trailers:
        lines.append(b"TE: trailers\r\nConnection: TE")
    if head.length == CHUNKED:
        lines.append(b"Transfer-Encoding: chunked")
    if head.websocket:
        lines.append(b"Connection: Upgrade\r\nUpgrade: websocket")
    lines.append(b"\r\n")
    return b"\r\n".join(lines)


def resized(head: RequestHead, length: int) -> RequestHead:
    """The same head with another Content-Length, for a body that was changed."""
    line = b"Content-Length: %d" % length
    other = RequestHead(
        head.method,
        head.target,
        head.minor,
        [
            (name, line[16:], line) if name == b"content-length" else (name, value, whole)
            for name, value, whole in head.fields
        ],
    )
    other.length = length
    return _as_parsed(other, head)


def retargeted(head: RequestHead, target: bytes) -> RequestHead:
    """The same head, asking for something else at the same host."""
    other = RequestHead(head.method, target, head.minor, head.fields)
    other.length = head.length
    return _as_parsed(other, head)


def _as_parsed(other: RequestHead, head: RequestHead) -> RequestHead:
    other.host, other.connection, other.keep_alive = head.host, head.connection, head.keep_alive
    other.expects_continue, other.websocket = head.expects_continue, head.websocket
    return other


def _members(value: bytes) -> list[bytes]:
    """Of a comma-separated list, in lower case."""
    return [member.strip(b" \t") for member in value.lower().split(b",")]


def _add_forwarding(
    lines: list[bytes], head: RequestHead, *, host: bytes, peer: str, tls: bool
) -> None:
    """Behind what a trusted proxy says."""
    chain = b", ".join([*head.get_all(b"x-forwarded-for"), peer.encode()])
    proto = head.get(b"x-forwarded-proto") or (b"https" if tls else b"http")
    shown = head.get(b"x-forwarded-host") or host
    lines += (b"Forwarded: " + value for value in head.get_all(b"forwarded"))
    lines.append(_FORWARDED % (chain, proto, shown))


def downstream_head(
    head: ResponseHead,
    *,
    via: bytes,
    request_id: bytes,
    cold: bool,
    timing: bytes,
    served_by: str = "",
    fields: list[Field] | None = None,
) -> bytes:
    """The answer's head as the client gets it, without framing and empty line. `served_by`: whose
    answer it is, if it is not a replica's. `fields`: instead of those of the head."""
    lines = [b"HTTP/1.1 %d %b" % (head.status, head.reason)]
    dropped = head.connection - _NEVER_NAMED if head.connection else head.connection
    bodiless = head.status in (101, 204)
    for name, _, line in head.fields if fields is None else fields:
        if name in _REMADE_RESPONSE or name in dropped or name.startswith(_OURS):
            continue
        if bodiless and name == b"content-length":
            continue  # RFC 9110 §8.6: these have none
        lines.append(line)
    if head.status == Loop.status and is_loop(head, via):
        lines.append(b"X-Activator-Reason: " + Loop.reason.encode())
    if served_by:
        lines.append(b"X-Activator-Served-By: " + served_by.encode("ascii"))
    lines.append(
        b"Via: 1.%d %b\r\nX-Request-Id: %b\r\nX-Activator-Cold-Start: %b\r\nServer-Timing: %b\r\n"
        % (head.minor, via, request_id, b"true" if cold else b"false", timing)
    )
    return b"\r\n".join(lines)


def interim_head(head: ResponseHead) -> bytes:
    """A 1xx head other than 101, each line with its CRLF."""
    dropped = head.connection - _NEVER_NAMED
    lines = [b"HTTP/1.1 %d %b" % (head.status, head.reason)]
    lines += (
        line
        for name, _, line in head.fields
        if name not in _REMADE_RESPONSE
        and name not in dropped
        and name != b"content-length"
        and not name.startswith(_OURS)
    )
    return b"\r\n".join(lines) + b"\r\n"
