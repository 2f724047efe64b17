"""Answers the proxy makes itself: they say the cause, and never look like the model's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from math import ceil
from typing import TYPE_CHECKING

from activator.core.endpoint import Dialect
from activator.errors import BadRequest, Loop
from activator.proxy.openai.errors import openai_error, sdk_fields

if TYPE_CHECKING:
    from activator.errors import ActivatorError
    from activator.wire.heads import RequestHead
    from activator.wire.server import ServerConnection

RETRY_AFTER_MOST = 60
"""Seconds. Client libraries ignore larger values, or give up on them."""


def status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return b"HTTP/1.1 %d %b\r\n" % (status, phrase.encode())


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error as the answer to a request, ready to be sent."""

    head: bytes
    body: bytes
    """As it is sent: empty where only a head is asked for."""
    length: int
    is_last: bool
    """Whoever sends what can be read in two ways is not listened to any further."""

    def send(self, connection: ServerConnection) -> None:
        """The whole answer; it has not begun."""
        connection.begin_answer(self.head, length=self.length, last=self.is_last)
        connection.send(self.body)
        connection.finish()


def refusal(
    head: RequestHead, error: ActivatorError, *, request_id: bytes, dialect: Dialect
) -> Refusal:
    said, body = error_reply(error, request_id=request_id, dialect=dialect)
    sent = b"" if head.method == b"HEAD" else body
    return Refusal(said, sent, len(body), is_last=isinstance(error, BadRequest))


def error_reply(
    error: ActivatorError, *, request_id: bytes, dialect: Dialect = Dialect.PLAIN
) -> tuple[bytes, bytes]:
    """(head without framing but with Content-Length, body)."""
    openai = dialect is Dialect.OPENAI
    seconds = retry_seconds(error)
    if openai:
        body = openai_error(error, request_id=request_id)
        form = "application/json"
    else:
        body = _problem(error, request_id=request_id, retry_after=seconds)
        form = "application/problem+json"
    fields = [
        f"Content-Type: {form}",
        f"Content-Length: {len(body)}",
        f"X-Activator-Reason: {error.reason}",
        f"X-Request-Id: {request_id.decode()}",
        "Cache-Control: no-store",
    ]
    if seconds is not None:
        fields.append(f"Retry-After: {seconds}")
    if openai:
        fields += sdk_fields(error)
    if error.status == 401:
        fields.append('WWW-Authenticate: Bearer realm="activator"')
    elif isinstance(error, Loop) and error.via:
        fields.append(f"Via: 1.1 {error.via.decode()}")
    elif error.status == 405:
        fields.append("Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
    lines = "".join(f"{field}\r\n" for field in fields)
    return status_line(error.status) + lines.encode("latin-1"), body


def retry_seconds(error: ActivatorError) -> int | None:
    """For `Retry-After`; None: retrying cannot help."""
    if error.retry_after is None:
        return None
    return max(1, min(RETRY_AFTER_MOST, ceil(error.retry_after)))


def _problem(error: ActivatorError, *, request_id: bytes, retry_after: int | None) -> bytes:
    """RFC 9457."""
    problem: dict[str, object] = {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "reason": error.reason,
        "request_id": request_id.decode(),
    }
    if retry_after is not None:
        problem["retry_after"] = retry_after
    return json.dumps(problem).encode() + b"\n"


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


def server_timing(*, waited: float, woken_after: float, upstream: float) -> bytes:
    """Of `waited` seconds in line, `woken_after` went by before a replica was ready."""
    return b"queue;dur=%.1f, activate;dur=%.1f, upstream;dur=%.1f" % (
        (waited - woken_after) * 1e3,
        woken_after * 1e3,
        upstream * 1e3,
    )
