"""A request's body on its way to a server: what is kept of it first, then whatever comes, as fast
as the server takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from activator.wire.pouring import LARGE

if TYPE_CHECKING:
    from activator.proxy.body import Body
    from activator.upstream.forward import Attempt
    from activator.wire.server import ServerConnection

_ALL: Final = -1


class Passage:
    """With one attempt, from before it has a connection."""

    __slots__ = ("_attempt", "_body", "_clogged", "_connection", "_is_last", "_sent")

    def __init__(
        self, connection: ServerConnection, body: Body, attempt: Attempt, *, is_last: bool
    ) -> None:
        """`is_last`: once it is whole it is not sent to another."""
        self._connection = connection
        self._body = body
        self._attempt = attempt
        self._is_last = is_last
        self._sent = _ALL
        """Bytes of the spool that were sent on."""
        self._clogged = False
        """The server takes no more for now."""

    @property
    def is_open(self) -> bool:
        """What comes is sent on at once: nothing that came before is left."""
        return self._attempt.connected and self._sent == _ALL

    def begin(self) -> None:
        """The head is on its way."""
        if self._body.spool is not None:
            self._sent = 0
            self._pump()
            return
        # first, since what is sent now may be more than the server takes and pause it again
        self._flow()
        for piece in self._body.chunks:
            self._attempt.send(piece)
        self._kept_is_sent()

    def send(self, data: bytes) -> None:
        """More has come, and it `is_open`."""
        self._attempt.send(data)
        self._body.passed(data)

    def finish(self) -> None:
        """All has come, and it `is_open`."""
        self._attempt.finish(self._body.trailers)
        if self._is_last:
            self._body.forget()  # from here on the model may have worked on it

    def writable(self, *, ok: bool) -> None:
        self._clogged = not ok
        if self._sent != _ALL:
            if ok:
                self._pump()
        elif ok:
            self._flow()
        else:
            self._connection.pause_body()

    def break_off(self) -> None:
        """The attempt has failed: what comes now may be kept."""
        if self._connection.head.length >= LARGE:
            self._connection.gulp()

    def _flow(self) -> None:
        connection = self._connection
        connection.resume_body()
        if connection.head.length >= LARGE:
            connection.pour()

    def _pump(self) -> None:
        """Send on what is in the file, as fast as the server takes it; then the rest may flow."""
        spool = self._body.spool
        while spool is not None and not self._clogged:
            piece = spool.read(self._sent)
            if not piece:
                self._sent = _ALL
                self._flow()
                self._kept_is_sent()
                return
            self._sent += len(piece)
            self._attempt.send(piece)
        self._connection.pause_body()

    def _kept_is_sent(self) -> None:
        if self._body.complete:
            self.finish()
        self._body.sent()
