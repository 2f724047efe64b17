"""A request about a job that exists: whose it is, and what is told of the request itself.

A job answers only the key that made it; without keys whoever has the id may see it. What is seen
and done of it is on the pages: `job_pages`, and `openai.response_pages`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from activator.core.job_ids import was_made_for
from activator.errors import JobGone, NotFound, StoreUnavailable
from activator.proxy.talk import Talk

if TYPE_CHECKING:
    from activator.proxy.listener import Proxy
    from activator.queueing.jobs import JobStore, Record
    from activator.wire.heads import RequestHead
    from activator.wire.server import ServerConnection

BY_CLIENT: Final = "its client asked for it"
"""Why a job was cancelled."""


class JobTalk(Talk):
    """One request to one of the pages of a job."""

    def __init__(
        self,
        proxy: Proxy,
        connection: ServerConnection,
        head: RequestHead,
        *,
        request_id: bytes,
        owner: str,
    ) -> None:
        """`owner`: the name of the key that was presented, empty where none is needed."""
        super().__init__(proxy, connection, head, request_id=request_id)
        self.owner = owner

    @property
    def store(self) -> JobStore:
        """Raises StoreUnavailable."""
        if self.proxy.jobs is None:
            raise StoreUnavailable("The store that is configured keeps no jobs")
        return self.proxy.jobs

    async def find(self, job_id: str) -> Record:
        """What this request is about from here on; raises what is to be answered otherwise."""
        record = await self.store.get(job_id)
        if record is None and was_made_for(self.owner, job_id):
            raise JobGone("The job that had this id is not kept any longer")
        if record is None or (self.proxy.door.keys and record.envelope.owner != self.owner):
            raise NotFound("There is no job of yours with this id")
        self.job, self.endpoint = job_id, record.job.endpoint
        return record

    def ended(self, *, code: int, reason: str) -> None:
        """It belongs to no endpoint's requests."""
        self.proxy.metrics.unrouted.request(code=code, reason=reason, duration=0.0, overhead=0.0)
