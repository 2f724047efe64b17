"""One activator serves, the others stand by: proxy, gates and readiness follow who holds the lease.

Decides what clients are told, and what is done when the lease is taken over. What may be done in
which state is `core.duty`'s, when which holds `core.election`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from activator.aiokit.tasks import Tasks
from activator.core.duty import Duty
from activator.errors import ShuttingDown, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.app.stores import Turn
    from activator.control.supervisor import Supervisor
    from activator.errors import ActivatorError
    from activator.proxy.listener import Proxy
    from activator.telemetry.events import EventLog
    from activator.upstream.registry import LiveEndpoint, Registry

RETRY: Final = 1.0
"""Seconds after which a client should try again: by then it may reach whoever serves."""
EVENTS: Final = {
    Duty.SERVES: "serving",
    Duty.CUT_OFF: "cut_off",
    Duty.LAPSED: "lease_lapsed",
    Duty.STANDS_BY: "standing_by",
    Duty.LEAVING: "lease_given_back",
}


class Standby:
    """Of activators of which one serves. Nothing comes in before `start`."""

    def __init__(
        self, turn: Turn, *, registry: Registry, supervisor: Supervisor, events: EventLog
    ) -> None:
        self._turn = turn
        self._lease = turn.lease
        self._registry = registry
        self._supervisor = supervisor
        self._events = events
        self._duty = Duty.STANDS_BY
        self._taken = 0
        """The term that was taken over last."""
        self._tasks = Tasks("standby")
        self._proxy: Proxy | None = None
        self._unfollow: Callable[[], None] | None = None

    def start(self, proxy: Proxy) -> None:
        self._proxy = proxy
        proxy.shut = self._why_shut
        proxy.draining = not self._duty.admits
        self._unfollow = self._lease.on_change(self._follow)
        self._follow()

    def shut(self, live: LiveEndpoint) -> None:
        """A new endpoint is served, or not, as the others are."""
        live.gate.shut(no_slots=not self._duty.admits, no_line=self._why_no_line())

    def leave(self) -> None:
        """This activator ends: another may serve from now on."""
        self._tasks.spawn(self._lease.aclose(), name="give back")

    async def aclose(self) -> None:
        await self._tasks.drained()
        if self._unfollow is not None:
            self._unfollow()

    @property
    def why_not_serving(self) -> str | None:
        """For operators; None: it serves."""
        why, trouble = self._in_words(), self._turn.trouble()
        return f"{why} ({trouble})" if why and trouble else why

    # --- inside

    def _in_words(self) -> str | None:
        name = self._turn.name
        match self._lease.duty:
            case Duty.SERVES:
                return None
            case Duty.STANDS_BY:
                holder = self._lease.record.holder
                who = f"{holder} holds" if holder else "nobody is known to hold"
                return f"stands by: {who} lease {name}"
            case Duty.LEAVING:
                return f"has given lease {name} back"
            case Duty.CUT_OFF | Duty.LAPSED:
                return f"could not renew lease {name} in time"

    def _why_shut(self) -> ActivatorError | None:
        """Asked with each request: the clock decides, not what was told."""
        return None if self._lease.duty.admits else self._refusal()

    def _refusal(self) -> ActivatorError:
        return StoreUnavailable(f"This activator {self._in_words()}", retry_after=RETRY)

    def _why_no_line(self) -> ActivatorError | None:
        if self._duty.has_line:
            return None
        return ShuttingDown() if self._duty is Duty.LEAVING else self._refusal()

    def _follow(self) -> None:
        duty = self._lease.duty
        if duty is not self._duty:
            self._enter(duty)

    def _enter(self, duty: Duty) -> None:
        self._duty = duty
        why = self.why_not_serving or f"holds lease {self._turn.name}, term {self._lease.term}"
        self._events.record("", EVENTS[duty], why)
        if duty is Duty.SERVES and self._lease.term != self._taken:
            self._take_over()
        for live in self._registry:
            self.shut(live)
        if self._proxy is not None:  # whose clients are to connect anew, and reach another
            self._proxy.draining = not duty.admits or duty is Duty.LEAVING

    def _take_over(self) -> None:
        """What runs is ours from now on, as after a restart: idleness begins anew."""
        self._taken = self._lease.term
        found = self._lease.taken_from
        if found is None or not found.term:
            return  # nobody has ever held it
        self._turn.board.take_over(
            finishing=None if found.holder else found.finishing, is_up=self._is_up
        )
        for control in self._supervisor.all():
            control.verbs.touch()

    def _is_up(self, endpoint: str) -> bool:
        control = self._supervisor.get(endpoint)
        return control is not None and bool(control.snapshot.wanted)
