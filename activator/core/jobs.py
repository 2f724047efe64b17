"""The life of a job: its states, which follows which, and who may still write to it.

A job is a recorded request. It waits in line, an activator claims it, begins it at a replica, and
stores the answer; whatever goes wrong on the way makes it wait again, as another attempt, or ends
it. Every step is a function from a Job to the next Job and what is to be told of it. Two things
fence a step: the table below, and the *holder*, the claim of one activator. A step by anybody
but the present holder is `Superseded`; one that the same holder has made already changes nothing,
so that a lost reply may be followed by a second try.

When a job expires or is deleted is decided in `job_upkeep`, whom a key joins in `idempotency`.
Moments are wall-clock seconds: they are stored, and others read them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from activator.core.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class JobState(StrEnum):
    QUEUED = "queued"
    """In line, or claimed by an activator that waits for a slot."""
    ACTIVATING = "activating"
    """Claimed while no replica is ready: one is being started for it."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    """The model has answered completely, whatever the status of its answer."""
    FAILED = "failed"
    """Given up; an operator may have it tried again (dead letter)."""
    CANCELLED = "cancelled"
    EXPIRED = "expired"


_S = JobState

TRANSITIONS: Final[Mapping[JobState, frozenset[JobState]]] = {
    _S.QUEUED: frozenset({_S.ACTIVATING, _S.RUNNING, _S.FAILED, _S.CANCELLED, _S.EXPIRED}),
    _S.ACTIVATING: frozenset({_S.QUEUED, _S.RUNNING, _S.FAILED, _S.CANCELLED, _S.EXPIRED}),
    _S.RUNNING: frozenset({_S.QUEUED, _S.SUCCEEDED, _S.FAILED, _S.CANCELLED}),
    _S.SUCCEEDED: frozenset(),
    _S.FAILED: frozenset({_S.QUEUED}),
    _S.CANCELLED: frozenset(),
    _S.EXPIRED: frozenset(),
}
WAITING: Final = frozenset({_S.QUEUED, _S.ACTIVATING})
ENDED: Final = frozenset({_S.SUCCEEDED, _S.FAILED, _S.CANCELLED, _S.EXPIRED})

RETRY: Final = Backoff(first=2.0, factor=4.0, cap=120.0)
"""Between attempts. A replica that crashed is back, or known to be broken, within some seconds; a
job waits for hours if it must, so that later attempts need not hurry."""

GONE: Final = "activator_gone"
"""Why an attempt ended whose activator was killed."""
FAULT: Final = "activator_failed"
"""Why an attempt ended in which the activator met a bug of its own."""


class Superseded(Exception):
    """Somebody else has the job now, or nobody: this holder must let go of it."""


class ForbiddenStep(Exception):
    """The table does not allow it: a bug of the caller."""


@dataclass(frozen=True, slots=True)
class JobsPolicy:
    """The section `jobs` of the configuration. Sizes in bytes, durations in seconds."""

    max_body: int = 64 << 20
    max_result: int = 256 << 20
    ttl: float = 86400.0
    retention: float = 86400.0
    attempts: int = 3
    join_grace: float = 60.0


@dataclass(frozen=True, slots=True)
class Job:
    """What changes of a job, without the request itself (the envelope) and the result."""

    id: str
    endpoint: str
    created: float
    expires: float
    """It must have begun by then."""
    urgency: int = 3
    arrived: float = 0.0
    """What counts in line: earlier than `created` if its client had waited before."""
    detached: bool = True
    """It runs whether or not anybody waits for its answer."""
    state: JobState = JobState.QUEUED
    attempt: int = 1
    """The number of the present or next try. A place that is given back untouched keeps it."""
    first_attempt: int = 1
    """Where the present budget of attempts began."""
    holder: str = ""
    """The claim of an activator: `ACTIVATOR:NUMBER`; empty: nobody's."""
    last_holder: str = ""
    """Who let go of it last, by a step of its own."""
    not_before: float = 0.0
    """Backs off until then."""
    began: float = 0.0
    """When the present attempt was dispatched; 0: it has not been."""
    ended: float = 0.0
    status: int = 0
    """Of the model's answer; 0: no head is stored."""
    reason: str = ""
    """Of the latest failure: a word as in `errors`, and a sentence."""
    detail: str = ""
    readers: int = 0
    """Activators at which somebody reads or waits for the answer."""
    unread_since: float = 0.0
    """Nobody has since then, and somebody should; 0: all is well."""
    told: int = 0
    """Events of this attempt so far."""

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    @property
    def claimed(self) -> bool:
        return bool(self.holder)


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to a job; `id` grows within a job and is unique there."""

    attempt: int
    seq: int
    at: float
    kind: str
    """The state that was entered, or `answering`: the head of the answer is stored."""
    detail: str = ""

    @property
    def id(self) -> str:
        return f"{self.attempt}-{self.seq}"


class Step(NamedTuple):
    job: Job
    event: Event | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended for good: SUCCEEDED, FAILED or CANCELLED."""

    state: JobState
    reason: str = ""
    """A word as in `errors`, and a sentence."""
    detail: str = ""


