"""`/.activator/jobs/ID`: what clients see and do of their jobs."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final

from activator.core.job_ids import endpoint_of
from activator.core.jobs import Outcome
from activator.errors import JobGone, JobRunning, MethodNotAllowed, NotFound
from activator.proxy.job_talk import BY_CLIENT, JobTalk
from activator.proxy.outcomes import PATH, described, why_unanswered
from activator.proxy.replies import plain_reply, status_line
from activator.queueing.following import ResultReader, follow_events
from activator.wire.heads import CHUNKED

if TYPE_CHECKING:
    from activator.core.jobs import Event
    from activator.proxy.admission import OwnPath
    from activator.proxy.listener import Proxy
    from activator.queueing.jobs import Record
    from activator.wire.heads import RequestHead
    from activator.wire.server import ServerConnection

KEEP_ALIVE: Final = 15.0
"""Seconds of silence after which an event stream says that it still lives."""


class JobPage(JobTalk):
    """One request to one of the pages."""

    def __init__(
        self,
        proxy: Proxy,
        connection: ServerConnection,
        head: RequestHead,
        path: OwnPath,
        *,
        request_id: bytes,
    ) -> None:
        super().__init__(proxy, connection, head, request_id=request_id, owner=path.owner)
        self._path = path.path

    async def work(self) -> None:
        if not self._path.startswith(PATH):
            raise NotFound("There is nothing at this path of the activator's own")
        job_id, _, page = self._path.removeprefix(PATH).partition("/")
        if endpoint_of(job_id) is None or page not in ("", "result", "events"):
            raise NotFound("There is nothing at this path of the activator's own")
        method = self.head.method
        if method not in (b"GET", b"HEAD") and (method != b"DELETE" or page):
            raise MethodNotAllowed("GET and HEAD are served here, and DELETE of a job")
        record = await self.find(job_id)
        if method == b"DELETE":
            await self._cancel(job_id)
        elif page == "result":
            await self._result(record)
        elif page == "events":
            await self._events(record)
        else:
            await self._describe(record)

    async def _describe(self, record: Record) -> None:
        place = await self.store.place(record.job.id)
        live = self.proxy.registry.get(record.job.endpoint)
        eta = live.eta() if live is not None and live.cold and place is not None else None
        self.say(described(record.job, place=place, eta=eta))

    async def _cancel(self, job_id: str) -> None:
        job = await self.store.cancel(job_id, reason="cancelled", detail=BY_CLIENT)
        if job is None:
            raise JobGone("No job has this id any more")
        self.say(described(job, place=None, eta=None))

    # --- the answer

    async def _result(self, record: Record) -> None:
        page = await self.store.page(record.job.id)
        if page is None:
            raise JobGone("No job has this id any more")
        if page.head is None and page.outcome is None:
            raise JobRunning(f"The job is {page.job.state}", retry_after=1)
        reader = ResultReader(self.store, record.job.id)
        try:
            head = await reader.head()
            if isinstance(head, Outcome):
                raise why_unanswered(head)
            await self.relay(
                reader, head, method=record.envelope.method, cold=False, timing=_timing(record)
            )
        finally:
            reader.close()

    # --- events

    async def _events(self, record: Record) -> None:
        after = (self.head.get(b"last-event-id") or b"").decode("latin-1")
        if record.job.has_ended and not await self.store.events(record.job.id, after=after):
            self.code = 204  # which tells an EventSource to come no more
            self.answer(plain_reply(204, request_id=self.id))
            return
        self.connection.begin_answer(
            status_line(200) + b"Content-Type: text/event-stream\r\nCache-Control: no-store\r\n"
            b"X-Accel-Buffering: no\r\nX-Request-Id: %b\r\n" % self.id,
            length=0 if self.head.method == b"HEAD" else CHUNKED,
        )
        if self.head.method != b"HEAD":
            alive = self.proxy.tasks.spawn(self._keep_alive(), name="keep alive")
            try:
                async for event in follow_events(self.store, record.job.id, after=after):
                    await self.send(_sse(event))
            finally:
                alive.cancel()
        self.finish()

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(KEEP_ALIVE)
            await self.send(b": alive\n\n")


def _sse(event: Event) -> bytes:
    said = {"state": event.kind, "attempt": event.attempt, "at": event.at, "detail": event.detail}
    return f"id: {event.id}\nevent: {event.kind}\ndata: {json.dumps(said)}\n\n".encode()


def _timing(record: Record) -> bytes:
    """Of the job, not of this request: how long it has waited, which is all its record tells."""
    return b"queue;dur=%.1f" % (max(0.0, record.job.began - record.job.created) * 1e3)
