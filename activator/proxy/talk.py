"""A request that a coroutine answers: for what is not the warm path and may cost a task.

It turns what `wire` tells into something to await: pieces of the body, room to send. When the
client leaves the coroutine is cancelled.
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

from activator.aiokit.taking import taken
from activator.core.endpoint import Dialect
from activator.core.jobs import JobState, Superseded
from activator.errors import ActivatorError, JobGone, UpstreamUnreachable
from activator.proxy.headers import downstream_head
from activator.proxy.recorded import answer_of, field_of
from activator.proxy.replies import error_reply, status_line
from activator.proxy.traced import begin_trace
from activator.telemetry.requests import BROKEN_OFF, CLIENT_LEFT, Subject, is_logged, request_ended
from activator.wire.heads import CHUNKED, UNTIL_CLOSE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from activator.proxy.body import Body
    from activator.proxy.listener import Proxy
    from activator.proxy.openai.early import EarlyAnswer
    from activator.queueing.following import ResultReader
    from activator.queueing.jobs import ResultHead
    from activator.wire.heads import Field, RequestHead
    from activator.wire.server import ServerConnection

UNREAD: Final = 256 << 10
"""Bytes of a body that have come and nobody has taken; then its socket is left alone."""

STUCK: Final = 60.0
"""Seconds for which a client may take nothing of an answer: it is kept for it meanwhile, and no
clock of a model's runs."""
LEFT: Final = (CLIENT_LEFT, "client_left")


class Stuck(Exception):
    """The client takes nothing more of its answer."""


