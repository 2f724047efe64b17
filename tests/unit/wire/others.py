"""How h11 and httptools (llhttp) read a stream: the differential tests compare us with them.

Each reader gives the messages that came to their end, in order, and why it stopped reading. Where
the libraries only name the same thing in another way it is made the same here, with the reason.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import h11
import httptools

LARGE = 1 << 20


@dataclass(slots=True)
class Message:
    """`fields` and `trailers`: (name in lower case, value without surrounding white space)."""

    method: bytes = b""
    target: bytes = b""
    status: int = 0
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    http_1_0: bool = False
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    ended: bool = False


def normal(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    # llhttp keeps the case of names and the white space behind values, h11 lowers this one value
    name, value = name.lower(), value.strip(b" \t")
    return name, value.lower() if name == b"transfer-encoding" else value


def _path(method: bytes, target: bytes) -> bytes:
    # we split an absolute target into authority and path (RFC 9112 §3.2.2), they do not
    found = re.match(rb"(?i)https?://[^/?]*(.*)", target, re.DOTALL)
    if found is None:
        return target
    rest = found.group(1)
    if not rest and method == b"OPTIONS":
        return b"*"
    return rest if rest.startswith(b"/") else b"/" + rest


CLOSED = "closed"
"""h11 takes every request of HTTP/1.0 for the last one of its connection."""
UPGRADE = "upgrade"
"""llhttp reads nothing behind a head that asks for another protocol, its body included: whether the
upgrade is declined is for its user to say."""


# --- h11 ----------------------------------------------------------------------------------------


def _fill(message: Message, event: Any) -> None:
    if isinstance(event, h11.Data):
        message.body += bytes(event.data)
    elif isinstance(event, h11.EndOfMessage):
        message.trailers = [normal(bytes(n), bytes(v)) for n, v in event.headers]
        message.ended = True


def h11_requests(stream: bytes) -> tuple[list[Message], str]:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=LARGE)
    connection.receive_data(stream)
    messages: list[Message] = []
    coming = Message()
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            return messages, str(error)
        if event is h11.NEED_DATA or event is h11.PAUSED:
            return messages, ""
        if isinstance(event, h11.Request):
            coming = Message(
                method=event.method,
                target=_path(event.method, event.target),
                fields=[normal(bytes(n), bytes(v)) for n, v in event.headers],
                http_1_0=event.http_version == b"1.0",
            )
        else:
            _fill(coming, event)
        if coming.ended:
            messages.append(coming)
            coming = Message()
            # a 404 declines whatever upgrade or tunnel was asked for
            connection.send(h11.Response(status_code=404, headers=[("content-length", "0")]))
            connection.send(h11.EndOfMessage())
            if (connection.our_state, connection.their_state) != (h11.DONE, h11.DONE):
                return messages, CLOSED
            connection.start_next_cycle()


def h11_answer(stream: bytes, *, eof: bool) -> tuple[Message, str]:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=LARGE)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(stream)
    if eof:
        connection.receive_data(b"")
    message = Message()
    while not message.ended:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            return message, str(error)
        if event is h11.NEED_DATA or event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
            return message, ""
        if isinstance(event, h11.Response):
            message.status = event.status_code
            message.fields = [normal(bytes(n), bytes(v)) for n, v in event.headers]
            message.http_1_0 = event.http_version == b"1.0"
        else:
            _fill(message, event)
    return message, ""


# --- httptools ----------------------------------------------------------------------------------


class _Listener:
    """What llhttp calls back. Fields that come behind the head are trailers."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.coming = Message()
        self._in_head = True

    def on_message_begin(self) -> None:
        self.coming = Message()
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        self.coming.target += url

    def on_header(self, name: bytes, value: bytes | None) -> None:
        where = self.coming.fields if self._in_head else self.coming.trailers
        where.append(normal(name, value or b""))

    def on_headers_complete(self) -> None:
        self._in_head = False

    def on_body(self, body: bytes) -> None:
        self.coming.body += body

    def on_message_complete(self) -> None:
        self.coming.ended = True
        self.messages.append(self.coming)


class _Requests(_Listener):
    parser: Any

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self.coming.method = self.parser.get_method()
        self.coming.target = _path(self.coming.method, self.coming.target)
        self.coming.http_1_0 = self.parser.get_http_version() == "1.0"


class _Answers(_Listener):
    parser: Any

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self.coming.status = self.parser.get_status_code()
        self.coming.http_1_0 = self.parser.get_http_version() == "1.0"


def httptools_requests(stream: bytes) -> tuple[list[Message], str]:
    listener = _Requests()
    listener.parser = httptools.HttpRequestParser(listener)
    try:
        listener.parser.feed_data(stream)
    except httptools.HttpParserUpgrade:
        return listener.messages, UPGRADE
    except httptools.HttpParserError as error:
        return listener.messages, f"{type(error).__name__}: {error}"
    return listener.messages, ""


def httptools_answer(stream: bytes) -> tuple[Message, str]:
    """The first final answer; one that goes on until the close does not end here."""
    listener = _Answers()
    listener.parser = httptools.HttpResponseParser(listener)
    why = ""
    try:
        listener.parser.feed_data(stream)
    except httptools.HttpParserUpgrade:
        why = UPGRADE
    except httptools.HttpParserError as error:
        why = f"{type(error).__name__}: {error}"
    final = next((m for m in listener.messages if m.status >= 200), listener.coming)
    return final, why


def httptools_knows(method: bytes) -> bool:
    try:
        httptools.HttpRequestParser(_Listener()).feed_data(method + b" ")
    except httptools.HttpParserError:
        return False
    return True
