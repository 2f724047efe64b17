"""Bodies on their way into Redis, and the step that makes a job of one.

The pieces go first, and are forgotten by themselves; the job and its last piece are one step. A
step whose answer never came is in doubt: as soon as the store is back its job is cancelled, since
whoever wanted it has been told that there is none.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from activator.aiokit.tasks import Tasks
from activator.errors import StoreUnavailable
from activator.queueing import redis_job_calls as scripts
from activator.queueing.codec import encode_envelope
from activator.queueing.jobs import Conflict, Created, Joined, Record, line_is_full
from activator.queueing.redis_job_records import bytes_of, job_of, newer, record_of
from activator.queueing.uploads import PiecewiseUpload
from activator.redisio.failures import Unanswered

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from activator.core.jobs import Job
    from activator.queueing.jobs import Admission, NewJob
    from activator.queueing.redis_budget import RedisBudget
    from activator.queueing.redis_job_calls import Calls

UPLOAD_KEPT: Final = 900.0
"""Seconds between two pieces of a body, 256 KiB each, after which it is forgotten."""
FULL: Final = 0.8
"""Of Redis's maxmemory. Beyond it no detached work is taken, so that what runs can be recorded."""
MOST_IN_DOUBT: Final = 10_000
AGAIN: Final = 0.5
"""Seconds until a cancellation that failed is repeated."""


class Creation:
    """Of the jobs of one activator."""

    def __init__(
        self,
        calls: Calls,
        budget: RedisBudget,
        *,
        cancel: Callable[[str], Awaitable[Job | None]],
        failed: Callable[[], None],
    ) -> None:
        """`cancel`: a job by its id. `failed`: something was refused here, and not by Redis."""
        self._calls = calls
        self._budget = budget
        self._cancel = cancel
        self._failed = failed
        self._in_doubt: dict[str, None] = {}
        self._tasks = Tasks("creation")

    def upload(self, endpoint: str, *, owner: str) -> PiecewiseUpload:
        most, forget = self._calls.policy.max_body, self._forget
        return PiecewiseUpload(
            endpoint, owner=owner, most=most, keep=self._keep_piece, forget=forget
        )

    async def _keep_piece(self, upload: PiecewiseUpload, number: int, piece: bytes) -> None:
        room = await self.room(upload.endpoint, len(piece))
        kept = int(UPLOAD_KEPT * 1000)
        said, used = await self._calls.run(
            scripts.CHUNK, upload.endpoint, upload.job_id, number, piece, room, kept
        )
        self._budget.note(upload.endpoint, used)
        if said == b"room":
            raise self.full(len(piece))
        if said == b"lost":
            raise _lost()

    async def _forget(self, upload: PiecewiseUpload) -> None:
        try:
            await self._calls.run(scripts.DISCARD, upload.endpoint, upload.job_id)
        except StoreUnavailable:
            return  # it is forgotten by itself

    async def create(self, new: NewJob, upload: PiecewiseUpload, *, holder: str) -> Admission:
        """`holder`: of the claim, if there is to be one. The claim is left to the caller."""
        try:
            if new.detached and self._calls.link.fullness >= FULL:
                self._failed()
                raise StoreUnavailable("The store is nearly full", retry_after=30)
            admission = await self._create(new, upload, holder)
            if isinstance(admission, Created):
                upload.used_up()
        finally:
            await upload.discard()
        return admission

    async def _create(self, new: NewJob, upload: PiecewiseUpload, holder: str) -> Admission:
        endpoint, rest = upload.endpoint, upload.rest
        envelope = encode_envelope(new.envelope)
        room = await self.room(endpoint, len(envelope) + len(rest))
        with self._doubting(upload.job_id):
            kind, *values = await self._calls.run(
                scripts.CREATE, endpoint, upload.job_id, envelope, new.urgency, new.age,
                new.waited, int(new.detached), int(new.reading), new.key, upload.fingerprint,
                -1 if new.crowded else new.most, holder, int(new.cold),
                int(bool(new.envelope.webhook)), upload.pieces, rest, upload.size, room,
            )  # fmt: skip
        match kind:
            case b"created" | b"joined":
                self._budget.note(endpoint, values[0])
                if kind == b"joined":
                    return Joined(record_of(values[1:]))
                place, *said = values[1:]
                record = Record(job_of(said), new.envelope, *bytes_of(said))
                return Created(record, place=int(place) if place else None)
            case b"conflict":
                return Conflict(values[0].decode())
            case b"full":
                raise line_is_full(new)
            case b"room":
                self._budget.note(endpoint, values[0])
                raise self.full(upload.size)
            case b"version":
                raise newer()
        raise _lost()

    # --- room, also for results

    async def room(self, endpoint: str, size: int) -> int:
        """As of the budget."""
        try:
            return await self._budget.room(endpoint, size)
        except StoreUnavailable:
            self._failed()
            raise

    def full(self, size: int) -> StoreUnavailable:
        self._failed()
        return self._budget.full(size)

    def note(self, endpoint: str, used: int) -> None:
        self._budget.note(endpoint, used)

    # --- doubts

    @contextmanager
    def _doubting(self, job_id: str) -> Iterator[None]:
        try:
            yield
        except (Unanswered, asyncio.CancelledError):
            if len(self._in_doubt) < MOST_IN_DOUBT:
                self._in_doubt[job_id] = None
            if not len(self._tasks):
                self._tasks.spawn_lasting(self._clear_up, name="clear up")
            raise

    async def _clear_up(self) -> None:
        while self._in_doubt:
            job_id = next(iter(self._in_doubt))
            try:
                await self._calls.link.until_up()
                await self._cancel(job_id)
            except StoreUnavailable:
                await asyncio.sleep(AGAIN)
            else:
                del self._in_doubt[job_id]

    async def aclose(self) -> None:
        await self._tasks.aclose()


def _lost() -> StoreUnavailable:
    return StoreUnavailable("The store has lost what was just written", retry_after=1)
