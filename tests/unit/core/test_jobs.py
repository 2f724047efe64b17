from __future__ import annotations

import pytest

from activator.core import jobs
from activator.core.job_upkeep import Due, due, look_again
from activator.core.jobs import (
    ENDED,
    GONE,
    SUCCESS,
    TRANSITIONS,
    WAITING,
    ForbiddenStep,
    Job,
    JobsPolicy,
    JobState,
    Outcome,
    Superseded,
)

POLICY = JobsPolicy(ttl=1000.0, retention=100.0, attempts=3, join_grace=60.0)
NEW = Job(id="model.x", endpoint="model", created=10.0, expires=1010.0, arrived=10.0)
ATTACHED = Job(id="model.y", endpoint="model", created=10.0, expires=1010.0, detached=False)
BROKEN = Outcome(JobState.FAILED, "upstream_timeout", "no byte")


def claimed(job: Job = NEW, *, holder: str = "a:1", cold: bool = False) -> Job:
    return jobs.claim(job, holder=holder, cold=cold, now=20.0).job


def running(job: Job = NEW, *, holder: str = "a:1") -> Job:
    return jobs.begin(claimed(job, holder=holder), holder=holder, now=21.0).job


def answered(job: Job) -> Job:
    return jobs.answer(job, holder="a:1", status=200, now=21.5).job


def failed_once(job: Job, *, holder: str = "a:1", delay: float = 0.0) -> Job:
    step = jobs.requeue(
        job,
        holder=holder,
        reason="start_failed",
        detail="exit 1",
        delay=delay,
        policy=POLICY,
        now=22.0,
    )
    return step.job


# --- the table


def test_every_state_is_in_the_table_and_either_waits_runs_or_has_ended() -> None:
    assert set(TRANSITIONS) == set(JobState)
    assert WAITING | ENDED | {JobState.RUNNING} == set(JobState)
    assert not WAITING & ENDED


def test_what_has_ended_stays_so_but_for_a_failure_that_is_retried() -> None:
    assert {state for state in ENDED if TRANSITIONS[state]} == {JobState.FAILED}


# --- the usual way


def test_a_job_is_queued_claimed_begun_answered_and_succeeds() -> None:
    new, first = jobs.created(NEW, now=10.0)
    assert first is not None
    assert (first.id, first.kind) == ("1-1", "queued")
    job, event = jobs.claim(new, holder="a:1", cold=True, now=11.0)
    assert (job.state, job.holder, event and event.id) == (JobState.ACTIVATING, "a:1", "1-2")
    job, _ = jobs.begin(job, holder="a:1", now=12.0)
    assert (job.state, job.began) == (JobState.RUNNING, 12.0)
    job, event = jobs.answer(job, holder="a:1", status=201, now=13.0)
    assert event is not None
    assert (job.status, event.kind, event.detail) == (201, "answering", "201")
    job, event = jobs.finish(job, holder="a:1", outcome=SUCCESS, now=14.0)
    assert event is not None
    assert (job.state, job.ended, job.holder, event.id) == (JobState.SUCCEEDED, 14.0, "", "1-5")


def test_a_warm_claim_changes_the_holder_and_tells_nothing() -> None:
    job, event = jobs.claim(NEW, holder="a:1", cold=False, now=11.0)
    assert (job.state, job.holder, event) == (JobState.QUEUED, "a:1", None)


def test_a_claim_given_back_keeps_attempt_and_place() -> None:
    job = jobs.give_back(claimed(cold=True), holder="a:1", now=30.0).job
    assert (job.state, job.attempt, job.holder) == (JobState.QUEUED, 1, "")
    assert job.arrived == NEW.arrived


# --- who may write


@pytest.mark.parametrize("step", ["begin", "answer", "finish", "requeue", "give_back"])
def test_only_the_holder_may_go_on(step: str) -> None:
    arguments: dict[str, dict[str, object]] = {
        "begin": {},
        "answer": {"status": 200},
        "finish": {"outcome": SUCCESS},
        "requeue": {"reason": "", "detail": "", "delay": 0.0, "policy": POLICY},
        "give_back": {},
    }
    for job in (NEW, claimed(holder="a:2"), claimed(holder="b:1")):
        with pytest.raises(Superseded):
            getattr(jobs, step)(job, holder="a:1", now=30.0, **arguments[step])


