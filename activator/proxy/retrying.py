"""Once more, at another replica? What one request has met, and what CONTRACT "Retries" allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from activator.upstream.forward import IDEMPOTENT, Ending, Failure

if TYPE_CHECKING:
    from activator.core.dispatch import Ticket
    from activator.core.endpoint import Replica
    from activator.upstream.registry import LiveEndpoint

ATTEMPTS: Final = 3
"""Replicas that one request may meet."""


class Failures:
    """The replicas that failed one request."""

    __slots__ = ("_count", "_live", "_ticket", "_unanswered", "seconds")

    def __init__(self, live: LiveEndpoint, ticket: Ticket) -> None:
        self._live = live
        self._ticket = ticket
        self._count = 0
        self._unanswered: tuple[tuple[str, int], ...] = ()
        """Addresses of replicas that may have worked on it and ended without an answer."""
        self.seconds = 0.0
        """Spent at them."""

    def allow_another(self, ending: Ending, *, method: bytes, repeatable: bool) -> bool:
        """The model cannot have worked on it, or the method is idempotent."""
        self._count += 1
        if self._count >= ATTEMPTS or not repeatable:
            return False
        if ending in (Ending.UNREACHABLE, Ending.UNSENT):
            return True
        idempotent = method in IDEMPOTENT
        return ending == Ending.UNANSWERED and idempotent and self._live.take_retry()

    def leave(self, replica: Replica | None, failure: Failure, *, seconds: float) -> None:
        """It gives its slot back and will not go there again. None: it had gone before."""
        live = self._live
        live.metrics.retried(failure.ending.name.lower())
        self.seconds += seconds
        live.gate.release(self._ticket)
        if replica is None:
            return
        self._ticket.exclude += (replica.id,)
        if failure.ending == Ending.UNANSWERED:
            self._unanswered += ((replica.host, replica.port),)
        if not failure.unreachable and self._met_all():
            # nobody is left who could take it: whether this one lives decides what follows
            live.unreachable(replica.id, failure.detail)

    def has_met(self, replica: Replica) -> bool:
        """A server that left it unanswered may be back under another id."""
        return bool(self._unanswered) and (replica.host, replica.port) in self._unanswered

    def pass_over(self, replica: Replica) -> bool:
        """Not to this one, which it `has_met`; False: there is no other."""
        self._live.gate.release(self._ticket)
        self._ticket.exclude += (replica.id,)
        return not self._met_all()

    def _met_all(self) -> bool:
        """No replica in rotation is left that it has not been to."""
        return self._live.replicas.keys() <= set(self._ticket.exclude)
