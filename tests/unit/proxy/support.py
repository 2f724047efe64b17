"""Heads as the parser makes them, written as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activator.proxy.admitted import Admitted
from activator.wire.heads import HeadLimits, RequestHead, ResponseHead
from activator.wire.parsing import parse_request, parse_response

if TYPE_CHECKING:
    from activator.upstream.registry import LiveEndpoint

LIMITS = HeadLimits()


def admitted_to(
    live: LiveEndpoint, *, path: bytes = b"/", credentials: frozenset[bytes] = frozenset()
) -> Admitted:
    """To an endpoint, by nothing but its head."""
    return Admitted(
        live=live,
        path=path,
        urgency=3,
        affinity=None,
        credentials=credentials,
        within=None,
        passive=None,
        owner="",
    )


def asked(
    line: str = "GET / HTTP/1.1", *fields: str, host: str | None = "m.example"
) -> RequestHead:
    """A request's head; a Host is added unless `host` is None."""
    lines = [line, *([f"Host: {host}"] if host is not None else []), *fields, "", ""]
    return parse_request("\r\n".join(lines).encode("latin-1"), LIMITS)


def told(line: str = "HTTP/1.1 200 OK", *fields: str, method: bytes = b"GET") -> ResponseHead:
    """The head of an answer to a `method` request."""
    raw = "\r\n".join([line, *fields, "", ""]).encode("latin-1")
    return parse_response(raw, method=method, limits=LIMITS)
