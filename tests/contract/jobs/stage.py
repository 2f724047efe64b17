"""Several activators over one store of jobs, and a clock that tests move."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from activator.core.job_ids import RANDOM, new_id
from activator.core.jobs import JobsPolicy
from activator.queueing.budget import Budget
from activator.queueing.jobs import Claim, Created, Envelope, NewJob, Output, ResultHead
from activator.queueing.memory_book import Book
from activator.queueing.memory_jobs import MemoryJobs
from activator.queueing.redis_budget import RedisBudget
from activator.queueing.redis_jobs import RedisJobs

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from activator.queueing.jobs import Admission, JobStore, Record
    from activator.redisio.link import Link

T = TypeVar("T")

POLICY = JobsPolicy(
    max_body=4 << 20,
    max_result=4 << 20,
    ttl=1000.0,
    retention=100.0,
    attempts=3,
    join_grace=60.0,
)
MAX_BYTES = 64 << 20
ENVELOPE = Envelope(
    method=b"POST",
    target=b"/v1/x?y=%41",
    host=b"llm.example.com",
    lines=(b"Content-Type: application/json", b"X-Latin: \xe9\xff"),
    length=4,
    request_id=b"r-1",
    peer="192.0.2.7",
)
HEAD = ResultHead(status=200, reason=b"OK", lines=(b"Content-Type: text/plain",), length=-1)
AGE = 30.0


class Stage(Protocol):
    """`open` gives another activator's view of the same store."""

    offset: float

    def open(self, me: str) -> JobStore: ...

    async def bytes_kept(self) -> int:
        """Of bodies, envelopes, results and what a job costs besides."""


class MemoryStage:
    def __init__(self, *, max_bytes: int = MAX_BYTES, policy: JobsPolicy = POLICY) -> None:
        self.offset = 0.0
        self._policy = policy
        self._budget = Budget(max_bytes)
        self._book = Book(self._budget)

    def open(self, me: str) -> JobStore:
        return MemoryJobs(
            self._book,
            me=me,
            policy=self._policy,
            clock=lambda: time.time() + self.offset,
            dice=lambda: 0.0,
        )

    async def bytes_kept(self) -> int:
        return self._budget.used


class RedisStage:
    """`link`: of a prefix that nobody else uses. To be closed before the link."""

    def __init__(
        self, link: Link, *, max_bytes: int = MAX_BYTES, policy: JobsPolicy = POLICY
    ) -> None:
        self.offset = 0.0
        self.link = link
        self._max_bytes = max_bytes
        self._policy = policy
        self._budgets: list[RedisBudget] = []
        self._stores: list[RedisJobs] = []

    def open(self, me: str) -> JobStore:
        budget = RedisBudget(self.link, max_bytes=self._max_bytes, clock=time.monotonic)
        store = RedisJobs(
            self.link,
            budget,
            me=me,
            policy=self._policy,
            dice=lambda: 0.0,
            offset=lambda: self.offset,
        )
        self._budgets.append(budget)
        self._stores.append(store)
        return store

    async def bytes_kept(self) -> int:
        sums = await self.link.command("KEYS", f"{self.link.keys.prefix}:*:bytes:jobs")
        return sum([int(await self.link.command("GET", name)) for name in sums])

    async def aclose(self) -> None:
        for store in self._stores:
            await store.aclose()
        for budget in self._budgets:
            await budget.aclose()


async def admitted(
    store: JobStore, *chunks: bytes, endpoint: str = "m", number: int | None = None, **said: Any
) -> Admission:
    """`create` with a body of these chunks; `said`: fields of NewJob, `webhook` and `owner`.
    `number`: what its id is made of instead of random bytes."""
    upload = store.upload(endpoint)
    if number is not None:
        upload.job_id = new_id(endpoint, owner="", random=number.to_bytes(RANDOM))
    for chunk in chunks:
        await upload.write(chunk)
    envelope = Envelope(
        method=b"POST",
        target=b"/v1",
        host=b"h",
        length=sum(map(len, chunks)),
        webhook=said.pop("webhook", ""),
        owner=said.pop("owner", ""),
    )
    return await store.create(NewJob(**{"envelope": envelope} | said), upload)


async def created(store: JobStore, *chunks: bytes, **said: Any) -> Record:
    admission = await admitted(store, *chunks, **said)
    assert isinstance(admission, Created), admission
    return admission.record


async def job_id(store: JobStore, *chunks: bytes, **said: Any) -> str:
    return (await created(store, *chunks, **said)).job.id


async def claimed(store: JobStore, *, endpoint: str = "m", **said: Any) -> Claim:
    """The next one in line."""
    claims = (await store.claim(endpoint, 1, **{"age": AGE} | said)).claims
    assert len(claims) == 1, "there is nothing to claim"
    return claims[0]


async def begun(store: JobStore, *, endpoint: str = "m", **said: Any) -> Claim:
    claim = await claimed(store, endpoint=endpoint, **said)
    await store.begin(claim)
    return claim


async def answered(store: JobStore, claim: Claim, *chunks: bytes, head: ResultHead = HEAD) -> None:
    """Succeed with this answer."""
    await store.finish(claim, output=Output(0, head, chunks))


async def body_of(store: JobStore, claim: Claim) -> bytes:
    return b"".join([piece async for piece in store.body(claim)])


async def result_of(store: JobStore, id_: str) -> bytes:
    """What there is of it now."""
    pieces: list[bytes] = []
    at = 0
    while True:
        page = await store.page(id_, at=at)
        assert page is not None
        pieces += page.chunks
        if page.next == at or page.outcome is not None:
            return b"".join(pieces)
        at = page.next


async def ids_in_line(store: JobStore, *, endpoint: str = "m", age: float = AGE) -> list[str]:
    """Claim everything, and give it back."""
    claims = (await store.claim(endpoint, 1000, age=age)).claims
    for claim in claims:
        await store.give_back(claim)
    return [claim.id for claim in claims]


def started(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Beside the test, which waits for it."""
    return asyncio.get_running_loop().create_task(work)
