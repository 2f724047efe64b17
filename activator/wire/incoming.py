"""What one client sends, cut into the heads and bodies of its requests.

Decided here: where each of them ends, and whether it is one at all. When to read on, and what
becomes of what was read, is left to the connection (`server`). What lies behind a request is not
copied for each: a pipeline of requests costs what they would cost one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from activator.wire.framing import decoder
from activator.wire.parsing import UnfinishedHead, parse_request

if TYPE_CHECKING:
    from activator.wire.framing import Decoder
    from activator.wire.heads import Field, HeadLimits, RequestHead
    from activator.wire.known import KnownRequests


class Incoming:
    """`add` what comes, ask for a `head` and then, unless its length is 0, for the `body` until
    that is complete."""

    __slots__ = (
        "_at",
        "_decoder",
        "_known",
        "_limits",
        "found",
        "head_begun",
        "is_unlike",
        "rest",
        "unfinished",
        "whole",
    )

    def __init__(self, limits: HeadLimits, known: KnownRequests) -> None:
        """`known`: of all clients with these limits."""
        self._limits = limits
        self._known = known
        self._at = 0
        self.unfinished: UnfinishedHead | None = None
        """What has come of a head whose end has not."""
        self._decoder: Decoder | None = None
        self.rest = b""
        """What has not been looked at lies in it from `_at` on; empty if there is nothing."""
        self.found: RequestHead | None = None
        """The head that is added next, if whoever adds it has found it."""
        self.is_unlike = False
        """What is added next is no head like one that is known: whoever adds it has looked."""
        self.head_begun = False
        """Part of a head has come and been looked at; empty lines before it are none."""
        self.whole = b""
        """All of the body that the head's length says, if just that has come with it; the same that
        `body` brings, until it has."""

    @property
    def unread(self) -> int:
        """Bytes that have not been looked at."""
        return len(self.rest) - self._at

    @property
    def owed(self) -> int:
        """Bytes of the body that have not been added yet, if its length was announced; else 0."""
        return 0 if self._decoder is None else self._decoder.left

    def add(self, data: bytes) -> None:
        self.rest = self.take() + data if self.rest else data

    def take(self) -> bytes:
        """What has not been looked at, as it came."""
        rest = self.rest[self._at :]
        self.rest, self._at = b"", 0
        return rest

    def drop(self) -> None:
        """Whatever has come is nobody's any more, nor is the rest of a body that has begun."""
        self.rest, self._at = b"", 0
        self.unfinished, self.head_begun = None, False
        self._decoder, self.whole = None, b""

    def head(self) -> RequestHead | None:
        """The next one, once it is whole. Raises Malformed or TooLarge."""
        if self.unfinished is not None:
            whole = self.unfinished.more(self.take())
            if whole is None:
                return None
            self.unfinished, self.head_begun = None, False
            self.rest = whole
        data, at = self.rest, self._at
        while data.startswith(b"\r\n", at):  # RFC 9112 §2.2: empty lines before it are ignored
            at += 2
        end = data.find(b"\r\n\r\n", at) + 4
        if end < 4:
            self._keep(data[at:])
            return None
        raw = data[at:end]
        head, self.found = self.found or self._known.get(raw), None
        if head is None:
            if not self.is_unlike or len(raw) != len(data):
                head = self._known.alike(raw)
            self.is_unlike = False
            if head is None:
                head = parse_request(raw, self._limits)
                self._known.learn(raw, head, self._limits)
        length = head.length
        if end + length == len(data):
            self.rest, self._at = b"", 0
            if length:
                self.whole = data[end:]
        else:
            self._leave(end)
            if length:
                self._decoder = decoder(length, self._limits)
        return head

    def body(self) -> tuple[bytes, list[Field] | None]:
        """(what is here of the body, the trailers once it is complete). Raises Malformed or
        TooLarge. Of a body that was dropped there is nothing."""
        if self.whole:
            whole, self.whole = self.whole, b""
            return whole, []
        data, coming = self.rest, self._decoder
        if coming is None:
            self.drop()
            return b"", None
        body, end = coming.feed(data, self._at)
        if end == len(data):
            self.rest, self._at = b"", 0
        else:
            self._leave(end)
        if not coming.done:
            return body, None
        self._decoder = None
        return body, coming.trailers

    def _leave(self, end: int) -> None:
        """What lies behind `end` is unread. It is copied once it is no more than what was read
        before it, which pays for that, so that a long read is not kept for a short rest."""
        if len(self.rest) - end > end:
            self._at = end
        else:
            self.rest, self._at = self.rest[end:], 0

    def _keep(self, begun: bytes) -> None:
        """What is here of a head whose end is not."""
        self.rest, self._at = b"", 0
        if begun:
            self.unfinished = UnfinishedHead(begun, self._limits)
            self.head_begun = begun != b"\r"  # that may be half an empty line
