"""What every JobStore promises of a job's way from upload to result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from activator.core.job_ids import endpoint_of
from activator.core.jobs import JobState, Outcome, Superseded
from activator.errors import BodyTooLarge, QueueFull
from activator.queueing.jobs import (
    NOTHING,
    Claim,
    Created,
    NewJob,
    Output,
    ResultHead,
    ResultTooLarge,
)
from tests.contract.jobs.stage import (
    AGE,
    ENVELOPE,
    HEAD,
    POLICY,
    admitted,
    answered,
    begun,
    body_of,
    claimed,
    created,
    ids_in_line,
    job_id,
    result_of,
)

if TYPE_CHECKING:
    from activator.queueing.jobs import JobStore
    from tests.contract.jobs.stage import Stage

FAILURE = Outcome(JobState.FAILED, "upstream_timeout", "not one byte")


async def test_a_job_is_there_once_it_is_created(a: JobStore, b: JobStore) -> None:
    upload = a.upload("m")
    await upload.write(b"body")
    made = await a.create(NewJob(ENVELOPE, urgency=5), upload)

    assert isinstance(made, Created)
    assert made.claim is None
    job = made.record.job
    assert job.id == upload.job_id
    assert endpoint_of(job.id) == "m"
    assert (job.state, job.attempt, job.urgency, job.detached) == (JobState.QUEUED, 1, 5, True)
    assert job.expires == pytest.approx(job.created + POLICY.ttl)
    assert (made.record.envelope, made.record.body_bytes) == (ENVELOPE, 4)
    assert await b.get(job.id) == made.record


async def test_an_unknown_id_is_nothing(a: JobStore) -> None:
    for id_ in ("m.AAAAAAAAAAAAAAAAAAAAAA", "", "m", "no id", "}{.AAAAAAAAAAAAAAAAAAAAAA"):
        assert await a.get(id_) is None
        assert await a.cancel(id_, reason="", detail="") is None
        assert await a.retry(id_) is None
        assert await a.detach(id_) is None
        assert await a.join(id_) is None
        assert await a.page(id_) is None
        assert await a.events(id_) is None
        assert await a.place(id_) is None
        await a.leave(id_)
        await a.hook_done(id_)
        await a.hook_later(id_, delay=1.0)


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([], id="nothing"),
        pytest.param([b"\x00\xff\r\n"], id="small"),
        pytest.param([b"a", b"", b"bc"], id="pieces"),
        pytest.param([b"x" * 300_000, b"y" * 700_000, b"z"], id="large"),
        pytest.param([bytes(range(256)) * 4096], id="one large piece"),
    ],
)
async def test_a_body_comes_back_as_it_was(a: JobStore, b: JobStore, chunks: list[bytes]) -> None:
    record = await created(a, *chunks)
    assert record.body_bytes == sum(map(len, chunks))

    claim = await claimed(b)

    assert await body_of(b, claim) == b"".join(chunks)
    assert await body_of(b, claim) == b"".join(chunks)


async def test_a_job_goes_from_claim_to_result(a: JobStore, b: JobStore) -> None:
    id_ = await job_id(a, b"question")
    claim = await claimed(b, cold=True)
    assert claim.record.job.state is JobState.ACTIVATING
    job = await b.begin(claim)
    assert (job.state, job.began > 0) == (JobState.RUNNING, True)
    await b.append(claim, Output(0, HEAD, (b"a",)))
    await b.append(claim, Output(2, None, (b"nsw", b"er")))
    job = await b.finish(claim, output=Output(4, None, (b"!",)), trailers=(b"X: y",))

    assert (job.state, job.status, job.ended > 0) == (JobState.SUCCEEDED, 200, True)
    page = await a.page(id_)
    assert page is not None
    assert (page.job, page.head) == (job, HEAD)
    assert page.chunks == (b"a", b"nsw", b"er", b"!")
    assert page.outcome is not None
    assert (page.outcome.state, page.trailers) == (JobState.SUCCEEDED, (b"X: y",))
    record = await a.get(id_)
    assert record is not None
    assert (record.job, record.result_bytes) == (job, 7)


async def test_a_job_can_be_claimed_by_its_creator_at_once(a: JobStore, b: JobStore) -> None:
    await job_id(a)
    made = await admitted(a, claim=True, cold=True)

    assert isinstance(made, Created)
    assert isinstance(made.claim, Claim)
    assert made.record.job.state is JobState.ACTIVATING
    assert made.claim.record == made.record
    assert (await a.begin(made.claim)).state is JobState.RUNNING
    assert len(await ids_in_line(b)) == 1


# --- order


async def test_claims_come_in_order_of_urgency_and_arrival(a: JobStore, b: JobStore) -> None:
    late = await job_id(a, urgency=5)
    third = await job_id(b, urgency=4)
    first = await job_id(a, urgency=3)
    second = await job_id(b, urgency=3)

    assert await ids_in_line(a) == [first, second, third, late]


async def test_waiting_makes_up_for_urgency(a: JobStore, stage: Stage) -> None:
    patient = await job_id(a, urgency=4)
    stage.offset += AGE - 5
    early = await job_id(a, urgency=3)
    stage.offset += 10
    late = await job_id(a, urgency=3)

    assert await ids_in_line(a) == [early, patient, late]


async def test_what_a_client_has_waited_before_counts(a: JobStore) -> None:
    usual = await job_id(a)
    before = await job_id(a, waited=5.0)

    assert await ids_in_line(a) == [before, usual]


async def test_another_age_puts_the_line_in_another_order(a: JobStore, stage: Stage) -> None:
    patient = await job_id(a, urgency=4, age=AGE)
    stage.offset += 1000
    urgent = await job_id(a, urgency=3, age=AGE)

    assert await ids_in_line(a, age=AGE) == [patient, urgent]
    assert await ids_in_line(a, age=0.0) == [urgent, patient]
    patient_too = await job_id(a, urgency=4, age=0.0)
    assert await ids_in_line(a, age=0.0) == [urgent, patient, patient_too]
    assert await ids_in_line(a, age=AGE) == [patient, urgent, patient_too]


async def test_nobody_claims_what_another_has(a: JobStore, b: JobStore) -> None:
    ids = [await job_id(a) for _ in range(10)]

    mine = (await a.claim("m", 4, age=AGE)).claims
    theirs = (await b.claim("m", 100, age=AGE)).claims

    assert [claim.id for claim in mine] == ids[:4]
    assert [claim.id for claim in theirs] == ids[4:]
    assert (await a.claim("m", 100, age=AGE)).claims == ()
    assert (await a.claim("other", 100, age=AGE)).claims == ()


async def test_only_what_comes_before_is_claimed(a: JobStore) -> None:
    usual = await created(a)
    urgent = await job_id(a, urgency=2)
    before = usual.job.arrived + 3 * AGE

    claims = (await a.claim("m", 5, age=AGE, before=before)).claims

    assert [claim.id for claim in claims] == [urgent]


async def test_a_claim_given_back_is_in_its_place_again(a: JobStore, b: JobStore) -> None:
    ids = [await job_id(a) for _ in range(3)]
    claim = await claimed(a, cold=True)
    assert claim.id == ids[0]

    await a.give_back(claim)
    await a.give_back(claim)

    record = await b.get(ids[0])
    assert record is not None
    assert (record.job.state, record.job.attempt) == (JobState.QUEUED, 1)
    assert await ids_in_line(b) == ids
    with pytest.raises(Superseded):
        await a.begin(claim)


async def test_the_place_counts_who_comes_before(a: JobStore, b: JobStore) -> None:
    ids = [await job_id(a) for _ in range(4)]
    assert [await b.place(id_) for id_ in ids] == [1, 2, 3, 4]

    first = await claimed(a)
    assert [await b.place(id_) for id_ in ids] == [1, 2, 3, 4]

    await a.begin(first)
    assert [await b.place(id_) for id_ in ids] == [None, 1, 2, 3]


async def test_who_is_created_is_told_its_place(a: JobStore, b: JobStore) -> None:
    for store, urgency, claim, place in (
        (a, 5, False, 1),
        (b, 5, False, 2),
        (a, 1, False, 1),
        (b, 3, True, 1),
    ):
        admission = await admitted(store, b"x", urgency=urgency, claim=claim)
        assert isinstance(admission, Created)
        assert admission.place == await a.place(admission.record.job.id) == place


async def test_a_full_line_refuses_the_next(a: JobStore, stage: Stage) -> None:
    await job_id(a, most=2)
    await job_id(a, most=2)
    kept = await stage.bytes_kept()

    with pytest.raises(QueueFull) as refusal:
        await admitted(a, b"x" * 600_000, most=2)
    assert refusal.value.retry_after is not None
    assert await stage.bytes_kept() == kept

    await begun(a)
    await job_id(a, most=2)


# --- who may write


async def test_an_older_claim_can_do_nothing(a: JobStore, b: JobStore) -> None:
    id_ = await job_id(a, b"body")
    old = await claimed(a)
    await a.requeue_claims_of("a", "m")
    new = await claimed(b)
    assert new.id == id_

    with pytest.raises(Superseded):
        await body_of(a, old)
    with pytest.raises(Superseded):
        await a.begin(old)
    with pytest.raises(Superseded):
        await a.append(old, Output(0, HEAD, (b"x",)))
    with pytest.raises(Superseded):
        await a.finish(old, FAILURE)
    with pytest.raises(Superseded):
        await a.requeue(old, reason="r", detail="d")
    with pytest.raises(Superseded):
        await a.give_back(old)

    assert await body_of(b, new) == b"body"


async def test_whatever_is_said_twice_is_done_once(a: JobStore) -> None:
    id_ = await job_id(a, b"body")
    claim = await claimed(a)
    assert await a.begin(claim) == await a.begin(claim)
    for _ in range(2):
        await a.append(claim, Output(0, HEAD, (b"a",)))
    await a.append(claim, Output(1, None, (b"a", b"b")))
    first = await a.finish(claim, output=Output(2, None, (b"b", b"c")))
    again = await a.finish(claim, output=Output(2, None, (b"b", b"c")))

    assert first == again
    assert await result_of(a, id_) == b"abc"
    events = await a.events(id_)
    assert events is not None
    assert [event.kind for event in events] == ["queued", "running", "answering", "succeeded"]


async def test_a_result_beyond_its_bound_is_refused_whole(a: JobStore, stage: Stage) -> None:
    id_ = await job_id(a)
    claim = await begun(a)
    await a.append(claim, Output(0, HEAD, (b"x" * (POLICY.max_result - 10),)))
    kept = await stage.bytes_kept()

    with pytest.raises(ResultTooLarge):
        await a.append(claim, Output(2, None, (b"y" * 5, b"z" * 6)))
    assert await stage.bytes_kept() == kept
    page = await a.page(id_, at=2)
    assert page is not None
    assert (page.chunks, page.next) == ((), 2)

    await a.append(claim, Output(2, None, (b"y" * 5, b"z" * 5)))


async def test_a_body_beyond_its_bound_is_refused(a: JobStore, stage: Stage) -> None:
    upload = a.upload("m")
    await upload.write(b"x" * POLICY.max_body)

    with pytest.raises(BodyTooLarge):
        await upload.write(b"y")

    assert await stage.bytes_kept() == 0


async def test_a_discarded_upload_leaves_nothing(a: JobStore, stage: Stage) -> None:
    upload = a.upload("m")
    await upload.write(b"x" * 1_000_000)
    await upload.discard()
    await upload.discard()

    assert await stage.bytes_kept() == 0


async def test_an_answer_without_a_body_has_a_head(a: JobStore) -> None:
    id_ = await job_id(a)
    claim = await begun(a)
    await answered(a, claim, head=ResultHead(status=204))

    page = await a.page(id_)
    assert page is not None
    assert (page.head, page.chunks, page.next) == (ResultHead(status=204), (), 1)
    assert page.outcome is not None


# --- attempts


async def test_a_requeued_job_waits_for_its_back_off(a: JobStore, stage: Stage) -> None:
    id_ = await job_id(a, b"body")
    other = await job_id(a)
    claim = await begun(a)
    await a.append(claim, Output(0, HEAD, (b"half",)))

    job = await a.requeue(claim, reason="upstream_unreachable", detail="refused", delay=10.0)

    assert (job.state, job.attempt, job.reason) == (
        JobState.QUEUED,
        2,
        "upstream_unreachable",
    )
    assert await ids_in_line(a) == [other]
    assert await a.place(id_) is None
    claims = await a.claim("m", 0, age=AGE)
    assert claims.again_in == pytest.approx(10.0, abs=2.0)
    page = await a.page(id_)
    assert page is not None
    assert (page.head, page.chunks) == (None, ())

    stage.offset += 11
    claim = await claimed(a)
    assert (claim.id, claim.attempt) == (id_, 2)
    assert await body_of(a, claim) == b"body"


async def test_after_its_attempts_a_job_is_a_dead_letter_that_can_be_retried(
    a: JobStore, b: JobStore
) -> None:
    id_ = await job_id(a, b"body")
    for attempt in (1, 2, 3):
        claim = await claimed(a, cold=True)
        assert claim.attempt == attempt
        job = await a.requeue(claim, reason="start_failed", detail="exit 1", delay=0.0)
    assert (job.state, job.reason, job.detail) == (JobState.FAILED, "start_failed", "exit 1")
    assert await ids_in_line(b) == []

    retried = await b.retry(id_)

    assert retried is not None
    assert (retried.state, retried.attempt) == (JobState.QUEUED, 4)
    assert await b.retry(id_) == retried
    claim = await begun(b)
    assert await body_of(b, claim) == b"body"
    await answered(b, claim, b"done")
    assert await result_of(a, id_) == b"done"


async def test_only_a_failure_can_be_retried(a: JobStore) -> None:
    id_ = await job_id(a)
    await answered(a, await begun(a), b"x")

    job = await a.retry(id_)

    assert job is not None
    assert job.state is JobState.SUCCEEDED


async def test_a_failure_keeps_no_result(a: JobStore) -> None:
    id_ = await job_id(a)
    claim = await begun(a)
    await a.append(claim, Output(0, HEAD, (b"half an ans",)))

    job = await a.finish(claim, FAILURE, NOTHING)

    assert (job.state, job.reason, job.detail) == (
        JobState.FAILED,
        "upstream_timeout",
        "not one byte",
    )
    page = await a.page(id_)
    assert page is not None
    assert (page.head, page.chunks, page.outcome) == (None, (), FAILURE)


# --- cancelling


async def test_a_queued_job_that_is_cancelled_is_never_claimed(a: JobStore, b: JobStore) -> None:
    id_ = await job_id(a)
    job = await b.cancel(id_, reason="cancelled", detail="by hand")

    assert job is not None
    assert (job.state, job.reason) == (JobState.CANCELLED, "cancelled")
    assert await ids_in_line(a) == []
    assert await b.cancel(id_, reason="again", detail="") == job


async def test_a_cancelled_job_refuses_its_holder(a: JobStore, b: JobStore) -> None:
    id_ = await job_id(a)
    waiting = await claimed(a)
    await b.cancel(id_, reason="cancelled", detail="")
    with pytest.raises(Superseded):
        await a.begin(waiting)

    other = await job_id(a)
    claim = await begun(a)
    await a.append(claim, Output(0, HEAD, (b"x",)))
    await b.cancel(other, reason="cancelled", detail="")
    with pytest.raises(Superseded):
        await a.append(claim, Output(2, None, (b"y",)))
    page = await b.page(other, attempt=1, at=2)
    assert page is not None
    assert page.outcome is not None
    assert page.outcome.state is JobState.CANCELLED


async def test_what_has_ended_is_not_cancelled(a: JobStore) -> None:
    id_ = await job_id(a)
    await answered(a, await begun(a), b"x")

    job = await a.cancel(id_, reason="cancelled", detail="")

    assert job is not None
    assert job.state is JobState.SUCCEEDED
    assert await result_of(a, id_) == b"x"
