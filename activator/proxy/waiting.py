"""What may be said to a request that waits, or would have to: when it is hopeless, and why it
ended. Pure decisions over what control lets the proxy know of an endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activator.errors import (
    ActivatorError,
    DeadlineUnmeetable,
    Paused,
    QueueTimeout,
)
from activator.upstream.refusals import failed_start

if TYPE_CHECKING:
    from activator.upstream.registry import LiveEndpoint


def refuse_hopeless(live: LiveEndpoint, *, within: float | None) -> None:
    """Raises what is known already: the breaker is open, or the deadline cannot be met.

    `within`: seconds in which the client wants the answer to begin, None if it does not say.
    """
    if not live.cold:
        return
    refusal = live.refusal()
    if refusal is not None:
        cause, seconds = refusal
        raise failed_start(cause, retry_after=seconds)
    eta = live.eta()
    if within is not None and eta is not None and eta > within:
        raise DeadlineUnmeetable(
            f"A replica is expected in {eta:.0f} s, the deadline is in {within:g} s",
            retry_after=eta,
        )


def why_over(live: LiveEndpoint, *, waited: float, within: float | None) -> ActivatorError:
    """The error for a request whose time in line is over."""
    retry_after = live.eta() or 5.0
    if live.gate.paused:
        return Paused(f"{Paused.title}; waited {waited:.1f} s", retry_after=retry_after)
    if within is not None and waited >= within:
        return DeadlineUnmeetable(
            f"The deadline of {within:g} s has passed while {live.waiting_for()}",
            retry_after=retry_after,
        )
    return QueueTimeout(
        f"Waited {waited:.1f} s (queue.timeout) while {live.waiting_for()}",
        retry_after=retry_after,
    )
