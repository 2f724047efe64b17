"""Jobs in Redis beside newer activators, after long absences, and among those who were given up."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from activator.core.job_ids import endpoint_of
from activator.core.jobs import FAULT, RETRY, JobState
from activator.errors import StoreUnavailable
from activator.queueing.jobs import Created, NewJob
from activator.queueing.redis_job_running import Running
from tests.contract.jobs.audit import audit, leftovers
from tests.contract.jobs.stage import (
    AGE,
    ENVELOPE,
    POLICY,
    RedisStage,
    admitted,
    answered,
    begun,
    ids_in_line,
    job_id,
)
from tests.faults import Faulty
from tests.redis_server import opened_link

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = "k" * 64


@asynccontextmanager
async def staged() -> AsyncIterator[RedisStage]:
    async with opened_link() as link:
        stage = RedisStage(link)
        yield stage
        await stage.aclose()


async def newer(stage: RedisStage, id_: str) -> None:
    """As a newer activator would have written it."""
    key = stage.link.keys.of(endpoint_of(id_) or "", "jobs", "job", id_)
    await stage.link.command("HSET", key, "v", "2", "s", "dreaming")


# --- versions


async def test_what_a_newer_activator_wrote_is_left_alone() -> None:
    async with staged() as stage:
        a = stage.open("a")
        first, strange, last = [await job_id(a, b"body") for _ in range(3)]
        held = await begun(a)
        assert held.id == first
        await newer(stage, strange)
        before = await stage.link.command(
            "HGETALL", stage.link.keys.of("m", "jobs", "job", strange)
        )

        assert await ids_in_line(a) == [last]
        for asked in (a.get, a.page, a.retry, a.detach, a.join):
            with pytest.raises(StoreUnavailable, match="newer"):
                await asked(strange)
        with pytest.raises(StoreUnavailable, match="newer"):
            await a.cancel(strange, reason="", detail="")
        assert [each.job.id for each in await a.recent("m")] == [last, first]
        stage.offset += POLICY.ttl + POLICY.retention + 1
        await a.sweep("m")

        key = stage.link.keys.of("m", "jobs", "job", strange)
        assert await stage.link.command("HGETALL", key) == before


async def test_a_key_of_a_newer_job_is_neither_joined_nor_taken() -> None:
    async with staged() as stage:
        a = stage.open("a")
        await newer(stage, await job_id(a, b"body", key=KEY))

        with pytest.raises(StoreUnavailable, match="newer"):
            await admitted(a, b"body", key=KEY)

        assert len(await stage.link.command("KEYS", f"{stage.link.keys.prefix}:*:job:*")) == 1


async def test_a_claim_that_became_newer_is_no_claim_of_ours() -> None:
    async with staged() as stage:
        a = stage.open("a")
        id_ = await job_id(a)
        claim = await begun(a)
        await newer(stage, id_)

        with pytest.raises(StoreUnavailable, match="newer"):
            await a.finish(claim)
        assert await a.requeue_claims_of("a", "m") == []


# --- long absences


async def test_what_lapsed_while_nobody_swept_is_taken_off_the_sums() -> None:
    async with staged() as stage:
        a = stage.open("a")
        gone, stays = await job_id(a, b"x" * 1000, key=KEY), await job_id(a, b"y" * 10)
        keys = stage.link.keys
        for kind in ("job", "env", "body", "ev"):
            await stage.link.command("DEL", keys.of("m", "jobs", kind, gone))

        assert await a.get(gone) is None
        assert await a.place(gone) == 1  # until somebody looks
        assert await ids_in_line(a) == [stays]
        assert isinstance(await admitted(a, b"another", key=KEY), Created)
        stage.offset += POLICY.ttl + 1
        await a.sweep("m")

        assert await audit(stage.link) == []
        stage.offset += POLICY.retention + 1
        await a.sweep("m")
        assert await leftovers(stage.link) == []


async def test_an_upload_that_lapsed_is_taken_off_the_sums() -> None:
    async with staged() as stage:
        a = stage.open("a")
        upload = a.upload("m")
        await upload.write(b"x" * 600_000)
        assert await stage.bytes_kept() > 500_000
        assert await audit(stage.link) == []
        await stage.link.command("DEL", stage.link.keys.of("m", "jobs", "body", upload.job_id))

        await a.sweep("m")

        assert await leftovers(stage.link) == []


async def test_pieces_of_a_body_that_lapsed_make_no_job() -> None:
    async with staged() as stage:
        a = stage.open("a")
        uploads = [a.upload("m"), a.upload("m")]
        for upload in uploads:
            await upload.write(b"x" * 300_000)
            body = stage.link.keys.of("m", "jobs", "body", upload.job_id)
            await stage.link.command("DEL", body)

        with pytest.raises(StoreUnavailable):
            await uploads[0].write(b"y" * 300_000)
        with pytest.raises(StoreUnavailable):
            await a.create(NewJob(ENVELOPE), uploads[1])

        await a.sweep("m")
        assert await leftovers(stage.link) == []


async def test_an_endpoint_that_nobody_serves_any_more_vanishes_by_itself() -> None:
    async with staged() as stage:
        a = stage.open("a")
        await job_id(a, b"x", key=KEY, webhook="https://hooks.example.com/x")
        await answered(a, await begun(a), b"y")
        await job_id(a)
        await a.requeue(await begun(a), reason="r", detail="d", delay=50.0)
        await job_id(a, detached=False, reading=True)
        await begun(a)
        upload = a.upload("m")
        await upload.write(b"x" * 300_000)

        longest = POLICY.ttl + POLICY.retention + 2 * 86_400
        for name in await leftovers(stage.link):
            left = await stage.link.command("PTTL", name)
            assert 0 < left <= longest * 1000, name


# --- who was given up, and was not gone


async def test_readers_who_were_taken_for_gone_are_counted_again() -> None:
    async with staged() as stage:
        a, b = stage.open("a"), stage.open("b")
        id_ = await job_id(a, detached=False, reading=True)
        await b.requeue_claims_of("a", "m")
        stage.offset += POLICY.join_grace - 1

        await a.sweep("m")

        record = await b.get(id_)
        assert record is not None
        assert (record.job.readers, record.job.unread_since) == (1, 0.0)
        assert await b.claimants("m") == {"a"}
        stage.offset += POLICY.join_grace + 1
        assert (await b.sweep("m")).ended == ()
        assert await audit(stage.link) == []


async def test_readers_of_jobs_that_are_gone_are_not_looked_for_for_ever() -> None:
    async with staged() as stage:
        a = stage.open("a")
        id_ = await job_id(a, reading=True)
        await a.cancel(id_, reason="cancelled", detail="")
        stage.offset += POLICY.retention + 1
        await a.sweep("m")
        await a.leave(id_)

        await a.sweep("m")
        assert await leftovers(stage.link) == []


async def test_a_job_without_its_holder_can_be_told_from_outside() -> None:
    async with staged() as stage:
        dead, b = stage.open("dead"), stage.open("b")
        id_ = await job_id(dead)
        await begun(dead)
        await job_id(dead, detached=False, reading=True)

        assert await b.claimants("m") == {"dead"}
        (requeued,) = await b.requeue_claims_of("dead", "m")

        assert (requeued.id, requeued.state) == (id_, JobState.QUEUED)
        assert await b.claimants("m") == frozenset()
        assert (await b.claim("m", 5, age=AGE)).claims[0].id == id_


# --- records that nobody can read


async def test_a_record_that_cannot_be_read_is_given_up_in_the_end_and_keeps_no_other_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with staged() as stage:
        a = stage.open("a")
        first, odd, last = [await job_id(a, b"body") for _ in range(3)]
        envelope = stage.link.keys.of("m", "jobs", "env", odd)
        await stage.link.command("SET", envelope, b"1{}")

        claims = (await a.claim("m", 3, age=AGE)).claims

        assert [claim.id for claim in claims] == [first, last]
        key = stage.link.keys.of("m", "jobs", "job", odd)
        assert await stage.link.command("HMGET", key, "s", "h") == [b"queued", None]
        for _ in range(POLICY.attempts - 1):
            assert (await a.claim("m", 3, age=AGE)).claims == ()
            stage.offset += RETRY.cap + 1
            assert (await a.claim("m", 3, age=AGE)).claims == ()
        told = [one for one in caplog.records if one.__dict__["action"] == "job_not_understood"]
        assert [one.__dict__["job"] for one in told] == [odd] * POLICY.attempts
        assert await stage.link.command("HMGET", key, "s", "r") == [b"failed", FAULT.encode()]


async def test_an_envelope_of_a_newer_activator_costs_no_attempt_and_is_left_to_it() -> None:
    async with staged() as stage:
        a = stage.open("a")
        first, strange, last = [await job_id(a, b"body") for _ in range(3)]
        key = stage.link.keys.of("m", "jobs", "job", strange)
        before = await stage.link.command("HGET", key, "a")
        await stage.link.command("SET", stage.link.keys.of("m", "jobs", "env", strange), b"2{}")

        claims = (await a.claim("m", 3, age=AGE)).claims

        assert [claim.id for claim in claims] == [first, last]
        for _ in range(POLICY.attempts + 1):
            assert (await a.claim("m", 3, age=AGE)).claims == ()
            values = await stage.link.command("HMGET", key, "s", "h", "a")
            assert values == [b"queued", None, before]
            assert await stage.link.command("ZCARD", stage.link.keys.of("m", "jobs") + ":line") == 0
            stage.offset += RETRY.cap + 1


async def test_what_was_claimed_beside_a_record_that_met_a_fault_of_ours_is_claimed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with staged() as stage:
        a = stage.open("a")
        first, odd = [await job_id(a, b"body") for _ in range(2)]
        await stage.link.command("SET", stage.link.keys.of("m", "jobs", "env", odd), b"1{}")
        Faulty(monkeypatch, Running, "_pass_over")
        with pytest.raises(RuntimeError):
            await a.claim("m", 2, age=AGE)

        assert [claim.id for claim in (await a.claim("m", 2, age=AGE)).claims] == [first]


async def test_a_hook_whose_record_cannot_be_read_keeps_no_other_from_being_called(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with staged() as stage:
        a = stage.open("a")
        odd, other = [await job_id(a, webhook="https://hooks.example.com") for _ in range(2)]
        for _ in (odd, other):
            await answered(a, await begun(a), b"x")
        await stage.link.command("SET", stage.link.keys.of("m", "jobs", "env", odd), b"1{}")

        due = await a.hooks_due("m", 8, lease=30.0)

        assert [hook.record.job.id for hook in due] == [other]
        told = [one for one in caplog.records if one.__dict__["action"] == "job_not_understood"]
        assert [one.__dict__["job"] for one in told] == [odd]
