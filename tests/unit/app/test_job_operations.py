"""Which jobs operators are told of, out of those of many endpoints."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from activator.app.job_operations import StoredJobs
from activator.core.jobs import Job
from activator.queueing.jobs import Envelope, Record
from tests.slicing import Turns, counted

if TYPE_CHECKING:
    from collections.abc import Collection

    import pytest

    from activator.core.jobs import JobState
    from activator.queueing.jobs import JobStore
    from activator.upstream.registry import Registry

JOBS = 20
"""Of each endpoint."""


class Store:
    """Endpoint number i has jobs of the moments i + 1, i + 101 and so on, and never waits."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    async def recent(
        self, endpoint: str, *, states: Collection[JobState], limit: int
    ) -> list[Record]:
        self._turns.step()
        number = int(endpoint[1:])
        jobs = (
            Job(
                f"{endpoint}.{round_}", endpoint, created=100.0 * round_ + number + 1.0, expires=1e9
            )
            for round_ in reversed(range(JOBS))
        )
        return [Record(job, Envelope(b"GET", b"/", b"h")) for job in jobs][:limit]


async def test_the_latest_of_all_endpoints_are_told_while_others_have_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lives = [SimpleNamespace(endpoint=SimpleNamespace(name=f"m{number}")) for number in range(50)]
    with counted(monkeypatch) as turns:
        operations = StoredJobs(cast("JobStore", Store(turns)), cast("Registry", lives))
        told = await operations.jobs(endpoint=None, states=(), limit=7)
        whole = await operations.jobs(endpoint=None, states=(), limit=1000)

    assert [job["endpoint"] for job in told] == [f"m{number}" for number in range(49, 42, -1)]
    assert told == whole[:7]
    assert len({job["id"] for job in whole}) == 50 * JOBS
    moments = [job["created"] for job in whole]
    assert moments == sorted(moments, reverse=True)
    assert turns.steps == 100
    assert turns.longest <= 2