SUCCESS: Final = Outcome(JobState.SUCCEEDED)


def outcome_of(job: Job) -> Outcome | None:
    """How it ended, EXPIRED included; None while it has not."""
    return Outcome(job.state, job.reason, job.detail) if job.has_ended else None


def events_after(events: Iterable[Event], last_id: str) -> list[Event]:
    """Those that somebody has missed who has seen this one; all if it is no id of an event."""
    attempt, _, seq = last_id.partition("-")
    known = (int(attempt), int(seq)) if attempt.isdecimal() and seq.isdecimal() else (0, 0)
    return [event for event in events if (event.attempt, event.seq) > known]


def activator_of(holder: str) -> str:
    return holder.rpartition(":")[0]


def order(*, urgency: int, arrived: float, age: float) -> float:
    """The place in line, the smallest first; as in `core.line`, in a single number."""
    return arrived + urgency * (age if age > 0 else 1e10)


def attempts_left(job: Job, policy: JobsPolicy) -> int:
    """After the present one."""
    return max(0, policy.attempts - (job.attempt - job.first_attempt + 1))


def back_off(job: Job, *, dice: float) -> float:
    """Seconds between the present attempt, which failed, and the next. `dice` as in Backoff."""
    return RETRY.delay(job.attempt - job.first_attempt + 1, dice=dice)


# --- into the line and out of it


def created(job: Job, *, now: float) -> Step:
    """The first event of a new job."""
    return _told(job, now=now, kind=JobState.QUEUED)


def claim(job: Job, *, holder: str, cold: bool, now: float) -> Step:
    """Take it out of the line. `cold`: no replica is ready."""
    if job.holder == holder:
        return Step(job, None)
    if job.state is not JobState.QUEUED or job.claimed:
        raise ForbiddenStep(f"{job.id} is {job.state} and cannot be claimed")
    claimed = replace(job, holder=holder, last_holder="")
    return _enter(claimed, JobState.ACTIVATING, now=now) if cold else Step(claimed, None)


def give_back(job: Job, *, holder: str, now: float) -> Step:
    """It was claimed and not begun: back to its place, the attempt unspent."""
    if _done_before(job, holder):
        return Step(job, None)
    if job.state not in WAITING:
        raise ForbiddenStep(f"{job.id} is {job.state}: it has begun")
    return _back_in_line(replace(job, holder="", last_holder=holder), now=now)


def requeue(
    job: Job,
    *,
    holder: str,
    reason: str,
    detail: str,
    delay: float,
    policy: JobsPolicy,
    now: float,
) -> Step:
    """The attempt failed in a way that another may mend: wait `delay` seconds for it, or, with
    the attempts used up, give up."""
    if _done_before(job, holder):
        return Step(job, None)
    job = replace(job, holder="", last_holder=holder)
    return _next_attempt(job, reason, detail, delay=delay, policy=policy, now=now)


def orphan(job: Job, *, policy: JobsPolicy, now: float) -> Step:
    """The activator that held it is gone: repeated if it was in flight, else back to its place."""
    in_flight = job.state is JobState.RUNNING
    job = replace(job, holder="", last_holder="")
    if in_flight:
        detail = "the activator that ran it is gone"
        return _next_attempt(job, GONE, detail, delay=0.0, policy=policy, now=now)
    return _back_in_line(job, now=now)


# --- at a replica


def begin(job: Job, *, holder: str, now: float) -> Step:
    """A replica is about to be given it."""
    _fence(job, holder)
    if job.state is JobState.RUNNING:
        return Step(job, None)
    return _enter(replace(job, began=now), JobState.RUNNING, now=now)


def answer(job: Job, *, holder: str, status: int, now: float) -> Step:
    """The head of the answer is there."""
    _fence(job, holder)
    if job.state is not JobState.RUNNING:
        raise ForbiddenStep(f"{job.id} is {job.state}: nothing can answer it")
    if job.status:
        return Step(job, None)
    return _told(replace(job, status=status), now=now, kind="answering", detail=str(status))


