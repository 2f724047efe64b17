"""One attempt: a request at one replica, from its slot to the end of the answer.

Takes a connection (or opens one), sends the head, relays bytes both ways and runs the clocks
`connect`, `firstByte`, `idle` and `total`. Whether to try again is the caller's decision; what a
failure allows is said in `Failure`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

from activator.errors import fault_of_ours

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from activator.upstream.registry import LiveEndpoint, LiveReplica
    from activator.wire.client import ClientConnection
    from activator.wire.heads import Field, ResponseHead
    from activator.wire.sink import Lost


IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})
"""RFC 9110 §9.2.2, less TRACE, which is never forwarded."""


class Ending(Enum):
    """How an attempt failed, by what the replica can have done."""

    UNREACHABLE = auto()
    """No connection: it has seen nothing."""
    UNSENT = auto()
    """The connection broke before the request was whole: it cannot have worked on it."""
    UNANSWERED = auto()
    """The request was sent, no byte came back: it may have worked on it."""
    INVALID = auto()
    """It answered something that is not HTTP."""
    FIRST_BYTE = auto()
    """`firstByte` or `total` ran out before the answer began."""
    MIDWAY = auto()
    """The answer had begun."""


@dataclass(frozen=True, slots=True)
class Failure:
    ending: Ending
    detail: str
    unreachable: bool = False
    """It refused or reset the connection, as no healthy replica does."""


@dataclass(slots=True)
class Outbound:
    """The request as it is sent. `length` as in `wire.heads`; `head` is complete."""

    head: bytes
    method: bytes
    length: int
    websocket: bool


_SENT: Final = Outbound(b"", b"", 0, websocket=False)
"""Nothing of it is left to send."""


class Answer(Protocol):
    """Whoever wants the answer. After `ended`, `upgraded` or `failed` nothing is called."""

    @property
    def body_at_hand(self) -> bool:
        """Bytes of the body are sent as soon as `connected` returns, or from within it."""

    def connected(self) -> None:
        """The head is on its way: the body may be sent now."""

    def interim(self, head: ResponseHead) -> None: ...

    def answered(self, head: ResponseHead, *, followed: bool) -> None:
        """`followed`: `data` or `ended` is called as soon as this returns."""

    def data(self, data: bytes) -> None: ...

    def ended(self, trailers: list[Field]) -> None: ...

    def upgraded(self, head: ResponseHead, rest: bytes, connection: ClientConnection) -> None: ...

    def failed(self, failure: Failure) -> None: ...

    def upstream_writable(self, *, ok: bool) -> None: ...


class Attempt:
    """See the module. `abort` may be called at any moment and ends it without a word."""

    __slots__ = (
        "_answer",
        "_began",
        "_clock",
        "_connecting",
        "_connection",
        "_live",
        "_outbound",
        "_over",
        "_owed",
        "_replica",
        "_request_whole",
        "_total_at",
        "_whole",
        "takes_whole",
    )

    def __init__(
        self,
        live: LiveEndpoint,
        replica: LiveReplica,
        outbound: Outbound,
        answer: Answer,
        whole: Callable[[ResponseHead, bytes], None] | None = None,
    ) -> None:
        """`whole`: told instead of the `answer` of one that comes complete, head and body, all at
        once; as if it were `answered`, given `data` and `ended`."""
        self._live = live
        self._replica = replica
        self._outbound = outbound
        self._answer = answer
        self._clock = live.kit.clock
        self._connection: ClientConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._began = False
        self._over = False
        self._owed = False
        self._request_whole = outbound.length == 0
        self._total_at = inf
        self._whole = whole
        self.takes_whole = whole is not None

    @classmethod
    def under_way(
        cls,
        live: LiveEndpoint,
        replica: LiveReplica,
        answer: Answer,
        whole: Callable[[ResponseHead, bytes], None],
        *,
        connection: ClientConnection,
        since: float,
    ) -> Attempt:
        """A request that somebody else has sent to the replica `since` then (loop time), body and
        all, and that it owes the answer to. The connection is told whom it tells by the caller."""
        attempt = cls(live, replica, _SENT, answer, whole)
        total = live.endpoint.timeouts.total
        attempt._total_at = since + total if total else inf
        attempt._connection = connection
        attempt._owed = True
        return attempt

    def begin(self) -> None:
        """Go. `connected` may be called before this returns."""
        now = self._clock()
        timeouts = self._live.endpoint.timeouts
        self._total_at = now + timeouts.total if timeouts.total else inf
        self._owed = True
        self._replica.owes(now=now)
        connection = self._replica.pool.take(
            repeatable=self._outbound.method in IDEMPOTENT, now=now
        )
        if connection is not None:
            self._start(connection, now)
        else:
            self._connecting = self._live.tasks.spawn(self._connect(now), name="connect")

    async def _connect(self, dispatched: float) -> None:
        within = self._live.endpoint.timeouts.connect
        try:
            connection = await self._replica.pool.connect(within=within)
        except (OSError, UnicodeError) as error:  # no connection, or a name that cannot be one
            self._connecting = None
            why = f"no connection within {within:g} s" if _timed_out(error) else str(error)
            detail = f"{self._address} could not be reached: {why}"
            self._fail(Failure(Ending.UNREACHABLE, detail, unreachable=True))
            return
        except Exception as bug:
            self._meet(bug, Ending.UNREACHABLE)
            raise  # the end of the task tells it
        self._connecting = None
        try:
            self._start(connection, dispatched)
        except Exception as bug:
            connection.close()
            # what was sent of it is not known: the replica may have worked on it
            self._meet(bug, Ending.UNANSWERED)
            raise

    def _meet(self, bug: Exception, ending: Ending) -> None:
        """A fault of ours, which says nothing of the replica: whoever waits must not wait on."""
        self._connecting = None
        detail = f"{self._address} could not be asked: {fault_of_ours(bug)}"
        self._fail(Failure(ending, detail))

    def _start(self, connection: ClientConnection, dispatched: float) -> None:
        self._connection = connection
        first_byte = self._live.endpoint.timeouts.first_byte
        connection.set_deadline(
            min(dispatched + first_byte, self._total_at) if first_byte else self._total_at
        )
        outbound = self._outbound
        connection.begin(
            outbound.head,
            method=outbound.method,
            length=outbound.length,
            upgrade=outbound.websocket,
            followed=outbound.length != 0 and self._answer.body_at_hand,
            sink=self,
        )
        self._answer.connected()

    # --- towards the replica --------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        return self._connection is not None

    def send(self, data: bytes) -> None:
        if self._connection is not None:
            self._connection.send(data)

    def finish(self, trailers: list[Field]) -> None:
        self._request_whole = True
        if self._connection is not None:
            self._connection.finish(trailers)

    def pause(self) -> None:
        """Nobody can take more of the answer for now: `idle` stands still, `total` runs on. Nothing
        happens before it has begun."""
        if self._began and self._connection is not None and self._owed:
            self._owed = False
            self._replica.owes_less()
            self._connection.pause()
            self._connection.set_deadline(self._total_at)

    def resume(self) -> None:
        if self._connection is not None and not self._owed:
            self._owed = True
            self._replica.owes(now=self._clock())
            self._connection.resume()
            self._run_idle()

    def abort(self) -> None:
        """Close the connection, which is what makes a model server stop generating."""
        connection = self._settle()
        if connection is not None:
            connection.close()

    def _settle(self) -> ClientConnection | None:
        """It is over, whatever the ending; the connection is left to the caller."""
        self._over = True
        if self._owed:
            self._owed = False
            self._replica.owes_less()
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
        connection, self._connection = self._connection, None
        return connection

    # --- from the replica -----------------------------------------------------------------------

    def interim(self, head: ResponseHead) -> None:
        self._answer.interim(head)

    def answered(self, head: ResponseHead, *, followed: bool) -> None:
        self._began = True
        self._run_idle()
        self._answer.answered(head, followed=followed)

    def pass_chunks(
        self, to: Callable[[bytes, int], None], *, ending: bytes | tuple[bytes, ...] = b"\r\n"
    ) -> None:
        """The answer has just begun, and comes in chunks: as in `ClientConnection`."""
        if self._connection is not None:
            self._connection.pass_chunks(to, ending=ending, moving=self._replica, clock=self._clock)

    def data(self, data: bytes) -> None:
        # no more than its moment is noted: the deadline is left where it is, and when it comes
        # `on_deadline` sees what was heard since
        connection = self._connection
        assert connection is not None
        connection.heard_at = self._replica.moved_at = self._clock()
        self._answer.data(data)

    def ended(self, trailers: list[Field]) -> None:
        connection = self._settle()
        if connection is not None:
            self._replica.pool.give(connection, now=self._clock())
        self._answer.ended(trailers)

    def whole(self, head: ResponseHead, body: bytes) -> None:
        assert self._whole is not None
        connection, self._connection = self._connection, None
        assert connection is not None
        self._over = True
        now = self._clock()
        if self._owed:
            self._owed = False
            self._replica.answered(now=now)
        self._replica.pool.give(connection, now=now)
        self._whole(head, body)

    def upgraded(self, head: ResponseHead, rest: bytes) -> None:
        connection = self._settle()
        if connection is not None:
            self._answer.upgraded(head, rest, connection)

    def lost(self, lost: Lost) -> None:
        if self._began:
            ending = Ending.MIDWAY
        elif lost.invalid:
            ending = Ending.INVALID
        else:
            ending = Ending.UNANSWERED if self._request_whole else Ending.UNSENT
        self._fail(Failure(ending, f"{self._address}: {lost.detail}", unreachable=lost.reset))

    def upstream_writable(self, *, ok: bool) -> None:
        self._answer.upstream_writable(ok=ok)

    def on_deadline(self, now: float) -> None:
        connection = self._connection
        if self._began and connection is not None and now < (at := self._idle_at(connection)):
            connection.set_deadline(at)
            return
        timeouts = self._live.endpoint.timeouts
        if connection is not None:
            connection.close()
        if now >= self._total_at:
            detail = f"{self._address} did not finish within timeouts.total ({timeouts.total:g} s)"
        elif self._began:
            detail = f"{self._address} was silent for timeouts.idle ({timeouts.idle:g} s)"
        else:
            detail = (
                f"{self._address} sent nothing within timeouts.firstByte "
                f"({timeouts.first_byte:g} s)"
            )
        self._fail(Failure(Ending.MIDWAY if self._began else Ending.FIRST_BYTE, detail))

    def _fail(self, failure: Failure) -> None:
        if not self._over:
            self._settle()
            self._answer.failed(failure)

    def _run_idle(self) -> None:
        """A byte of the answer has come, or may come again: `idle` starts anew."""
        connection = self._connection
        if connection is not None:
            connection.heard_at = self._replica.moved_at = self._clock()
            connection.set_deadline(self._idle_at(connection))

    def _idle_at(self, connection: ClientConnection) -> float:
        """When the answer has lasted too long, or been silent for too long (loop time)."""
        idle = self._live.endpoint.timeouts.idle
        if not idle or not self._owed:
            return self._total_at
        return min(connection.heard_at + idle, self._total_at)

    @property
    def _address(self) -> str:
        replica = self._replica.replica
        return f"replica {replica.id} ({replica.host}:{replica.port})"


def _timed_out(error: Exception) -> bool:
    return isinstance(error, TimeoutError) and not error.errno