def test_a_step_made_twice_by_its_holder_is_made_once() -> None:
    begun = running()
    again = jobs.begin(begun, holder="a:1", now=99.0)
    assert again == (begun, None)
    seen = answered(begun)
    assert jobs.answer(seen, holder="a:1", status=200, now=99.0) == (seen, None)
    finished = jobs.finish(seen, holder="a:1", outcome=SUCCESS, now=23.0).job
    assert jobs.finish(finished, holder="a:1", outcome=SUCCESS, now=99.0) == (finished, None)
    requeued = failed_once(begun)
    assert failed_once(requeued) == requeued


def test_a_cancelled_job_lets_its_holder_do_nothing_more() -> None:
    cancelled = jobs.cancel(running(), reason="cancelled", detail="by hand", now=30.0).job
    assert cancelled.state is JobState.CANCELLED
    with pytest.raises(Superseded):
        jobs.finish(cancelled, holder="a:1", outcome=SUCCESS, now=31.0)
    assert jobs.cancel(cancelled, reason="", detail="", now=40.0) == (cancelled, None)


def test_what_the_table_does_not_know_is_a_bug() -> None:
    for unanswered in (claimed(), running()):
        with pytest.raises(ForbiddenStep):
            jobs.finish(unanswered, holder="a:1", outcome=SUCCESS, now=30.0)
    with pytest.raises(ForbiddenStep):
        jobs.claim(running(), holder="b:1", cold=False, now=30.0)
    with pytest.raises(ForbiddenStep):
        jobs.give_back(running(), holder="a:1", now=30.0)
    with pytest.raises(ForbiddenStep):
        jobs.answer(claimed(), holder="a:1", status=200, now=30.0)


# --- attempts


def test_a_failed_attempt_is_followed_by_the_next_after_its_delay() -> None:
    job = failed_once(running(), delay=5.0)
    assert (job.state, job.attempt, job.not_before) == (JobState.QUEUED, 2, 27.0)
    assert (job.began, job.status, job.reason) == (0.0, 0, "start_failed")


def test_the_last_attempt_ends_in_the_dead_letter_state() -> None:
    job = NEW
    for attempt in (1, 2, 3):
        assert job.attempt == attempt
        job = failed_once(running(job, holder=f"a:{attempt}"), holder=f"a:{attempt}")
    assert (job.state, job.attempt, job.detail) == (JobState.FAILED, 3, "exit 1")


def test_attempts_without_a_dispatch_count_too() -> None:
    job = NEW
    for attempt in (1, 2, 3):
        job = failed_once(claimed(job, holder=f"a:{attempt}", cold=True), holder=f"a:{attempt}")
    assert job.state is JobState.FAILED


def test_an_operator_gives_a_failed_job_all_attempts_anew() -> None:
    begun_again = running(failed_once(running(), delay=5.0), holder="a:2")
    failed = jobs.finish(begun_again, holder="a:2", outcome=BROKEN, now=30.0).job
    job, event = jobs.retry(failed, policy=POLICY, now=50.0)
    assert event is not None
    assert (job.state, job.attempt, event.id) == (JobState.QUEUED, 3, "3-1")
    assert (job.expires, job.detached, job.not_before) == (1050.0, True, 0.0)
    assert jobs.attempts_left(job, POLICY) == 2
    assert jobs.retry(job, policy=POLICY, now=60.0) == (job, None)


def test_back_off_grows_with_the_attempts_of_the_present_budget() -> None:
    second = failed_once(running())
    retried = jobs.retry(
        jobs.finish(running(), holder="a:1", outcome=BROKEN, now=30.0).job, policy=POLICY, now=50.0
    ).job
    delays = [jobs.back_off(job, dice=0.999999) for job in (NEW, second, retried)]
    assert delays == pytest.approx([2.0, 8.0, 2.0], rel=0.001)


def test_a_dead_activators_job_is_repeated_if_it_was_in_flight() -> None:
    job, event = jobs.orphan(running(), policy=POLICY, now=30.0)
    assert (job.state, job.attempt, job.reason) == (JobState.QUEUED, 2, GONE)
    assert event is not None
    assert event.id == "2-1"


