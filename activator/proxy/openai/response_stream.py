"""A background response as a stream of events, from any of them on, while it is made or later.

Its first event, number 0, is ours, so that a client knows the id of its response before anything
has started; it stands for the model's own `response.created`. All others are the model's as they
were stored, under its numbers. Those of another attempt (the activator that ran the first was
killed) are numbered from ATTEMPT on: what a client has of one is never continued with the other.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from activator.core.jobs import JobState, Outcome, Superseded
from activator.errors import ActivatorError, JobGone, StoreUnavailable
from activator.proxy.edits import Editor
from activator.proxy.openai.early import comment
from activator.proxy.openai.errors import LONGEST_ERROR, replica_error
from activator.proxy.openai.events import CREATED, Splitter, StreamEvent, read_event, written
from activator.proxy.openai.responses import described
from activator.proxy.recorded import answer_of
from activator.proxy.replies import status_line
from activator.queueing.following import ResultReader
from activator.wire.heads import CHUNKED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from activator.proxy.talk import Talk
    from activator.queueing.jobs import JobStore, Record, ResultHead

ATTEMPT: Final = 1_000_000
"""Numbers of one attempt."""
EVENTS: Final = b"text/event-stream"
JSON: Final = b"application/json"


class ResponseStream:
    """One client's."""

    def __init__(
        self, talk: Talk, store: JobStore, record: Record, *, after: int | None = None
    ) -> None:
        """`after`: the number of the last event that the client has; None: none. Raises JobGone if
        that was another attempt's."""
        self._talk = talk
        self._store = store
        self._record = record
        self._id = record.job.id
        self._live = talk.proxy.registry.get(record.job.endpoint)
        self._after = -1 if after is None else after
        self._last = 0
        """The number of the last event there is, sent or not."""
        self._sent_at = talk.proxy.clock()
        self._check(record.job.attempt)

    def _check(self, attempt: int) -> None:
        if 0 < self._after < _first(attempt):
            raise JobGone("It has begun anew as another attempt: read it from its beginning")

    async def run(self) -> None:
        talk = self._talk
        talk.connection.begin_answer(
            status_line(200) + b"Content-Type: text/event-stream; charset=utf-8\r\n"
            b"Cache-Control: no-store\r\nX-Accel-Buffering: no\r\nX-Request-Id: %b\r\n" % talk.id,
            length=CHUNKED,
        )
        signs = talk.proxy.tasks.spawn(self._show_life(), name="signs of life")
        reader = ResultReader(self._store, self._id)
        try:
            await self._tell(reader)
        except Superseded:
            await self._say_error(JobGone("Another attempt has taken its place"))
        except ActivatorError as error:
            await self._say_error(error)
        finally:
            signs.cancel()
            reader.close()
        talk.finish()

    async def _tell(self, reader: ResultReader) -> None:
        if self._after < 0:
            await self._say(CREATED, 0, {"response": self._described(status="queued")})
        head = await reader.head()
        if isinstance(head, Outcome):
            await self._say_end()
            return
        self._check(reader.attempt)
        self._last = _first(reader.attempt)
        form = form_of(head)
        if head.status == 200 and form == EVENTS:
            await self._pass_on(reader)
        else:
            error = await why_failed(reader, head)
            failed = self._described(error=error)
            await self._say("response.failed", self._last + 1, {"response": failed})
            return
        if reader.outcome is None or reader.outcome.state is not JobState.SUCCEEDED:
            await self._say_end()

    async def _pass_on(self, reader: ResultReader) -> None:
        first = _first(reader.attempt)
        async for event in events_of(reader, self._id):
            if not event.kind:
                if self._last > self._after:
                    await self._send(event.raw)
                continue
            own = event.number if event.number is not None else self._last + 1 - first
            self._last = first + own
            if event.kind != CREATED and self._last > self._after:
                await self._send(Editor(event.numbered(self._last)).piece(event.raw))

    # --- events of ours

    async def _say_end(self) -> None:
        """The job has ended, and not with an answer."""
        record = await self._store.get(self._id)
        if record is None:
            raise JobGone
        job = record.job
        if job.state is JobState.CANCELLED:
            await self._say_error(JobGone(f"The response is cancelled: {job.detail}"))
        else:
            failed = described(job, record.envelope.response)
            await self._say("response.failed", self._last + 1, {"response": failed})

    async def _say_error(self, error: ActivatorError) -> None:
        """In a form that clients of streams know."""
        said = {"code": error.reason, "message": error.detail, "param": None}
        await self._say("error", self._last + 1, said)

    async def _say(self, kind: str, number: int, fields: Mapping[str, object]) -> None:
        self._last = number
        if number > self._after:
            await self._send(written(kind, number, fields))

    def _described(self, **changed: object) -> dict[str, object]:
        return described(self._record.job, self._record.envelope.response, **changed)  # type: ignore[arg-type]

    async def _send(self, data: bytes) -> None:
        self._sent_at = self._talk.proxy.clock()
        await self._talk.send(data)

    async def _show_life(self) -> None:
        """A comment whenever nothing else was sent for a while. Events are sent whole, so that it
        stands between two of them."""
        live, clock = self._live, self._talk.proxy.clock
        while live is not None and live.endpoint.heartbeat:
            rest = self._sent_at + live.endpoint.heartbeat - clock()
            if rest > 0:
                await asyncio.sleep(rest)
                continue
            place = None
            with contextlib.suppress(StoreUnavailable):
                place = await self._store.place(self._id)
            await self._send(comment(live, place))


def form_of(head: ResultHead) -> bytes:
    """Of a model's answer: its media type; of what cannot be read the empty one."""
    answer = answer_of(head, bodiless=False)
    if answer.get(b"content-encoding") is not None:
        return b""
    return (answer.get(b"content-type") or b"").partition(b";")[0].strip().lower()


async def events_of(reader: ResultReader, job_id: str) -> AsyncIterator[StreamEvent]:
    """After its head was read."""
    splitter = Splitter()
    while chunks := await reader.more():
        for chunk in chunks:
            for raw in splitter.feed(chunk):
                yield await read_event(raw, job_id)


async def why_failed(reader: ResultReader, head: ResultHead) -> dict[str, object]:
    """A model's answer that is no response, as the error of one."""
    said = bytearray()
    while len(said) < LONGEST_ERROR and (chunks := await reader.more()):
        said += b"".join(chunks)
    if head.status == 200:
        form = form_of(head).decode("latin-1") or "something that cannot be read"
        return {"code": "server_error", "message": f"The model has answered with {form}"}
    error = replica_error(bytes(said[:LONGEST_ERROR]), status=head.status)
    return {"code": str(error["code"]), "message": error["message"]}


def _first(attempt: int) -> int:
    return (attempt - 1) * ATTEMPT
