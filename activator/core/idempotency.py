"""Idempotency keys: what a key covers, whom it joins, what conflicts, and what frees it.

A key stands for one job as long as that job may still give, or has given, a complete answer of
the model. A failure of the proxy's, a cut answer, a cancellation free it: the next request with
the key begins anew.
"""

from __future__ import annotations

from enum import Enum, auto
from hashlib import sha256
from typing import TYPE_CHECKING

from activator.core.jobs import JobState

if TYPE_CHECKING:
    from activator.core.jobs import Job


class Verdict(Enum):
    NEW = auto()
    """The key is free: create the job, and it takes the key."""
    JOIN = auto()
    """The same request: its job's answer is this one's, too."""
    CONFLICT = auto()
    """Another body under the same key: 422."""


def scope(key: bytes, *, caller: bytes, method: bytes, target: bytes) -> str:
    """What two requests must have in common to be one, as 64 hex digits; the endpoint comes on
    top. `caller`: the name of the API key, or the value of `Authorization`: not kept, only this.
    """
    digest = sha256()
    for part in (caller, method, target, key):
        digest.update(b"%d:" % len(part))  # so that no part can reach into the next
        digest.update(part)
    return digest.hexdigest()


def judge(job: Job | None, *, stored: bytes, fingerprint: bytes) -> Verdict:
    """`job`: the one the key stands for, and the fingerprint (SHA-256) that is `stored` of its
    body; None: there is none, or it is gone."""
    if job is None or frees_key(job):
        return Verdict.NEW
    return Verdict.JOIN if stored == fingerprint else Verdict.CONFLICT


def frees_key(job: Job) -> bool:
    return job.has_ended and job.state is not JobState.SUCCEEDED
