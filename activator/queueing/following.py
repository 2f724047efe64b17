"""Reading a job's answer, and its events, while they are being written.

Over any JobStore: whenever it tells of something new the next page is asked for. A store that is
away for a moment is waited for, since what was stored is there again when it is back.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

from activator.core.jobs import Superseded
from activator.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from activator.core.jobs import Event, Outcome
    from activator.queueing.jobs import JobStore, Page, ResultHead

T = TypeVar("T")

LOOK: Final = 15.0
"""Seconds after which a store is asked without having told anything: against messages that were
lost."""
PAUSE: Final = 0.5
"""Seconds before a store that is away is asked again."""


class ResultReader:
    """One reader of one answer: `head`, then `more` until it gives nothing; `close` in any case.

    Until the head has been read another attempt may take the place of the first; after it a
    superseded attempt, or a job that is gone, raises Superseded: what has been read cannot be
    continued.
    """

    def __init__(self, store: JobStore, job_id: str, *, patience: float = 30.0) -> None:
        """`patience`: seconds that the store may be away before StoreUnavailable is raised."""
        self._store = store
        self._id = job_id
        self._news = News(store, job_id, patience=patience)
        self._attempt = 0
        self._page: Page | None = None
        self._next = 0
        self.began = 0.0
        """When the attempt that answers was dispatched, as in its record; set with the head."""
        self.outcome: Outcome | None = None
        """How the job has ended, once everything has been read."""
        self.trailers: tuple[bytes, ...] = ()

    @property
    def attempt(self) -> int:
        """The one that answers; set with the head."""
        return self._attempt

    async def head(self) -> ResultHead | Outcome:
        """The head of the answer; or how the job ended without one."""
        while True:
            page = await self._read(at=0)
            if page.head is not None:
                self._attempt, self.began = page.job.attempt, page.job.began
                self._page = page
                return page.head
            if page.outcome is not None:
                self.outcome = page.outcome
                return page.outcome
            await self._news.wait()

    async def more(self) -> tuple[bytes, ...]:
        """What came next of the body, as soon as anything has; empty: it has ended as `outcome`
        says. To be called after `head` has given one."""
        while True:
            page, self._page = self._page, None
            if page is None:
                if self.outcome is not None:
                    return ()
                page = await self._read(at=self._next)
            self._next = page.next
            if page.outcome is not None:
                self.outcome, self.trailers = page.outcome, page.trailers
            if page.chunks or self.outcome is not None:
                return page.chunks
            await self._news.wait()

    async def _read(self, *, at: int) -> Page:
        page = await self._news.ask(
            lambda: self._store.page(self._id, attempt=self._attempt, at=at)
        )
        if page is None:
            raise Superseded(f"{self._id} is no more")
        return page

    def close(self) -> None:
        self._news.close()


class News:
    """Asks a store, and waits until there may be something new about a job."""

    def __init__(self, store: JobStore, job_id: str, *, patience: float) -> None:
        self._told = asyncio.Event()
        self._listening = store.listen(job_id, self._told.set)
        self._patience = patience

    async def ask(self, question: Callable[[], Awaitable[T]]) -> T:
        self._told.clear()  # before: what comes while the answer is on its way is news
        until = asyncio.get_running_loop().time() + self._patience
        while True:
            try:
                return await question()
            except StoreUnavailable:
                if asyncio.get_running_loop().time() >= until:
                    raise
            await asyncio.sleep(PAUSE)

    async def wait(self) -> None:
        try:
            async with asyncio.timeout(LOOK):
                await self._told.wait()
        except TimeoutError:
            pass

    def close(self) -> None:
        self._listening.close()


async def follow_events(
    store: JobStore, job_id: str, *, after: str = "", patience: float = 30.0
) -> AsyncIterator[Event]:
    """Events as they come, from the one after `after` on, until the job has ended or is no more."""
    news = News(store, job_id, patience=patience)
    try:
        while True:
            record = await news.ask(lambda: store.get(job_id))
            events = await news.ask(lambda: store.events(job_id, after=after))  # noqa: B023 -- awaited here
            if record is None or events is None:
                return
            for event in events:
                yield event
                after = event.id
            if record.job.has_ended:
                return
            if not events:
                await news.wait()
    finally:
        news.close()
