"""Which jobs operators are told of, out of those of many endpoints."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from activator.app.job_operations import StoredJobs
from activator.core.jobs import Job, JobsPolicy
from activator.queueing import memory_views
from activator.queueing.jobs import Envelope
from activator.queueing.memory_book import Book, Entry
from activator.queueing.memory_jobs import MemoryJobs
from tests.slicing import counted

if TYPE_CHECKING:
    import pytest

    from activator.queueing.budget import Budget
    from activator.upstream.registry import Registry

JOBS = 20
"""Of each endpoint."""


ENDPOINTS = 50


def store() -> MemoryJobs:
    """Endpoint number i has jobs of the moments i + 1, i + 101 and so on."""
    book = Book(cast("Budget", None))
    for number in range(ENDPOINTS):
        name = f"m{number}"
        for round_ in range(JOBS):
            created = 100.0 * round_ + number + 1.0
            job = Job(f"{name}.{round_}", name, created=created, expires=1e9)
            entry = Entry(job, Envelope(b"GET", b"/", b"h"), "", b"", (), 0)
            book.shelf(name).entries[job.id] = entry
    return MemoryJobs(book, me="a", policy=JobsPolicy(), clock=lambda: 0.0, dice=lambda: 0.0)


async def test_the_latest_of_all_endpoints_are_told_while_others_have_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [f"m{number}" for number in range(ENDPOINTS)]
    lives = [SimpleNamespace(endpoint=SimpleNamespace(name=name)) for name in names]
    with counted(monkeypatch) as turns:
        turns.step_with(monkeypatch, memory_views, "recent")
        operations = StoredJobs(store(), cast("Registry", lives))
        told = await operations.jobs(endpoint=None, states=(), limit=7)
        whole = await operations.jobs(endpoint=None, states=(), limit=1000)

    assert [job["endpoint"] for job in told] == [f"m{number}" for number in range(49, 42, -1)]
    assert told == whole[:7]
    assert len({job["id"] for job in whole}) == ENDPOINTS * JOBS
    moments = [job["created"] for job in whole]
    assert moments == sorted(moments, reverse=True)
    assert turns.steps == 100
    assert turns.longest <= 2
