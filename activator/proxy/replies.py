"""Answers the proxy makes itself: they say the cause, and never look like the model's."""

from __future__ import annotations

import json
from http import HTTPStatus
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from activator.errors import ActivatorError
    from activator.wire.heads import RequestHead

RETRY_AFTER_MOST = 60
"""Seconds. Client libraries ignore larger values, or give up on them."""


def status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return b"HTTP/1.1 %d %b\r\n" % (status, phrase.encode())


def error_reply(error: ActivatorError, *, request_id: bytes) -> tuple[bytes, bytes]:
    """(head without framing but with Content-Length, body): RFC 9457 problem details."""
    problem: dict[str, object] = {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "reason": error.reason,
        "request_id": request_id.decode(),
    }
    retry = ""
    if error.retry_after is not None:
        seconds = max(1, min(RETRY_AFTER_MOST, ceil(error.retry_after)))
        problem["retry_after"] = seconds
        retry = f"Retry-After: {seconds}\r\n"
    challenge = 'WWW-Authenticate: Bearer realm="activator"\r\n' if error.status == 401 else ""
    allow = "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n" if error.status == 405 else ""
    body = json.dumps(problem).encode() + b"\n"
    head = status_line(error.status) + (
        f"Content-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"X-Activator-Reason: {error.reason}\r\n"
        f"{retry}{challenge}{allow}"
        f"X-Request-Id: {request_id.decode()}\r\n"
        f"Cache-Control: no-store\r\n"
    ).encode("latin-1")
    return head, body


def plain_reply(status: int, *, request_id: bytes, fields: bytes = b"") -> bytes:
    """A head for an answer without a body (`neverWake`, preflights); `fields` with CRLFs."""
    length = b"" if status == 204 else b"Content-Length: 0\r\n"
    return b"%b%bX-Request-Id: %b\r\nCache-Control: no-store\r\n%b" % (
        status_line(status),
        length,
        request_id,
        fields,
    )


def preflight_reply(head: RequestHead, *, request_id: bytes) -> bytes:
    """204 to a CORS preflight that nothing is awake to answer: the request it asks for may come,
    and the model's own CORS fields decide whether its answer may be read. No credentials."""
    fields = b"Access-Control-Allow-Origin: %b\r\nAccess-Control-Allow-Methods: %b\r\n" % (
        head.get(b"origin") or b"*",
        head.get(b"access-control-request-method") or b"POST",
    )
    wanted = head.get(b"access-control-request-headers")
    if wanted is not None:
        fields += b"Access-Control-Allow-Headers: %b\r\n" % wanted
    fields += b"Access-Control-Max-Age: 0\r\nVary: Origin\r\n"
    return plain_reply(204, request_id=request_id, fields=fields)