def finish(job: Job, *, holder: str, outcome: Outcome, now: float) -> Step:
    if _done_before(job, holder):
        if not job.has_ended:
            raise Superseded(f"{job.id} has been given back by {holder}")
        return Step(job, None)
    if outcome.state not in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED):
        raise ForbiddenStep(f"{outcome.state} is not how an attempt ends")
    if outcome.state is JobState.SUCCEEDED and not job.status:
        raise ForbiddenStep(f"{job.id} has no answer: it cannot have succeeded")
    job = replace(job, holder="", last_holder=holder)
    return _end(job, outcome.state, outcome.reason, outcome.detail, now=now)


# --- by others


def cancel(job: Job, *, reason: str, detail: str, now: float) -> Step:
    """Whoever holds it is superseded. One that has ended stays as it is."""
    if job.has_ended:
        return Step(job, None)
    job = replace(job, holder="", last_holder="")
    return _end(job, JobState.CANCELLED, reason, detail, now=now)


def abandon(job: Job, *, reason: str, detail: str, now: float) -> Step:
    """A reader that the activator has sent away with an error of its own leaves. If nobody else
    waits for a job that has not begun it is cancelled at once, which frees its key."""
    if job.detached or job.readers or job.state not in WAITING:
        return Step(job, None)
    return cancel(job, reason=reason, detail=detail, now=now)


def expire(job: Job, *, now: float) -> Step:
    """It has waited too long."""
    job = replace(job, holder="", last_holder="")
    return _end(job, JobState.EXPIRED, "expired", "it has not begun within jobs.ttl", now=now)


def retry(job: Job, *, policy: JobsPolicy, now: float) -> Step:
    """An operator wants a failed job tried again, with all attempts anew; others stay as they
    are."""
    if job.state is not JobState.FAILED:
        return Step(job, None)
    job = replace(
        job,
        first_attempt=job.attempt + 1,
        expires=now + policy.ttl,
        detached=True,  # its readers have been told of the failure
        unread_since=0.0,
        not_before=0.0,
        ended=0.0,
    )
    return _enter(_numbered(job, job.attempt + 1), JobState.QUEUED, now=now)


# --- who waits for it


def read(job: Job, *, readers: int, now: float) -> Job:
    """Activators with readers are now so many."""
    return _watched(replace(job, readers=readers), now=now)


def detach(job: Job) -> Job:
    """From now on it needs nobody who waits for it."""
    return replace(job, detached=True, unread_since=0.0)


def _watched(job: Job, *, now: float) -> Job:
    if job.detached or job.readers or job.has_ended:
        return replace(job, unread_since=0.0)
    return job if job.unread_since else replace(job, unread_since=now)


# --- inside


def _fence(job: Job, holder: str) -> None:
    if not holder or job.holder != holder:
        raise Superseded(f"{job.id} is {job.state} and not held by {holder}")


def _done_before(job: Job, holder: str) -> bool:
    """The step was made already, its reply was lost."""
    if holder and not job.holder and job.last_holder == holder:
        return True
    _fence(job, holder)
    return False


def _next_attempt(
    job: Job, reason: str, detail: str, *, delay: float, policy: JobsPolicy, now: float
) -> Step:
    if not attempts_left(job, policy):
        return _end(job, JobState.FAILED, reason, detail, now=now)
    job = replace(job, reason=reason, detail=detail, not_before=now + delay)
    return _enter(_numbered(job, job.attempt + 1), JobState.QUEUED, now=now, detail=detail)


def _numbered(job: Job, attempt: int) -> Job:
    return replace(job, attempt=attempt, began=0.0, status=0, told=0)


def _back_in_line(job: Job, *, now: float) -> Step:
    if job.state is JobState.QUEUED:
        return Step(job, None)
    return _enter(job, JobState.QUEUED, now=now)


def _end(job: Job, state: JobState, reason: str, detail: str, *, now: float) -> Step:
    job = replace(job, reason=reason, detail=detail, ended=now, unread_since=0.0)
    return _enter(job, state, now=now, detail=detail)


def _enter(job: Job, state: JobState, *, now: float, detail: str = "") -> Step:
    if state is not job.state and state not in TRANSITIONS[job.state]:
        raise ForbiddenStep(f"{job.id} is {job.state} and cannot become {state}")
    return _told(replace(job, state=state), now=now, kind=state, detail=detail)


def _told(job: Job, *, now: float, kind: str, detail: str = "") -> Step:
    job = replace(job, told=job.told + 1)
    return Step(job, Event(job.attempt, job.told, now, str(kind), detail))