def test_a_dead_activators_job_keeps_its_attempt_if_it_only_waited() -> None:
    job = jobs.orphan(claimed(cold=True), policy=POLICY, now=30.0).job
    assert (job.state, job.attempt, job.holder) == (JobState.QUEUED, 1, "")


def test_a_job_that_kills_its_activators_is_given_up() -> None:
    job = NEW
    for attempt in (1, 2, 3):
        job = jobs.orphan(running(job, holder=f"a:{attempt}"), policy=POLICY, now=30.0).job
    assert (job.state, job.reason) == (JobState.FAILED, GONE)


# --- order


def test_waiting_makes_up_for_urgency() -> None:
    def place(urgency: int, arrived: float) -> float:
        return jobs.order(urgency=urgency, arrived=arrived, age=30.0)

    assert place(3, 0.0) < place(3, 1.0) < place(5, 0.0) < place(3, 61.0)


def test_without_ageing_urgency_comes_first() -> None:
    assert jobs.order(urgency=3, arrived=2e9, age=0.0) < jobs.order(urgency=4, arrived=0.0, age=0)


# --- readers and time


def test_a_job_that_needs_a_reader_is_cancelled_after_its_grace() -> None:
    read = jobs.read(ATTACHED, readers=1, now=10.0)
    assert look_again(read, POLICY) == read.expires
    alone = jobs.read(read, readers=0, now=20.0)
    assert look_again(alone, POLICY) == 80.0
    assert due(alone, POLICY, now=79.0) is None
    assert due(alone, POLICY, now=80.0) is Due.CANCEL
    assert jobs.read(alone, readers=0, now=70.0) == alone
    assert due(jobs.read(alone, readers=1, now=70.0), POLICY, now=90.0) is None


def test_a_running_job_without_a_reader_has_the_same_grace() -> None:
    alone = running(jobs.read(ATTACHED, readers=0, now=20.0))
    assert due(alone, POLICY, now=79.0) is None
    assert due(alone, POLICY, now=80.0) is Due.CANCEL


def test_who_is_told_an_error_takes_along_what_nobody_else_waits_for() -> None:
    def abandoned(job: Job) -> JobState:
        return jobs.abandon(job, reason="queue_timeout", detail="", now=30.0).job.state

    assert abandoned(ATTACHED) is JobState.CANCELLED
    assert abandoned(jobs.read(ATTACHED, readers=1, now=20.0)) is JobState.QUEUED
    assert abandoned(jobs.detach(ATTACHED)) is JobState.QUEUED
    assert abandoned(running(ATTACHED)) is JobState.RUNNING


def test_a_detached_job_needs_no_reader() -> None:
    assert jobs.read(NEW, readers=0, now=20.0).unread_since == 0.0
    alone = jobs.read(ATTACHED, readers=0, now=20.0)
    assert due(jobs.detach(alone), POLICY, now=500.0) is None


def test_what_waits_beyond_its_ttl_expires_claimed_or_not() -> None:
    for job in (NEW, claimed(), claimed(cold=True)):
        assert due(job, POLICY, now=1009.0) is None
        assert due(job, POLICY, now=1010.0) is Due.EXPIRE
        assert jobs.expire(job, now=1010.0).job.state is JobState.EXPIRED
    assert due(running(), POLICY, now=5000.0) is None
    with pytest.raises(ForbiddenStep):
        jobs.expire(running(), now=5000.0)


def test_what_has_ended_is_deleted_after_retention() -> None:
    job = jobs.finish(answered(running()), holder="a:1", outcome=SUCCESS, now=30.0).job
    assert look_again(job, POLICY) == 130.0
    assert due(job, POLICY, now=129.0) is None
    assert due(job, POLICY, now=130.0) is Due.DELETE


def test_what_was_given_back_cannot_be_finished() -> None:
    given = jobs.give_back(claimed(), holder="a:1", now=30.0).job

    with pytest.raises(Superseded):
        jobs.finish(given, holder="a:1", outcome=BROKEN, now=31.0)