class Talk(ABC):
    """Implements wire's `Receiver`. `work` does everything and raises what is to be answered."""

    def __init__(
        self,
        proxy: Proxy,
        connection: ServerConnection,
        head: RequestHead,
        *,
        request_id: bytes,
        arrived: float | None = None,
        begun: Body | None = None,
    ) -> None:
        """`arrived`: when its head came, monotonic seconds (None: now). `begun`: what has come of
        the request's body."""
        self.proxy = proxy
        self.connection = connection
        self.head = head
        self.id = request_id
        self.dialect = Dialect.PLAIN
        """Of errors."""
        self.code = 200
        """Of the answer; `reason` as in the metrics."""
        self.reason = ""
        self.arrived = proxy.clock() if arrived is None else arrived
        self.endpoint = ""
        self.owner = ""
        """The name of the API key."""
        self.job = ""
        """The id of the one it is about."""
        self.waited = 0.0
        """Seconds in line."""
        self._bytes = (0, 0)
        """Of the bodies of request and answer."""
        self.trailers: list[Field] = []
        self._pieces: list[bytes] = []
        self._unread = 0
        self._begun = begun
        self._whole = not head.length
        self._broken: ActivatorError | None = None
        self._news = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._task: asyncio.Task[None] | None = None
        self.trace = begin_trace(
            proxy, connection, head, request_id=request_id, arrived=self.arrived
        )
        if begun is not None and begun.complete:
            self.body_ended(begun.trailers)

    def start(self) -> None:
        self.connection.receiver = self
        self._task = self.proxy.tasks.spawn(self._run(), name="talk")

    @abstractmethod
    def work(self) -> Coroutine[None, None, None]:
        """The whole exchange, to its end."""

    @abstractmethod
    def ended(self, *, code: int, reason: str) -> None:
        """It is over, whichever way."""

    async def _run(self) -> None:
        code, reason = LEFT
        try:
            code, reason = await self._answered()
        finally:
            if self._begun is not None:
                self._begun.forget()
            self.ended(code=code, reason=reason)
            if self.trace is not None:
                received, sent = self._bytes
                self.trace.ended(status=code, reason=reason, received=received, sent=sent)
            if is_logged(code, reason):
                self._log(code, reason)

    async def _answered(self) -> tuple[int, str]:
        try:
            await self.work()
        except Superseded:
            return self._refuse(JobGone("Another attempt has taken its place, or it was deleted"))
        except ActivatorError as error:
            return self._refuse(error)
        except Stuck:
            self.abort()
            return LEFT
        except Exception:
            self.abort()
            raise
        return self.code, self.reason

    def _refuse(self, error: ActivatorError) -> tuple[int, str]:
        if self.connection.answering:
            self.abort()
            return self.code, BROKEN_OFF
        self.answer(*error_reply(error, request_id=self.id, dialect=self.dialect))
        return error.status, error.reason

    def _log(self, code: int, reason: str) -> None:
        bytes_in, bytes_out = self._bytes
        head = self.head
        request_ended(
            Subject(endpoint=self.endpoint, method=head.method, target=head.target, key=self.owner),
            request_id=self.id,
            status=code,
            reason=reason,
            seconds=self.proxy.clock() - self.arrived,
            bytes_in=bytes_in,
            bytes_out=bytes_out,
            remote=self.proxy.door.client(self.head, self.connection.peer),
            held=self.waited,
            job=self.job,
        )

    # --- the request's body

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises what breaks it."""
        self.connection.send_continue()
        if self._begun is not None:
            for piece in self._begun.pieces():
                yield piece
            self._begun.forget()
        while True:
            self._news.clear()
            pieces, self._pieces, self._unread = self._pieces, [], 0
            for piece in pieces:
                yield piece
            if self._pieces:
                continue
            if self._broken is not None:
                raise self._broken
            if self._whole:
                return
            self.connection.resume_body()
            await self._news.wait()

    # --- the answer

    def answer(self, head: bytes, body: bytes = b"") -> None:
        """`head` with its Content-Length."""
        connection = self.connection
        connection.begin_answer(head, length=len(body))
        if self.head.method != b"HEAD":
            connection.send(body)
        self.finish()

    def finish(self, trailers: list[Field] | None = None) -> None:
        """The answer is complete."""
        self._count_bytes()
        self.connection.finish(trailers)

    def abort(self) -> None:
        self._count_bytes()
        self.connection.abort()

    def _count_bytes(self) -> None:
        """The connection counts anew with its next request."""
        self._bytes = self.connection.received, self.connection.sent

    def say(self, said: object, *, status: int = 200, fields: bytes = b"") -> None:
        """Answer with this as JSON; `fields` with CRLFs."""
        self.say_encoded(json.dumps(said).encode(), status=status, fields=fields)

    def say_encoded(self, said: bytes, *, status: int = 200, fields: bytes = b"") -> None:
        """The same, of JSON as it is written."""
        body = said + b"\n"
        self.code = status
        self.answer(
            status_line(status) + b"Content-Type: application/json\r\nContent-Length: %d\r\n"
            b"%bX-Request-Id: %b\r\nCache-Control: no-store\r\n" % (len(body), fields, self.id),
            body,
        )

    async def send(self, data: bytes) -> None:
        self.connection.send(data)
        await self._room()

    async def _room(self) -> None:
        """Until the client has taken most of what was sent. Raises Stuck."""
        if not self._writable.is_set():
            try:
                await taken(self._writable.wait(), self._taken, silence=STUCK)
            except TimeoutError as error:
                raise Stuck from error

    def _taken(self) -> int:
        return self.connection.taken

    async def relay(
        self,
        reader: ResultReader,
        head: ResultHead,
        *,
        method: bytes,
        cold: bool,
        timing: bytes,
        early: EarlyAnswer | None = None,
    ) -> None:
        """A job's answer as the model gave it, to its end. `method`: of the job's request.
        `early`: what it is to be fitted into."""
        mine = self.head.method
        answer = answer_of(head, bodiless=method == b"HEAD" != mine)
        self.code = head.status
        length = CHUNKED if head.length == UNTIL_CLOSE else head.length
        if early is None or not early.answered(answer):
            self.connection.begin_answer(
                downstream_head(
                    answer, via=self.proxy.via, request_id=self.id, cold=cold, timing=timing
                ),
                length=0 if mine == b"HEAD" else length,
            )
        while chunks := await reader.more():
            for chunk in chunks if mine != b"HEAD" else ():
                if early is None:
                    self.connection.send(chunk)
                else:
                    early.data(chunk)
                await self._room()
        if reader.outcome is not None and reader.outcome.state is JobState.SUCCEEDED:
            trailers = [field_of(line) for line in reader.trailers]
            self.finish(trailers if early is None else early.ended(trailers))
        else:
            self.reason = BROKEN_OFF
            self.break_off(early)

    def break_off(self, early: EarlyAnswer | None = None) -> None:
        """What has begun must not look complete."""
        self._count_bytes()
        error = UpstreamUnreachable("The model's answer has broken off")
        if early is None or not early.break_off(error):
            self.connection.abort()

    # --- what the connection tells

    def body(self, data: bytes) -> None:
        self._pieces.append(data)
        self._unread += len(data)
        if self._unread > UNREAD:
            self.connection.pause_body()
        self._news.set()

    def body_ended(self, trailers: list[Field]) -> None:
        self.trailers = trailers
        self._whole = True
        self._news.set()

    def body_broken(self, error: ActivatorError) -> None:
        self._broken = error
        self._news.set()

    def client_left(self) -> None:
        self._count_bytes()
        if self._task is not None:
            self._task.cancel()

    def writable(self, *, ok: bool) -> None:
        if ok:
            self._writable.set()
        else:
            self._writable.clear()
