"""Where the time of one request went: for its `Server-Timing`, and for the metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from activator.proxy.holding import Holding
    from activator.proxy.retrying import Failures


STRAIGHT: Final = b"queue;dur=0, activate;dur=0, upstream;dur="
"""Of a request that did not wait; the milliseconds follow."""
WAITED: Final = b"queue;dur=%.1f, activate;dur=%.1f, upstream;dur=%.1f"


def overhead(
    *,
    since: float,
    until: float,
    holding: Holding | None,
    failures: Failures | None,
    elsewhere: float = 0.0,
) -> float:
    """Seconds in the proxy itself: from arrival to the last dispatch, less the time in line, at
    replicas that failed it and at a fallback that did (`elsewhere`)."""
    waited = holding.waited if holding is not None else 0.0
    failed = failures.seconds if failures is not None else 0.0
    return max(0.0, until - since - waited - failed - elsewhere)


def waits(holding: Holding) -> tuple[float, float]:
    """Milliseconds in line for a slot, and for a replica before that."""
    woken_after = holding.woken_after
    return (holding.waited - woken_after) * 1e3, woken_after * 1e3


def timing(holding: Holding | None, *, upstream: float) -> bytes:
    """`upstream`: seconds at the replica until its answer began."""
    if holding is None:
        return STRAIGHT + b"%.1f" % (upstream * 1e3)
    return WAITED % (*waits(holding), upstream * 1e3)
