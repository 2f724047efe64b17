"""What every JobStore promises of idempotency keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from activator.core.jobs import JobState, Outcome
from activator.queueing.jobs import Conflict, Created, Joined
from tests.contract.jobs.stage import (
    admitted,
    answered,
    begun,
    claimed,
    job_id,
    result_of,
)

if TYPE_CHECKING:
    from activator.queueing.jobs import JobStore
    from tests.contract.jobs.stage import Stage


KEY = "k" * 64
FAILURE = Outcome(JobState.FAILED, "upstream_timeout", "not one byte")


async def test_the_same_key_and_body_join_whatever_the_job_is_doing(
    a: JobStore, b: JobStore, stage: Stage
) -> None:
    id_ = await job_id(a, b"body", key=KEY)
    kept = await stage.bytes_kept()

    async def joins() -> None:
        admission = await admitted(b, b"bo", b"dy", key=KEY)
        assert isinstance(admission, Joined)
        assert admission.record.job.id == id_

    await joins()
    assert await stage.bytes_kept() == kept
    claim = await claimed(a, cold=True)
    await joins()
    await a.begin(claim)
    await joins()
    await answered(a, claim, b"answer")
    await joins()
    assert await result_of(b, id_) == b"answer"
    assert len(await a.recent("m")) == 1


async def test_the_same_key_with_another_body_is_a_conflict(a: JobStore, b: JobStore) -> None:
    id_ = await job_id(a, b"body", key=KEY)

    assert await admitted(b, b"bodx", key=KEY) == Conflict(id_)
    assert await admitted(b, b"", key=KEY) == Conflict(id_)
    assert len(await a.recent("m")) == 1


async def test_another_key_or_endpoint_is_another_job(a: JobStore) -> None:
    await job_id(a, b"body", key=KEY)

    assert isinstance(await admitted(a, b"body", key="other"), Created)
    assert isinstance(await admitted(a, b"body", key=KEY, endpoint="n"), Created)
    assert isinstance(await admitted(a, b"body"), Created)


@pytest.mark.parametrize("ending", ["failed", "requeued", "cancelled", "expired", "deleted"])
async def test_what_is_no_complete_answer_frees_the_key(
    a: JobStore, b: JobStore, stage: Stage, ending: str
) -> None:
    id_ = await job_id(a, b"body", key=KEY)
    if ending == "failed":
        await a.finish(await begun(a), FAILURE)
    elif ending == "requeued":
        for _ in range(3):
            await a.requeue(await begun(a), reason="r", detail="d", delay=0.0)
    elif ending == "cancelled":
        await a.cancel(id_, reason="cancelled", detail="")
    elif ending == "expired":
        stage.offset += 1001
        await a.sweep("m")
    else:
        await answered(a, await begun(a), b"x")
        stage.offset += 101
        await a.sweep("m")

    again = await admitted(b, b"another body", key=KEY)

    assert isinstance(again, Created)
    assert again.record.job.id != id_
    joined = await admitted(a, b"another body", key=KEY)
    assert isinstance(joined, Joined)


async def test_a_retried_failure_does_not_take_its_key_back(a: JobStore) -> None:
    id_ = await job_id(a, b"body", key=KEY)
    await a.finish(await begun(a), FAILURE)
    second = await job_id(a, b"another", key=KEY)
    await a.retry(id_)
    await a.cancel(id_, reason="cancelled", detail="")

    joined = await admitted(a, b"another", key=KEY)

    assert isinstance(joined, Joined)
    assert joined.record.job.id == second
