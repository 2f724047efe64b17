"""`/v1/responses/ID` of a response that is made in the background: fetch it, follow it, cancel it.

It answers only the key that made it, as its job does. What a response looks like is `responses`'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from activator.core.endpoint import Dialect
from activator.core.jobs import JobState, Outcome
from activator.errors import BadRequest, JobGone, MethodNotAllowed, NotFound
from activator.proxy.edits import Editor
from activator.proxy.job_talk import BY_CLIENT, JobTalk
from activator.proxy.openai.events import FINAL
from activator.proxy.openai.response_stream import (
    EVENTS,
    JSON,
    ResponseStream,
    events_of,
    form_of,
    why_failed,
)
from activator.proxy.openai.responses import TOLD, described, exchanged, is_stream
from activator.proxy.openai.toplevel import TopLevel
from activator.proxy.replies import status_line
from activator.queueing.following import ResultReader
from activator.wire.heads import CHUNKED

if TYPE_CHECKING:
    from activator.proxy.admission import ResponseAsked
    from activator.proxy.edits import Edit
    from activator.proxy.listener import Proxy
    from activator.queueing.jobs import Record
    from activator.wire.heads import RequestHead
    from activator.wire.server import ServerConnection

CANCEL: Final = "cancel"


class ResponsePage(JobTalk):
    """One request to one of the pages."""

    def __init__(
        self,
        proxy: Proxy,
        connection: ServerConnection,
        head: RequestHead,
        asked: ResponseAsked,
        *,
        request_id: bytes,
    ) -> None:
        super().__init__(proxy, connection, head, request_id=request_id, owner=asked.owner)
        self._asked = asked
        self.dialect = Dialect.OPENAI

    async def work(self) -> None:
        page, method = self._asked.page, self.head.method
        record = await self.find(self._asked.job_id)
        if not record.envelope.response or page not in ("", CANCEL):
            raise NotFound("There is no response of yours with this id, or not this part of it")
        if method != (b"POST" if page == CANCEL else b"GET"):
            raise MethodNotAllowed("A response is fetched by GET and cancelled by POST")
        if page == CANCEL:
            await self._cancel(record)
        else:
            await self._fetch(record)

    async def _fetch(self, record: Record) -> None:
        stream, after = _query(self.head)
        if not stream:
            await self._show(record)
        elif is_stream(record.envelope.response):
            await ResponseStream(self, self.store, record, after=after).run()
        else:
            raise BadRequest("Only a response that was created with `stream` can be streamed")

    async def _cancel(self, record: Record) -> None:
        """One that has ended stays as it is."""
        store, job_id = self.store, record.job.id
        await store.cancel(job_id, reason="cancelled", detail=BY_CLIENT)
        now = await store.get(job_id)
        if now is None:
            raise JobGone("The response that had this id is not kept any longer")
        await self._show(now)

    # --- as one object

    async def _show(self, record: Record) -> None:
        if record.job.state is not JobState.SUCCEEDED:
            self.say(described(record.job, record.envelope.response))
            return
        reader = ResultReader(self.store, record.job.id)
        try:
            await self._show_answer(record, reader)
        finally:
            reader.close()

    async def _show_answer(self, record: Record, reader: ResultReader) -> None:
        head = await reader.head()
        if isinstance(head, Outcome):
            raise JobGone("The response that had this id is not kept any longer")
        form = form_of(head) if head.status == 200 else b""
        if form == JSON:
            await self._relay_changed(record, await self._told(reader, record.job.id))
            return
        error: dict[str, object] | None = None
        if form == EVENTS:
            last = await _last_response(reader, record.job.id)
            if last is not None:
                self._begin(length=len(last))
                await self.send(last)
                self.finish()
                return
            error = {"code": "server_error", "message": "The model has ended without a response"}
        error = error or await why_failed(reader, head)
        self.say(described(record.job, record.envelope.response, error=error))

    async def _told(self, reader: ResultReader, job_id: str) -> list[Edit]:
        """What is to be exchanged in a response that may be too long to be kept in memory."""
        scanner = TopLevel(TOLD)
        while len(scanner.found) < len(TOLD) and (chunks := await reader.more()):
            for chunk in chunks:
                scanner.feed(chunk)
                while scanner.pending:
                    scanner.step()
        return exchanged(scanner.found, job_id)

    async def _relay_changed(self, record: Record, edits: list[Edit]) -> None:
        """The answer from its beginning."""
        reader, editor = ResultReader(self.store, record.job.id), Editor(edits)
        try:
            await reader.head()
            self._begin(length=CHUNKED)
            while chunks := await reader.more():
                for chunk in chunks:
                    await self.send(editor.piece(chunk))
        finally:
            reader.close()
        self.finish()

    def _begin(self, *, length: int) -> None:
        framing = b"" if length == CHUNKED else b"Content-Length: %d\r\n" % length
        self.connection.begin_answer(
            status_line(200) + b"Content-Type: application/json\r\n%b"
            b"X-Request-Id: %b\r\nCache-Control: no-store\r\n" % (framing, self.id),
            length=length,
        )


async def _last_response(reader: ResultReader, job_id: str) -> bytes | None:
    """The response as the last event of a stream gives it."""
    found: bytes | None = None
    async for event in events_of(reader, job_id):
        if event.kind in FINAL and event.response is not None:
            start, end = event.response
            changed = Editor(event.edits).piece(event.raw[:end])
            found = changed[start:]
    return found


def _query(head: RequestHead) -> tuple[bool, int | None]:
    """(as a stream, after which event)."""
    query = dict(parse_qsl(head.target.partition(b"?")[2].decode("latin-1")))
    after = query.get("starting_after")
    if after is not None and not after.isdecimal():
        raise BadRequest("starting_after: the sequence_number of an event")
    return query.get("stream") == "true", None if after is None else int(after)
