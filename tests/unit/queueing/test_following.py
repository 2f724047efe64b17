"""Reading through a store that is away now and then; all else is in tests/contract/jobs."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

import pytest

from activator.core.jobs import JobsPolicy
from activator.errors import StoreUnavailable
from activator.queueing.budget import Budget
from activator.queueing.following import LOOK, PAUSE, ResultReader, follow_events
from activator.queueing.jobs import Envelope, NewJob, Output, ResultHead
from activator.queueing.memory_book import Book
from activator.queueing.memory_jobs import MemoryJobs

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.core.jobs import Event
    from activator.queueing.jobs import Listening, Page, Record

HEAD = ResultHead(status=200)


class Absent(MemoryJobs):
    """Is away for as many questions as it is told, and may keep its news to itself."""

    def __init__(self) -> None:
        super().__init__(
            Book(Budget(1 << 20)),
            me="a",
            policy=JobsPolicy(),
            clock=time.time,
            dice=random.random,
        )
        self.away = 0
        self.silent = False

    def _answer(self) -> None:
        if self.away:
            self.away -= 1
            raise StoreUnavailable

    async def page(self, job_id: str, *, attempt: int = 0, at: int = 0) -> Page | None:
        self._answer()
        return await super().page(job_id, attempt=attempt, at=at)

    async def get(self, job_id: str) -> Record | None:
        self._answer()
        return await super().get(job_id)

    def listen(self, job_id: str, told: Callable[[], None]) -> Listening:
        return super().listen(job_id, (lambda: None) if self.silent else told)

    async def answered(self) -> str:
        """The id of a job that has been."""
        upload = self.upload("m")
        await self.create(NewJob(Envelope(b"GET", b"/", b"h")), upload)
        (claim,) = (await self.claim("m", 1, age=0.0)).claims
        await self.begin(claim)
        await self.finish(claim, output=Output(0, HEAD, (b"answer",)))
        return claim.id


@pytest.mark.looptime
async def test_a_store_that_is_away_for_a_moment_is_waited_for() -> None:
    store = Absent()
    reader = ResultReader(store, await store.answered())
    store.away = 3

    assert await reader.head() == HEAD
    assert await reader.more() == (b"answer",)
    reader.close()


@pytest.mark.looptime
async def test_a_store_that_stays_away_is_not_waited_for_for_ever() -> None:
    store = Absent()
    reader = ResultReader(store, await store.answered(), patience=10.0)
    store.away = 1000

    with pytest.raises(StoreUnavailable):
        await reader.head()

    assert 1000 - store.away == pytest.approx(10.0 / PAUSE, abs=2)
    reader.close()


@pytest.mark.looptime
async def test_what_a_store_did_not_tell_is_found_by_looking() -> None:
    store = Absent()
    store.silent = True
    upload = store.upload("m")
    await store.create(NewJob(Envelope(b"GET", b"/", b"h")), upload)
    (claim,) = (await store.claim("m", 1, age=0.0)).claims
    await store.begin(claim)
    reader = ResultReader(store, claim.id)

    async def head() -> ResultHead:
        found = await reader.head()
        assert isinstance(found, ResultHead)
        return found

    waiting = asyncio.get_running_loop().create_task(head())
    await asyncio.sleep(1)
    await store.append(claim, Output(0, HEAD))
    assert await asyncio.wait_for(waiting, 2 * LOOK) == HEAD
    reader.close()


@pytest.mark.looptime
async def test_events_are_followed_through_an_absence() -> None:
    store = Absent()
    job_id = await store.answered()
    store.away = 2

    events: list[Event] = [event async for event in follow_events(store, job_id)]

    assert [event.kind for event in events] == ["queued", "running", "answering", "succeeded"]


async def test_events_of_an_unknown_job_are_none() -> None:
    store = Absent()
    assert [event async for event in follow_events(store, "m." + "A" * 28)] == []
