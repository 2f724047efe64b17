"""What can be seen of the jobs in a Book; nothing here changes one."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from activator.aiokit.slices import Slices
from activator.core import jobs
from activator.core.jobs import Superseded
from activator.queueing.jobs import Page, Record
from activator.queueing.latest import Latest

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from activator.core.jobs import JobState
    from activator.queueing.memory_book import Book, Entry, Shelf

PAGE_BYTES: Final = 1 << 20
"""Of a result, at a time; a single chunk may be more."""


def record_of(entry: Entry) -> Record:
    return Record(entry.job, entry.envelope, entry.body_bytes, entry.result_bytes)


def place_of(entry: Entry, shelf: Shelf) -> int | None:
    if entry.line is shelf.held:
        return shelf.held.index(entry.place) + 1
    if entry.line is shelf.line:
        return len(shelf.held) + shelf.line.index(entry.place) + 1
    return None


def recent(shelf: Shelf, *, states: Collection[JobState], limit: int) -> list[Record]:
    found = [entry for entry in shelf.entries.values() if not states or entry.job.state in states]
    found.sort(key=lambda entry: (entry.job.created, entry.job.id), reverse=True)
    return [record_of(entry) for entry in found[:limit]]


async def latest(
    book: Book, endpoints: Sequence[str], *, states: Collection[JobState], limit: int
) -> list[Record]:
    slices, kept = Slices(), Latest(limit)
    for endpoint in endpoints:
        kept.add(recent(book.shelf(endpoint), states=states, limit=limit))
        await slices.turn()
    return kept.found


def counts(shelf: Shelf) -> Mapping[JobState, int]:
    return Counter(entry.job.state for entry in shelf.entries.values())


def page(entry: Entry, *, attempt: int, at: int) -> Page:
    """Raises Superseded."""
    job = entry.job
    if attempt not in (0, job.attempt):
        raise Superseded(f"{job.id} is at attempt {job.attempt}")
    if entry.head is None:
        return Page(job, next=at, outcome=jobs.outcome_of(job))
    first = max(1, at)
    chunks = _within(PAGE_BYTES, entry.pieces[first - 1 :])
    following = first + len(chunks)
    is_last = following > len(entry.pieces)
    return Page(
        job,
        head=entry.head if at == 0 else None,
        chunks=chunks,
        next=following,
        outcome=jobs.outcome_of(job) if is_last else None,
        trailers=entry.trailers if is_last else (),
    )


def _within(most: int, pieces: list[bytes]) -> tuple[bytes, ...]:
    """As many of the first as fit, and one in any case."""
    size = 0
    for number, piece in enumerate(pieces):
        size += len(piece)
        if size > most and number:
            return tuple(pieces[:number])
    return tuple(pieces)


def claimants(book: Book, endpoint: str) -> frozenset[str]:
    found: set[str] = set()
    for entry in book.shelf(endpoint).entries.values():
        found.update(entry.readers)
        if entry.job.holder:
            found.add(jobs.activator_of(entry.job.holder))
    return frozenset(found)
