"""What every JobStore promises of jobs that somebody waits for, beside those that are detached."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from activator.errors import QueueFull
from activator.queueing.jobs import Claimant, Detached, Joined, Work
from tests.contract.jobs.stage import admitted, job_id
from tests.support import eventually

if TYPE_CHECKING:
    from activator.queueing.jobs import JobStore, Told


async def test_who_waits_and_what_is_detached_do_not_fill_each_others_line(a: JobStore) -> None:
    awaited = [await job_id(a, most=2, detached=False, reading=True, claim=True) for _ in range(2)]
    for _ in range(2):
        await job_id(a, most=2)

    for detached in (True, False):
        with pytest.raises(QueueFull):
            await admitted(a, most=2, detached=detached)
    await a.detach(awaited[0])
    await job_id(a, most=2, detached=False)
    with pytest.raises(QueueFull):
        await admitted(a, most=3)


async def test_where_nobody_more_may_wait_one_can_still_join(a: JobStore, b: JobStore) -> None:
    id_ = await job_id(a, b"x", key="k" * 64, detached=False, reading=True)

    joined = await admitted(b, b"x", key="k" * 64, detached=False, reading=True, crowded=True)

    assert isinstance(joined, Joined)
    assert joined.record.job.id == id_
    with pytest.raises(QueueFull):
        await admitted(b, b"x", detached=False, reading=True, crowded=True)


async def test_the_holder_is_told_when_nobody_waits_for_its_job_any_more(
    a: JobStore, b: JobStore
) -> None:
    told: list[Told] = []
    listening = a.watch("m", told.append)
    id_ = await job_id(a, detached=False, reading=True, claim=True)
    await eventually(lambda: Work() in told)

    await b.detach(id_)

    await eventually(lambda: Detached(id_) in told)
    listening.close()


async def test_others_hear_of_a_job_that_was_never_in_line(a: JobStore, b: JobStore) -> None:
    told: list[Told] = []
    listening = b.watch("m", told.append)
    await eventually(lambda: Work() in told)

    await job_id(a, detached=False, claim=True)

    await eventually(lambda: Claimant() in told)
    listening.close()
