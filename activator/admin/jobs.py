"""Jobs on the admin port: listed, shown, cancelled, retried. What a job is, is `core.jobs`'s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from activator.admin.answers import Listed, long_answer
from activator.admin.ports import Unavailable, UnknownEndpoint
from activator.admin.problems import Problem
from activator.core.jobs import JobState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from activator.admin.ports import JobOperations

MOST: int = 1000
"""Jobs in one answer."""


class JobCalls:
    """The handlers. `operations` None: there are no jobs here."""

    def __init__(self, operations: JobOperations | None) -> None:
        self._operations = operations

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/api/jobs", self.listed)
        app.router.add_get("/api/jobs/{id}", self.shown)
        app.router.add_delete("/api/jobs/{id}", self.cancelled)
        app.router.add_post("/api/jobs/{id}/retry", self.retried)

    async def listed(self, request: web.Request) -> web.Response:
        query = request.query
        try:
            states = [JobState(one) for one in query.getall("state", [])]
        except ValueError as unknown:
            known = ", ".join(JobState)
            raise Problem(400, f"{unknown}; the states are {known}") from unknown
        limit = query.get("limit", "100")
        if not limit.isdecimal() or not 0 < int(limit) <= MOST:
            raise Problem(400, f"limit is a number from 1 to {MOST}")
        endpoint = query.get("endpoint")

        async def work() -> list[dict[str, Any]]:
            return await self._jobs.jobs(endpoint=endpoint, states=states, limit=int(limit))

        return await long_answer({"jobs": Listed(await _carried_out(work))})

    async def shown(self, request: web.Request) -> web.Response:
        return await self._one(request, self._jobs.job)

    async def cancelled(self, request: web.Request) -> web.Response:
        return await self._one(request, self._jobs.cancel_job)

    async def retried(self, request: web.Request) -> web.Response:
        return await self._one(request, self._jobs.retry_job)

    @property
    def _jobs(self) -> JobOperations:
        if self._operations is None:
            raise Problem(503, "this activator keeps no jobs")
        return self._operations

    async def _one(
        self,
        request: web.Request,
        step: Callable[[str], Awaitable[dict[str, Any] | None]],
    ) -> web.Response:
        job_id = request.match_info["id"]
        found = await _carried_out(lambda: step(job_id))
        if found is None:
            raise Problem(404, f"no job has the id {job_id!r} (any more)")
        return web.json_response(found)


async def _carried_out(step: Callable[[], Awaitable[Any]]) -> Any:
    try:
        return await step()
    except UnknownEndpoint as unknown:
        raise Problem(404, f"no endpoint is called {str(unknown)!r}") from unknown
    except Unavailable as away:
        raise Problem(503, str(away)) from away
