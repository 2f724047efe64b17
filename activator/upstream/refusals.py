"""The errors that tell clients about the life of an endpoint, made from what the brain says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activator.errors import NoCapacity, StartFailed

if TYPE_CHECKING:
    from activator.core.effects import FailedStart


def failed_start(cause: FailedStart, *, retry_after: float) -> StartFailed | NoCapacity:
    """`retry_after`: seconds until another start is let through."""
    if cause.no_capacity:
        return NoCapacity(str(cause), retry_after=retry_after)
    return StartFailed(str(cause), retry_after=retry_after)
