"""What operators may see and do of jobs (`admin.ports.JobOperations`), over the store."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from activator.admin.ports import Unavailable, UnknownEndpoint
from activator.aiokit.slices import Slices
from activator.errors import StoreUnavailable
from activator.proxy.outcomes import described

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from activator.core.jobs import Job, JobState
    from activator.queueing.jobs import JobStore
    from activator.upstream.registry import Registry


class StoredJobs:
    """See the module."""

    def __init__(self, store: JobStore, registry: Registry) -> None:
        self._store = store
        self._registry = registry

    async def jobs(
        self, *, endpoint: str | None, states: Sequence[JobState], limit: int
    ) -> list[dict[str, Any]]:
        names = sorted(live.endpoint.name for live in self._registry)
        if endpoint is not None:
            if endpoint not in names:
                raise UnknownEndpoint(endpoint)
            names = [endpoint]
        with _told():
            records = await self._store.latest(names, states=states, limit=limit)
        slices = Slices()
        shown: list[dict[str, Any]] = []
        for record in records:
            shown.append(described(record.job, place=None, eta=None))
            await slices.turn()
        return shown

    async def job(self, job_id: str) -> dict[str, Any] | None:
        with _told():
            record = await self._store.get(job_id)
            return await self._shown(None if record is None else record.job)

    async def cancel_job(self, job_id: str) -> dict[str, Any] | None:
        with _told():
            return await self._shown(
                await self._store.cancel(
                    job_id, reason="cancelled", detail="an operator asked for it"
                )
            )

    async def retry_job(self, job_id: str) -> dict[str, Any] | None:
        with _told():
            return await self._shown(await self._store.retry(job_id))

    async def _shown(self, job: Job | None) -> dict[str, Any] | None:
        if job is None:
            return None
        live = self._registry.get(job.endpoint)
        place = await self._store.place(job.id)
        eta = live.eta() if live is not None and live.cold and place is not None else None
        return described(job, place=place, eta=eta)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except StoreUnavailable as away:
        raise Unavailable(away.detail) from away
