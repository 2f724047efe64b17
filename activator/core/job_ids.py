"""Ids of jobs: which endpoint one is of, and whether it is one that an activator made.

    ENDPOINT.RANDOM+CHECK        16 random bytes and a check of 5, in URL-safe base64: 28 characters

A job that is deleted leaves nothing behind, yet its id is answered otherwise (gone) than one that
never was (not found). So the id says it by itself: the check is over the endpoint, the random bytes
and the API key that made the job, which alone may know that there was one. It is a check against
error, not a seal: somebody who computes one is told of a job that it is gone, and learns nothing by
that. A seal would need a secret that all activators share and that outlives every store.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import Final

RANDOM: Final = 16
"""Bytes of an id that nobody can guess."""
_CHECK: Final = 5
_ID: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\.([A-Za-z0-9_-]{28})")


def new_id(endpoint: str, *, owner: str, random: bytes) -> str:
    """`owner`: the name of the API key that makes the job; empty: none. `random`: RANDOM bytes."""
    check = _check(endpoint, random, owner)
    return f"{endpoint}.{urlsafe_b64encode(random + check).decode()}"


def endpoint_of(job_id: str) -> str | None:
    """The endpoint that an id names; None: this is no id of a job."""
    found = _ID.fullmatch(job_id)
    return None if found is None else found[1]


def was_made_for(owner: str, job_id: str) -> bool:
    """There has been, or is, such a job of this owner."""
    found = _ID.fullmatch(job_id)
    if found is None:
        return False
    said = urlsafe_b64decode(found[2])
    return said[RANDOM:] == _check(found[1], said[:RANDOM], owner)


def _check(endpoint: str, random: bytes, owner: str) -> bytes:
    said = b"%b\0%b\0%b" % (endpoint.encode(), owner.encode(), random)
    return sha256(said).digest()[:_CHECK]
