"""Which jobs there are in Redis: of one endpoint, or the latest of many.

Decides in which pieces they are read: each is so small that neither Redis nor the loop is held up,
and so large that thousands of endpoints are not asked for one by one.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from activator.aiokit.slices import Slices
from activator.core.jobs import JobState
from activator.queueing import redis_job_calls as scripts
from activator.queueing.latest import Latest
from activator.queueing.redis_job_records import record_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence

    from activator.queueing.jobs import Record
    from activator.queueing.redis_job_calls import Calls
    from activator.redisio.commands import Word

AT_A_TIME: Final = 200
"""Jobs that one script looks at, or one answer has: some milliseconds in which nobody else is
served."""
TOGETHER: Final = 64
"""Endpoints of which it is asked together how many jobs they have."""


class Listing:
    """See the module."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def recent(
        self, endpoint: str, *, states: Collection[JobState], limit: int
    ) -> list[Record]:
        found: dict[str, Record] = {}
        """By id: where it goes on is gone in an unlucky moment."""
        on: Word = ""
        while len(found) < limit:
            wanted = _at_a_time(states, limit - len(found))
            looked_at, on, *records = await self._calls.run(
                scripts.LIST, endpoint, "recent", on, wanted, *_values(states)
            )
            for record in map(record_of, records):
                found.setdefault(record.job.id, record)
            if looked_at < wanted:
                break
        return list(islice(found.values(), limit))

    async def counts(self, endpoint: str) -> Mapping[JobState, int]:
        flat = await self._calls.link.command("HGETALL", self._meta(endpoint))
        said = {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}
        return {state: int(said[f"n:{state}"]) for state in JobState if f"n:{state}" in said}

    async def latest(
        self, endpoints: Sequence[str], *, states: Collection[JobState], limit: int
    ) -> list[Record]:
        slices, kept = Slices(), Latest(limit)
        some: list[str] = []
        jobs = 0
        async for endpoint, number in self._with_jobs(endpoints, states, slices):
            at_most = number if states else min(number, limit)
            if at_most > AT_A_TIME:
                kept.add(await self.recent(endpoint, states=states, limit=limit))
                continue
            if jobs + at_most > AT_A_TIME:
                await self._add(some, kept, states, limit, slices)
                some, jobs = [], 0
            some.append(endpoint)
            jobs += at_most
        await self._add(some, kept, states, limit, slices)
        return kept.found

    async def _with_jobs(
        self, endpoints: Iterable[str], states: Collection[JobState], slices: Slices
    ) -> AsyncIterator[tuple[str, int]]:
        """Those with a job in such a state, and how many these have in any."""
        fields = [f"n:{state}" for state in JobState]
        asked_for = states or tuple(JobState)
        left = iter(endpoints)
        while some := list(islice(left, TOGETHER)):
            replies = await self._calls.link.pipeline(
                [("HMGET", self._meta(endpoint), *fields) for endpoint in some]
            )
            for endpoint, values in zip(some, replies, strict=True):
                counts = dict(zip(JobState, (int(value or 0) for value in values), strict=True))
                if any(counts[state] for state in asked_for):
                    yield endpoint, sum(counts.values())
                await slices.turn()

    async def _add(
        self,
        endpoints: Sequence[str],
        kept: Latest,
        states: Collection[JobState],
        limit: int,
        slices: Slices,
    ) -> None:
        if not endpoints:
            return
        wanted = _at_a_time(states, limit)
        replies: list[list[Any]] = await self._calls.of_each(
            scripts.LIST, endpoints, "recent", "", wanted, *_values(states)
        )
        for endpoint, (looked_at, _, *records) in zip(endpoints, replies, strict=True):
            if looked_at == wanted and len(records) < limit:  # others have come meanwhile
                kept.add(await self.recent(endpoint, states=states, limit=limit))
                continue
            for values in records:
                kept.add((record_of(values),))
                await slices.turn()

    def _meta(self, endpoint: str) -> str:
        return f"{self._calls.base(endpoint)}:meta"


def _at_a_time(states: Collection[JobState], limit: int) -> int:
    """How many to look at where so many are still wanted."""
    return AT_A_TIME if states else min(AT_A_TIME, limit)


def _values(states: Iterable[JobState]) -> list[str]:
    return [state.value for state in states]
