"""What becomes of an endpoint, told in the cluster, on the object that declares it and on its
workload: for those who see a cluster and not the activator.

Decides which outcomes are worth an Event there, and that one activator tells them. How often they
are written is `kube.notes`' business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from activator.aiokit.tasks import Tasks
from activator.core.told_once import SEEN_BY_ALL

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.telemetry.events import Event, EventLog

TOLD: Final[dict[str, tuple[str, str]]] = {
    "activated": ("Activated", "it is ready for requests"),
    "deactivated": ("Deactivated", "it is at zero"),
    "rescaled": ("Rescaled", ""),
    "start_failed": ("StartFailed", ""),
    "crashed": ("Crashed", ""),
    "refused": ("ScalingRefused", ""),
    "autoscaler_found": ("AutoscalerFound", ""),
}
"""Reason and message; where that is empty, the event's own. A message that is the same each time
makes one Event whose count rises, so no durations stand in those that come often."""
_WARNINGS: Final = {"start_failed", "crashed", "refused", "autoscaler_found"}


class Tell(Protocol):
    def __call__(self, endpoint: str, *, reason: str, message: str, is_warning: bool) -> None:
        """On the objects of the endpoint, if it has any; never waits."""


class Telling:
    """Follows the events until `aclose`."""

    def __init__(
        self,
        events: EventLog,
        *,
        tell: Tell,
        leading: Callable[[], bool],
    ) -> None:
        """`leading`: every activator hears what happens, and one of them says so there."""
        self._events = events
        self._tell = tell
        self._leading = leading
        self._tasks = Tasks("telling")

    def start(self) -> None:
        self._tasks.spawn_lasting(self._run, name="run")

    async def aclose(self) -> None:
        await self._tasks.aclose()

    async def _run(self) -> None:
        with self._events.subscribe() as subscription:
            while not subscription.closed:
                await subscription.wait()
                _, events = subscription.take()
                for event in events:
                    self._tasks.tell_each((self._on_event,), event)

    def _on_event(self, event: Event) -> None:
        told = TOLD.get(event.action)
        # what all see is told by whoever was first
        is_ours = event.activator == self._events.me or event.action in SEEN_BY_ALL
        if told is not None and is_ours and self._leading():
            reason, message = told
            self._tell(
                event.endpoint,
                reason=reason,
                message=message or event.reason,
                is_warning=event.action in _WARNINGS,
            )
