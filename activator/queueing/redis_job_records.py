"""What the scripts of the jobs reply, read as the values of the protocol.

The order of a job's fields is `FIELDS` in lua/jobs.lua.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from activator.core.job_ids import endpoint_of
from activator.core.jobs import Event, Job, JobState, outcome_of
from activator.errors import StoreUnavailable
from activator.queueing.codec import (
    VERSION,
    NewerVersion,
    decode_envelope,
    decode_head,
    decode_lines,
)
from activator.queueing.jobs import Page, Record

if TYPE_CHECKING:
    from collections.abc import Sequence

_log = logging.getLogger("activator.jobs")

SHOWN: Final = 23
"""Values of a job in a reply, its id among them."""
HOLDER: Final = 10
"""Which of them names who has claimed it."""


def newer() -> StoreUnavailable:
    return StoreUnavailable("A newer activator has written this job", retry_after=5)


def not_understood(endpoint: str, values: Sequence[bytes], odd: Exception) -> None:
    """For the log: a record that the codec cannot make anything of."""
    job = values[0].decode(errors="replace")
    extra = {"action": "job_not_understood", "endpoint": endpoint, "job": job}
    _log.error("job not understood", extra=extra, exc_info=odd)


def job_of(values: Sequence[bytes]) -> Job:
    (
        id_, version, state, attempt, first, created, expires, urgency, arrived, detached,
        holder, last_holder, not_before, began, ended, status, reason, detail, readers,
        unread, told, *_,
    ) = values  # fmt: skip
    if version.decode() != VERSION:
        raise newer()
    name = id_.decode()
    return Job(
        id=name,
        endpoint=endpoint_of(name) or "",
        created=float(created),
        expires=float(expires),
        urgency=int(urgency),
        arrived=float(arrived),
        detached=detached == b"1",
        state=JobState(state.decode()),
        attempt=int(attempt),
        first_attempt=int(first),
        holder=holder.decode(),
        last_holder=last_holder.decode(),
        not_before=float(not_before),
        began=float(began),
        ended=float(ended),
        status=int(status),
        reason=reason.decode(),
        detail=detail.decode(errors="replace"),
        readers=int(readers),
        unread_since=float(unread),
        told=int(told),
    )


def record_of(values: Sequence[bytes]) -> Record:
    """Raises StoreUnavailable for what a newer activator has written."""
    try:
        envelope = decode_envelope(values[SHOWN])
    except NewerVersion as error:
        raise newer() from error
    return Record(job_of(values), envelope, *bytes_of(values))


def bytes_of(values: Sequence[bytes]) -> tuple[int, int]:
    """Of its body, and of its result."""
    return int(values[SHOWN - 2]), int(values[SHOWN - 1])


def page_of(values: Sequence[bytes], *, at: int) -> Page:
    job = job_of(values)
    trailers, total = values[SHOWN], int(values[SHOWN + 1])
    pieces = values[SHOWN + 2 :]
    following = at + len(pieces) if total else at
    is_last = following >= total
    try:
        head = decode_head(pieces[0]) if at == 0 and pieces else None
    except NewerVersion as error:
        raise newer() from error
    return Page(
        job,
        head=head,
        chunks=tuple(pieces[1:] if at == 0 else pieces),
        next=following,
        outcome=outcome_of(job) if is_last else None,
        trailers=decode_lines(trailers) if is_last else (),
    )


def event_of(line: bytes) -> Event:
    identity, at, kind, detail = line.decode(errors="replace").split("\t", 3)
    attempt, seq = identity.split("-")
    return Event(int(attempt), int(seq), float(at), kind, detail)
