"""Scripts of the jobs, run with what all of them are told; and what their refusals mean.

Decides what happens when no answer comes: a script that may be run twice is, where a connection
was cut.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from activator.core.jobs import ForbiddenStep, Superseded
from activator.errors import StoreUnavailable
from activator.queueing.jobs import ResultTooLarge
from activator.queueing.redis_budget import counting_keys
from activator.queueing.redis_job_records import newer
from activator.redisio.commands import Opening
from activator.redisio.failures import Unanswered
from activator.redisio.scripts import load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from activator.core.jobs import JobsPolicy
    from activator.redisio.commands import Word
    from activator.redisio.link import Link
    from activator.redisio.scripts import Script


MOST_OPENINGS: Final = 4096
SOON: Final = 0.1
"""Seconds. A connection that is cut shows sooner; one that is silent has used the time up."""


def _load(name: str) -> Script:
    return load(__package__, f"jobs_{name}", includes=("jobs",))


CHUNK: Final = _load("chunk")
DISCARD: Final = _load("discard")
CREATE: Final = _load("create")
CLAIM: Final = _load("claim")
STEP: Final = _load("step")
STORE: Final = _load("store")
READ: Final = _load("read")
LIST: Final = _load("list")
SWEEP: Final = _load("sweep")
ORPHANS: Final = _load("orphans")


class Calls:
    """Runs the scripts of one activator."""

    def __init__(
        self, link: Link, *, me: str, policy: JobsPolicy, offset: Callable[[], float]
    ) -> None:
        """`offset`: seconds to add to Redis's clock; for tests."""
        self.link = link
        self.me = me
        self.policy = policy
        self._offset = offset
        self._openings: dict[tuple[Script, str], Opening] = {}
        """Of calls of a script for an endpoint, as long as what all are told stays the same."""
        self._told: tuple[float, JobsPolicy] | None = None

    def base(self, endpoint: str) -> str:
        return self.link.keys.of(endpoint, "jobs")

    async def run(self, script: Script, endpoint: str, *args: Word) -> Any:
        """Raises StoreUnavailable: Unanswered if any of it may have been done."""
        began = self.now()
        try:
            return await self.run_once(script, endpoint, *args)
        except Unanswered as failure:
            unanswered = failure
        if self.now() - began > SOON:
            raise unanswered
        try:
            return await self.run_once(script, endpoint, *args)
        except StoreUnavailable as failure:
            raise unanswered from failure

    @staticmethod
    def now() -> float:
        return asyncio.get_running_loop().time()

    async def run_once(self, script: Script, endpoint: str, *args: Word) -> Any:
        """For what a second run would not find as the first one left it."""
        return await self.link.run_on(self._opening(script, endpoint), args)

    async def of_each(self, script: Script, endpoints: Sequence[str], *args: Word) -> list[Any]:
        """A reply for each, sent together; what changes something is not run so."""
        openings = [self._opening(script, each) for each in endpoints]
        return await self.link.pipeline(
            [script(opening.keys, (*opening.args, *args)) for opening in openings]
        )

    def _opening(self, script: Script, endpoint: str) -> Opening:
        offset, policy = self._offset(), self.policy
        if (offset, policy) != self._told or len(self._openings) > MOST_OPENINGS:
            self._told = offset, policy
            self._openings.clear()
        opening = self._openings.get((script, endpoint))
        if opening is None:
            _, bodies, jobs = counting_keys(self.link.keys, endpoint)
            keys = (self.base(endpoint), bodies, jobs)
            told = (offset, policy.ttl, policy.retention, policy.attempts, policy.join_grace)
            first, *rest = map(repr, told)
            opening = Opening(script, keys, (first, self.me, *rest))
            self._openings[script, endpoint] = opening
        return opening

    async def of_job(self, script: Script, endpoint: str, *args: Word) -> list[Any] | None:
        """What follows `ok` (or `room`), or None: there is no such job. Raises what a refusal
        means."""
        values: list[Any]
        kind, *values = await self.run(script, endpoint, *args)
        match kind:
            case b"ok" | b"room":
                return values
            case b"none":
                return None
            case b"superseded":
                raise Superseded(f"the job is {values[0].decode()}, and another's")
            case b"forbidden":
                raise ForbiddenStep(f"the job is {values[0].decode()}")
            case b"large":
                most = self.policy.max_result
                raise ResultTooLarge(f"A result may have {most} bytes (jobs.maxResult)")
            case b"version":
                raise newer()
        raise AssertionError(f"a script replied {kind!r}")
