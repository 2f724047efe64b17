"""A job under anything that may happen to it in any order: the promises hold.

Several activators try every step with claims old and new. The model remembers only who was given
the job last and how many attempts have been begun.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from activator.core import jobs
from activator.core.idempotency import frees_key
from activator.core.job_upkeep import Due, due, look_again
from activator.core.jobs import (
    TRANSITIONS,
    ForbiddenStep,
    Job,
    JobsPolicy,
    JobState,
    Outcome,
    Step,
    Superseded,
)

POLICY = JobsPolicy(ttl=50.0, retention=30.0, attempts=3, join_grace=10.0)
FENCED = ["begin", "answer", "succeed", "fail", "requeue", "give_back"]


class JobMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1.0
        self.claims = 0
        self.valid = ""
        """The claim that may write; of the model."""
        new = Job(id="m.1", endpoint="m", created=1.0, expires=51.0, detached=False)
        self.job = jobs.read(new, readers=1, now=1.0)
        self.ids = [(0, 0)]
        self.retries = 0
        self.take(jobs.created(self.job, now=self.now))

    def take(self, step: Step) -> None:
        before, self.job = self.job, step.job
        if step.job.state is not before.state:
            assert step.job.state in TRANSITIONS[before.state]
            assert step.event is not None
        if step.event is not None:
            identity = (step.event.attempt, step.event.seq)
            assert identity > self.ids[-1]
            self.ids.append(identity)

    def step(self, name: str, holder: str) -> Step:
        job, now = self.job, self.now
        match name:
            case "begin":
                return jobs.begin(job, holder=holder, now=now)
            case "answer":
                return jobs.answer(job, holder=holder, status=200, now=now)
            case "succeed":
                return jobs.finish(job, holder=holder, outcome=jobs.SUCCESS, now=now)
            case "fail":
                outcome = Outcome(JobState.FAILED, "broken", "")
                return jobs.finish(job, holder=holder, outcome=outcome, now=now)
            case "requeue":
                return jobs.requeue(
                    job, holder=holder, reason="r", detail="", delay=1.0, policy=POLICY, now=now
                )
            case _:
                return jobs.give_back(job, holder=holder, now=now)

    @rule(seconds=st.sampled_from([0.5, 3.0, 11.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.job.state is JobState.QUEUED and not self.job.claimed)
    @rule(activator=st.sampled_from("ab"), cold=st.booleans())
    def claim(self, activator: str, cold: bool) -> None:
        self.claims += 1
        self.valid = f"{activator}:{self.claims}"
        self.take(jobs.claim(self.job, holder=self.valid, cold=cold, now=self.now))
        assert self.job.holder == self.valid

    @rule(name=st.sampled_from(FENCED), number=st.integers(0, 30), activator=st.sampled_from("ab"))
    def somebody_elses_step_is_refused(self, name: str, number: int, activator: str) -> None:
        holder = f"{activator}:{number}"
        if holder in (self.job.holder, self.job.last_holder):
            return
        try:
            self.step(name, holder)
        except Superseded:
            return
        raise AssertionError(f"{holder} could {name} a job of {self.job.holder!r}")

    @precondition(lambda self: self.job.claimed)
    @rule(name=st.sampled_from(FENCED))
    def holder_goes_on(self, name: str) -> None:
        holder = self.valid
        try:
            step = self.step(name, holder)
        except ForbiddenStep:
            return
        self.take(step)
        again = self.step(name, holder)
        assert again == (self.job, None)

    @precondition(lambda self: self.job.claimed)
    @rule()
    def activator_dies(self) -> None:
        was_running = self.job.state is JobState.RUNNING
        attempt = self.job.attempt
        self.take(jobs.orphan(self.job, policy=POLICY, now=self.now))
        if self.job.state is JobState.QUEUED:
            assert self.job.attempt == attempt + was_running
        assert not self.job.claimed

    @rule()
    def cancelled(self) -> None:
        ended = self.job.has_ended
        step = jobs.cancel(self.job, reason="cancelled", detail="", now=self.now)
        assert (step.event is None) is ended
        self.take(step)

    @precondition(lambda self: self.retries < 3)
    @rule()
    def retried(self) -> None:
        failed = self.job.state is JobState.FAILED
        self.take(jobs.retry(self.job, policy=POLICY, now=self.now))
        if failed:
            self.retries += 1
            assert jobs.attempts_left(self.job, POLICY) == POLICY.attempts - 1

    @rule(readers=st.integers(0, 2))
    def readers_come_and_go(self, readers: int) -> None:
        self.job = jobs.read(self.job, readers=readers, now=self.now)

    @rule()
    def time_is_heeded(self) -> None:
        action = due(self.job, POLICY, now=self.now)
        if action is Due.EXPIRE:
            self.take(jobs.expire(self.job, now=self.now))
        elif action is Due.CANCEL:
            self.take(jobs.cancel(self.job, reason="unread", detail="", now=self.now))
        if action in (Due.EXPIRE, Due.CANCEL):
            assert self.job.has_ended

    @invariant()
    def promises_hold(self) -> None:
        job = self.job
        if job.claimed:
            assert job.state in (JobState.QUEUED, JobState.ACTIVATING, JobState.RUNNING)
        else:
            assert job.state not in (JobState.ACTIVATING, JobState.RUNNING)
        assert job.attempt - job.first_attempt < POLICY.attempts
        assert (job.ended > 0) is job.has_ended
        assert frees_key(job) is (job.has_ended and job.state is not JobState.SUCCEEDED)
        needs = not (job.detached or job.readers or job.has_ended)
        assert (job.unread_since > 0) is needs
        assert (due(job, POLICY, now=self.now) is not None) is (self.now >= look_again(job, POLICY))


JobMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestJob = JobMachine.TestCase
