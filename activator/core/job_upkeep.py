"""What time does to a job that nobody touches: it expires, is cancelled unread, is deleted.

Decides what is due and when to look again; what a step does is decided in `jobs`.
"""

from __future__ import annotations

from enum import Enum, auto
from math import inf
from typing import TYPE_CHECKING

from activator.core.jobs import WAITING, cancel, expire

if TYPE_CHECKING:
    from activator.core.jobs import Job, JobsPolicy, Step


class Due(Enum):
    EXPIRE = auto()
    """It has waited longer than `ttl`."""
    CANCEL = auto()
    """Nobody has waited for its answer for `joinGrace`, and somebody should."""
    DELETE = auto()
    """It has ended `retention` ago."""


UNREAD = "unread"
"""Why a job was cancelled that nobody waited for any more."""
UNREAD_DETAIL = "nobody has waited for its answer for jobs.joinGrace"


def due(job: Job, policy: JobsPolicy, *, now: float) -> Due | None:
    if job.has_ended:
        return Due.DELETE if now >= job.ended + policy.retention else None
    if job.unread_since and now >= job.unread_since + policy.join_grace:
        return Due.CANCEL
    if job.state in WAITING and now >= job.expires:
        return Due.EXPIRE
    return None


def look_again(job: Job, policy: JobsPolicy) -> float:
    """The first moment at which something may be due; infinity: not before it changes."""
    if job.has_ended:
        return job.ended + policy.retention
    unread = job.unread_since + policy.join_grace if job.unread_since else inf
    return min(unread, job.expires if job.state in WAITING else inf)


def end_by_time(job: Job, due: Due, *, now: float) -> Step:
    """For EXPIRE and CANCEL."""
    if due is Due.EXPIRE:
        return expire(job, now=now)
    return cancel(job, reason=UNREAD, detail=UNREAD_DETAIL, now=now)
