"""What clients are told of a job: its description, and why it has no answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from activator.core.jobs import JobState
from activator.errors import (
    ActivatorError,
    JobGone,
    NoCapacity,
    ShuttingDown,
    StartFailed,
    StoreUnavailable,
    UpstreamTimeout,
    UpstreamUnreachable,
)

if TYPE_CHECKING:
    from activator.core.jobs import Job, Outcome

_REASONS: Final[dict[str, type[ActivatorError]]] = {
    error.reason: error
    for error in (NoCapacity, ShuttingDown, StartFailed, StoreUnavailable, UpstreamTimeout)
}

PATH: Final = "/.activator/jobs/"


def why_unanswered(outcome: Outcome) -> ActivatorError:
    """For who wanted the answer of a job that has ended as this, without success."""
    if outcome.state is not JobState.FAILED:
        return JobGone(f"The job is {outcome.state}: {outcome.detail}")
    error = _REASONS.get(outcome.reason, UpstreamUnreachable)
    return error(outcome.detail, retry_after=5)


def described(job: Job, *, place: int | None, eta: float | None) -> dict[str, Any]:
    """As JSON; moments are ISO 8601, UTC."""
    said: dict[str, Any] = {
        "id": job.id,
        "endpoint": job.endpoint,
        "state": str(job.state),
        "attempt": job.attempt,
        "urgency": job.urgency,
        "created": _moment(job.created),
        "expires": _moment(job.expires),
        "began": _moment(job.began),
        "ended": _moment(job.ended),
        "status": job.status or None,
        "reason": job.reason or None,
        "detail": job.detail or None,
        "place": place,
        "eta": None if eta is None else round(eta, 1),
        "links": {
            "self": PATH + job.id,
            "result": f"{PATH}{job.id}/result",
            "events": f"{PATH}{job.id}/events",
        },
    }
    return said


def _moment(at: float) -> str | None:
    if not at:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
