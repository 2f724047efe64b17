"""What every JobStore promises of readers, time, activators that are gone, and room."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

import pytest

from activator.core.jobs import GONE, JobState, Outcome
from activator.errors import StoreUnavailable
from activator.queueing.jobs import Created, Joined, Output
from tests.contract.jobs.stage import (
    AGE,
    HEAD,
    MAX_BYTES,
    admitted,
    answered,
    begun,
    body_of,
    claimed,
    created,
    ids_in_line,
    job_id,
)

if TYPE_CHECKING:
    from activator.queueing.jobs import Claim, JobStore
    from tests.contract.jobs.stage import Stage

KEY = "k" * 64
FAILURE = Outcome(JobState.FAILED, "upstream_timeout", "not one byte")


# --- readers


async def test_a_job_that_nobody_waits_for_is_cancelled_after_its_grace(
    a: JobStore, b: JobStore, stage: Stage
) -> None:
    queued = await job_id(a, detached=False, reading=True)
    claim = await begun(a)
    other = await job_id(a, detached=False, reading=True)
    await a.leave(queued)
    await a.leave(other)
    assert (await b.sweep("m")).ended == ()

    stage.offset += 61
    swept = await b.sweep("m")

    assert {job.id for job in swept.ended} == {queued, other}
    assert {job.reason for job in swept.ended} == {"unread"}
    assert {job.state for job in swept.ended} == {JobState.CANCELLED}
    assert claim.id == queued


async def test_whoever_joins_in_time_saves_it(a: JobStore, b: JobStore, stage: Stage) -> None:
    id_ = await job_id(a, b"x", key=KEY, detached=False, reading=True)
    await a.leave(id_)
    stage.offset += 50
    joined = await admitted(b, b"x", key=KEY, detached=False, reading=True)
    assert isinstance(joined, Joined)
    assert (joined.record.job.readers, joined.record.job.unread_since) == (1, 0.0)

    stage.offset += 50
    assert (await b.sweep("m")).ended == ()
    await b.leave(id_)
    stage.offset += 50
    assert (await b.sweep("m")).ended == ()
    stage.offset += 11
    assert [job.id for job in (await b.sweep("m")).ended] == [id_]


async def test_readers_are_counted_in_each_activator(a: JobStore, b: JobStore) -> None:
    id_ = await job_id(a, detached=False, reading=True)
    await a.join(id_)
    job = await b.join(id_)
    assert job is not None
    assert job.readers == 2
    await a.leave(id_)
    await b.leave(id_)
    await b.leave(id_)

    record = await a.get(id_)
    assert record is not None
    assert (record.job.readers, record.job.unread_since) == (1, 0.0)
    assert await b.claimants("m") == {"a"}

    await a.leave(id_)
    record = await a.get(id_)
    assert record is not None
    assert record.job.readers == 0
    assert record.job.unread_since > 0
    assert await b.claimants("m") == frozenset()


async def test_the_last_reader_that_is_told_an_error_takes_the_job_and_its_key_along(
    a: JobStore, b: JobStore
) -> None:
    said: dict[str, Any] = {"key": KEY, "detached": False, "reading": True}
    id_ = await job_id(a, b"x", **said)
    for store in (a, b):
        await admitted(store, b"x", **said)

    for store in (a, a, b):
        record = await a.get(id_)
        assert record is not None
        assert record.job.state is JobState.QUEUED
        assert await store.abandon(id_, reason="queue_timeout", detail="too long")

    record = await a.get(id_)
    assert record is not None
    assert (record.job.state, record.job.reason) == (JobState.CANCELLED, "queue_timeout")
    assert isinstance(await admitted(b, b"another", key=KEY), Created)


async def test_what_has_begun_is_not_abandoned_and_what_is_detached_is_only_left(
    a: JobStore,
) -> None:
    detached = await job_id(a, reading=True)
    assert await a.abandon(detached, reason="r", detail="d")
    assert await ids_in_line(a) == [detached]
    await answered(a, await begun(a), b"x")
    running = await job_id(a, detached=False, reading=True)
    await begun(a)
    assert not await a.abandon(running, reason="r", detail="d")
    record = await a.get(running)
    assert record is not None
    assert (record.job.state, record.job.readers) == (JobState.RUNNING, 1)
    assert not await a.abandon("m." + "A" * 28, reason="r", detail="d")


async def test_a_sweep_says_when_the_next_one_is_needed(a: JobStore, stage: Stage) -> None:
    assert (await a.sweep("m")).again_in == inf

    id_ = await job_id(a, b"x", webhook="https://hooks.example.com")
    assert 990 < (await a.sweep("m")).again_in <= 1000
    claim = await begun(a)
    assert (await a.sweep("m")).again_in == inf
    await answered(a, claim, b"y")
    swept = await a.sweep("m")
    assert swept.hooks_due
    assert 90 < swept.again_in <= 100
    await a.hooks_due("m", 1, lease=30.0)
    swept = await a.sweep("m")
    assert not swept.hooks_due
    assert 20 < swept.again_in <= 30
    await a.cancel(await job_id(a, webhook="https://hooks.example.com"), reason="", detail="")
    swept = await a.sweep("m")
    assert swept.hooks_due
    assert 20 < swept.again_in <= 30, "another one is due: that changes nothing for the first"
    await a.hook_done(id_)
    stage.offset += 101
    swept = await a.sweep("m")
    assert (swept.deleted, swept.again_in) == (2, inf)


async def test_detached_jobs_need_no_reader(a: JobStore, stage: Stage) -> None:
    never = await job_id(a)
    later = await job_id(a, detached=False, reading=True)
    job = await a.detach(later)
    assert job is not None
    assert job.detached
    await a.leave(later)

    stage.offset += 500
    assert (await a.sweep("m")).ended == ()
    assert await ids_in_line(a) == [never, later]


# --- time


async def test_what_waits_beyond_its_ttl_expires(a: JobStore, b: JobStore, stage: Stage) -> None:
    queued, held, running = [await job_id(a, b"x") for _ in range(3)]
    first = await claimed(a)
    assert first.id == queued
    await a.begin(await claimed(a))
    stage.offset += 1001

    swept = await b.sweep("m")

    assert {job.id for job in swept.ended} == {queued, running}
    assert {job.state for job in swept.ended} == {JobState.EXPIRED}
    assert (record := await a.get(held)) is not None
    assert record.job.state is JobState.RUNNING
    assert await ids_in_line(a) == []


async def test_what_has_ended_is_deleted_after_retention_and_leaves_nothing(
    a: JobStore, b: JobStore, stage: Stage
) -> None:
    done = await job_id(a, b"x" * 600_000, key=KEY)
    claim = await begun(a)
    failed, cancelled = await job_id(a, b"y"), await job_id(a, b"z")
    await answered(a, claim, b"answer")
    await a.finish(await begun(a), FAILURE)
    await a.cancel(cancelled, reason="cancelled", detail="")
    stage.offset += 99
    assert (await b.sweep("m")).deleted == 0
    stage.offset += 2

    assert (await b.sweep("m")).deleted == 3

    for id_ in (done, failed, cancelled):
        assert await a.get(id_) is None
        assert await a.page(id_) is None
        assert await a.events(id_) is None
    assert await a.recent("m") == []
    assert not any((await a.counts("m")).values())
    assert await stage.bytes_kept() == 0


async def test_bodies_go_when_they_cannot_be_needed_any_more(a: JobStore, stage: Stage) -> None:
    kept = await stage.bytes_kept()
    await job_id(a, b"x" * 1_000_000)
    await answered(a, await begun(a), b"y")
    assert await stage.bytes_kept() < kept + 10_000
    id_ = await job_id(a, b"x" * 1_000_000)
    await a.finish(await begun(a), FAILURE)
    assert await stage.bytes_kept() > kept + 1_000_000
    await a.retry(id_)
    await a.cancel(id_, reason="cancelled", detail="")
    assert await stage.bytes_kept() < kept + 20_000


async def test_the_store_refuses_what_it_has_no_room_for(a: JobStore, stage: Stage) -> None:
    megabytes = MAX_BYTES >> 20
    for _ in range(megabytes // 4 - 1):
        await job_id(a, b"x" * (4 << 20))
    kept = await stage.bytes_kept()

    with pytest.raises(StoreUnavailable):
        await admitted(a, b"x" * (4 << 20))
    assert await stage.bytes_kept() == kept
    running = await begun(a)
    with pytest.raises(StoreUnavailable):
        await a.append(running, Output(0, HEAD, (b"y" * (4 << 20),)))
    assert await stage.bytes_kept() == kept

    await a.cancel((await a.recent("m", states=[JobState.QUEUED]))[0].job.id, reason="", detail="")
    await answered(a, running, b"y" * (2 << 20))


# --- activators that are gone


async def test_what_a_dead_activator_held_waits_again_in_its_old_place(
    a: JobStore, b: JobStore
) -> None:
    ids = [await job_id(a, b"body") for _ in range(4)]
    running = await begun(a)
    waiting = await claimed(a, cold=True)
    other = await claimed(b)
    await a.append(running, Output(0, HEAD, (b"half",)))
    assert await b.claimants("m") == {"a", "b"}

    requeued = await b.requeue_claims_of("a", "m")

    assert {job.id: job.attempt for job in requeued} == {running.id: 2, waiting.id: 1}
    assert {job.state for job in requeued} == {JobState.QUEUED}
    assert {job.id: job.reason for job in requeued}[running.id] == GONE
    assert await b.requeue_claims_of("a", "m") == []
    assert await b.claimants("m") == {"b"}
    assert await ids_in_line(b) == [ids[0], ids[1], ids[3]]
    again = await claimed(b)
    assert (again.id, again.attempt) == (ids[0], 2)
    assert await body_of(b, again) == b"body"
    await b.begin(other)


async def test_a_dead_activators_readers_are_no_more(
    a: JobStore, b: JobStore, stage: Stage
) -> None:
    id_ = await job_id(a, detached=False, reading=True)
    await b.requeue_claims_of("a", "m")
    record = await b.get(id_)
    assert record is not None
    assert record.job.readers == 0
    assert record.job.unread_since > 0

    await a.leave(id_)
    assert await ids_in_line(b) == [id_]
    stage.offset += 61
    assert [job.id for job in (await b.sweep("m")).ended] == [id_]


async def test_a_job_that_kills_every_activator_is_given_up(a: JobStore, b: JobStore) -> None:
    id_ = await job_id(a)
    for _ in range(3):
        await begun(a)
        (job,) = await b.requeue_claims_of("a", "m")
    assert (job.id, job.state, job.attempt) == (id_, JobState.FAILED, 3)
    assert await ids_in_line(b) == []


# --- what operators see


async def test_jobs_are_counted_and_listed_by_state_the_latest_first(
    a: JobStore, b: JobStore
) -> None:
    records = [await created(a, owner=f"key-{number}") for number in range(6)]
    await answered(a, await begun(a), b"x")
    await a.finish(await begun(a), FAILURE)
    await begun(a)
    await claimed(a, cold=True)
    await a.cancel(records[4].job.id, reason="cancelled", detail="")

    counts = {state: count for state, count in (await b.counts("m")).items() if count}
    assert counts == {
        JobState.SUCCEEDED: 1,
        JobState.FAILED: 1,
        JobState.RUNNING: 1,
        JobState.ACTIVATING: 1,
        JobState.CANCELLED: 1,
        JobState.QUEUED: 1,
    }
    listed = await b.recent("m")
    assert [each.job.id for each in listed] == [each.job.id for each in reversed(records)]
    assert [each.envelope.owner for each in listed] == [f"key-{n}" for n in (5, 4, 3, 2, 1, 0)]
    assert [each.job.id for each in await b.recent("m", limit=2)] == [
        records[5].job.id,
        records[4].job.id,
    ]
    ended = await b.recent("m", states=[JobState.SUCCEEDED, JobState.FAILED])
    assert [each.job.id for each in ended] == [records[1].job.id, records[0].job.id]
    assert await b.recent("other") == []


# --- webhooks


async def test_a_webhook_is_due_when_its_job_has_ended(
    a: JobStore, b: JobStore, stage: Stage
) -> None:
    id_ = await job_id(a, webhook="https://hooks.example.com/x")
    await job_id(a)
    claims: list[Claim] = [await begun(a), await begun(a)]
    assert await b.hooks_due("m", 10, lease=30.0) == []
    for claim in claims:
        await answered(a, claim, b"x")

    (hook,) = await b.hooks_due("m", 10, lease=30.0)

    assert (hook.record.job.id, hook.tries) == (id_, 1)
    assert hook.record.envelope.webhook == "https://hooks.example.com/x"
    assert await a.hooks_due("m", 10, lease=30.0) == []
    await b.hook_later(id_, delay=5.0)
    stage.offset += 6
    (hook,) = await a.hooks_due("m", 10, lease=30.0)
    assert hook.tries == 2
    stage.offset += 31  # whoever had it has died
    (hook,) = await b.hooks_due("m", 10, lease=30.0)
    assert hook.tries == 3
    await b.hook_done(id_)
    stage.offset += 31
    assert await b.hooks_due("m", 10, lease=30.0) == []


async def test_webhooks_are_due_however_a_job_has_ended(a: JobStore, stage: Stage) -> None:
    for ending in ("failed", "cancelled", "expired"):
        id_ = await job_id(a, webhook="https://hooks.example.com/x")
        if ending == "failed":
            await a.finish(await begun(a), FAILURE)
        elif ending == "cancelled":
            await a.cancel(id_, reason="cancelled", detail="")
        else:
            stage.offset += 1001
            assert (await a.sweep("m")).hooks_due
        (hook,) = await a.hooks_due("m", 10, lease=30.0)
        assert hook.record.job.state == ending
        await a.hook_done(id_)
    assert (await a.claim("m", 1, age=AGE)).claims == ()
