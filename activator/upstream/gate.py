"""The gate in front of one endpoint: who is counted, who waits, who holds a slot.

It knows its `SlotLedger` and nothing behind it. It decides nothing about order or slots (the
ledger does) nor about starting replicas (control does, which it wakes); it keeps the counts that
idleness and bounds are judged by.
"""

from __future__ import annotations

import logging
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Protocol

from activator.errors import Paused, QueueFull

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from activator.coordination.base import Granted, SlotLedger
    from activator.core.dispatch import Ticket
    from activator.core.endpoint import Endpoint, Replica
    from activator.core.held import HeldRequest
    from activator.errors import ActivatorError


_log = logging.getLogger("activator.upstream")


class OpenTunnel(Protocol):
    last_byte: float

    def close(self) -> None: ...


class Holder(Protocol):
    """A request that waits."""

    @property
    def held_bytes(self) -> int:
        """Bytes of its body that were counted by `hold_bytes`."""

    @property
    def request_id(self) -> bytes: ...

    def refused(self, error: ActivatorError) -> None:
        """It waits in vain; it leaves before this returns."""


class HeldClient(Holder, Protocol):
    """A request that waits, and its client with it."""

    @property
    def described(self) -> HeldRequest:
        """As operators see it."""


class Gate:
    """One activator's gate of one endpoint."""

    __slots__ = (
        "__weakref__", "_clock", "_endpoint", "_held", "_is_shut", "_last_ended", "_no_line",
        "_open", "_paused", "_queued", "_quiet", "_sought", "_tunnels", "acquire_now", "answered",
        "held_bytes", "held_elsewhere", "ledger", "load", "release", "stirred", "wake",
        "withdraw",
    )  # fmt: skip

    def __init__(
        self, endpoint: Endpoint, ledger: SlotLedger, *, clock: Callable[[], float]
    ) -> None:
        self._endpoint = endpoint
        self.ledger = ledger
        """For whoever goes straight: the methods below are its own, made for this gate."""
        # every request passes here several times: no layer of ours between it and the ledger
        self.acquire_now = ledger.acquire_now
        self.release = ledger.release
        self.withdraw = ledger.withdraw
        self.answered = ledger.answered
        self.load = ledger.load
        self._clock = clock
        self._open = 0
        self._paused = False
        self._quiet = False
        self._is_shut = False
        self._no_line: ActivatorError | None = None
        self._held: dict[HeldClient, float] = {}
        """Whose clients wait, and since when; who has waited longest comes first."""
        self._queued: dict[Holder, None] = {}
        """Detached jobs of this activator that wait for a slot."""
        self._tunnels: set[OpenTunnel] = set()
        self.held_bytes = 0
        self._sought = False
        self._last_ended = -inf
        self.wake: Callable[[], None] = _nobody
        self.stirred: Callable[[], None] = _nobody
        """Told when a request comes after there was none, or has to wait."""
        self.held_elsewhere: Callable[[], tuple[int, int]] = _nothing
        """Requests, and bytes of their bodies, that wait at other activators: bounds hold for all
        of them together."""

    # --- a request's way through ----------------------------------------------------------------

    def acquire(self, ticket: Ticket, granted: Granted) -> Replica | None:
        """A replica with a slot at once, or None and `granted` later."""
        return self.ledger.acquire(ticket, granted)

    def arrive(self) -> None:
        """A request that is demand has come; `leave` ends what this begins."""
        self._open += 1
        if self._open == 1:
            self.stirred()

    def leave(self, *, served: bool) -> None:
        """`served`: it was at a replica, so idleness counts from now."""
        self._open -= 1
        if served:
            self._last_ended = self._clock()

    def served(self, now: float) -> None:
        """`leave` of a request that a replica has answered just `now`."""
        self._open -= 1
        self._last_ended = now

    def leave_for_elsewhere(self) -> None:
        """Ends what `arrive` has begun: somebody else answers the request, but what it came for is
        to be there for the next."""
        self._open -= 1
        self._sought = True
        self.wake()

    def hold(self, holder: HeldClient) -> float:
        """One more waits. Returns since when. Raises QueueFull or Paused at the bound; then nothing
        is counted."""
        if (crowd := self.crowd()) is not None:
            raise crowd
        if holder.held_bytes:
            self.hold_bytes(holder.held_bytes)
        self._held[holder] = now = self._clock()
        self.stirred()
        self.wake()
        return now

    def hold_again(self, holder: HeldClient) -> float:
        """It was accepted before and comes back: no bound applies to it any more."""
        self._held[holder] = now = self._clock()
        self.held_bytes += holder.held_bytes
        self.stirred()
        self.wake()
        return now

    def queue(self, holder: Holder) -> None:
        """A detached job waits for a slot: no client does, so that it takes nobody's place. How
        many there may be is bounded where they are kept."""
        self._queued[holder] = None
        self.stirred()
        self.wake()

    @property
    def held_since(self) -> float | None:
        """Monotonic moment at which the one that has waited longest came, or came back."""
        return next(iter(self._held.values()), None)

    @property
    def first_in_line(self) -> str:
        """The id of the request that has waited longest here, or of the job; empty: none waits."""
        holder = next(iter(self._held or self._queued), None)
        return "" if holder is None else holder.request_id.decode("latin-1")

    def crowd(self) -> QueueFull | Paused | None:
        """Why one more client may not wait now; None: it may."""
        most = self._endpoint.queue.max_requests
        held = len(self._held) + self.held_elsewhere()[0]
        if most and held >= most:
            return self.at_bound(f"{held} requests wait already (queue.maxRequests)")
        return None

    def hold_bytes(self, size: int) -> None:
        """Bytes of a body that waits. Raises as `hold`; then these bytes are not counted."""
        most = self._endpoint.queue.max_bytes
        held = self.held_bytes + self.held_elsewhere()[1]
        if most and held + size > most:
            raise self.at_bound(f"{held} bytes wait already (queue.maxBytes)")
        self.held_bytes += size

    def unhold(self, holder: Holder) -> None:
        """It waits no longer."""
        if holder in self._held:
            del self._held[holder]
            self.held_bytes -= holder.held_bytes
        else:
            self._queued.pop(holder, None)

    def open_tunnel(self, tunnel: OpenTunnel) -> None:
        self._tunnels.add(tunnel)

    def close_tunnel(self, tunnel: OpenTunnel) -> None:
        self._tunnels.discard(tunnel)

    def place(self, ticket: Ticket) -> int | None:
        return self.ledger.place(ticket)

    @property
    def full(self) -> bool:
        """A request that came now would have to wait."""
        return self.ledger.full

    def at_bound(self, why: str) -> QueueFull | Paused:
        """What is said to somebody who finds a bound reached."""
        if self._paused:
            return Paused(f"{Paused.title}, and {why}", retry_after=10)
        return QueueFull(f"{QueueFull.title}: {why}", retry_after=5)

    # --- what control sees and does -------------------------------------------------------------

    @property
    def demand(self) -> int:
        """Held and in flight, without tunnels that have been silent for `scale.upgradeIdle`."""
        silent = self._endpoint.scale.upgrade_idle
        if not silent or not self._tunnels:
            return self._open
        now = self._clock()
        return self._open - sum(now - tunnel.last_byte >= silent for tunnel in self._tunnels)

    def take_sought(self) -> bool:
        """Whether a request has gone elsewhere since this was asked: it was demand for a start,
        however soon it was answered, and is none for keeping up what has started."""
        sought, self._sought = self._sought, False
        return sought

    @property
    def last_ended(self) -> float:
        """Monotonic end of the last response; -inf before the first. A tunnel that does not count
        any more ended when it stopped counting."""
        silent = self._endpoint.scale.upgrade_idle
        if not silent or not self._tunnels:
            return self._last_ended
        now = self._clock()
        stopped = [tunnel.last_byte + silent for tunnel in self._tunnels]
        return max([self._last_ended, *(moment for moment in stopped if moment <= now)])

    @property
    def in_flight(self) -> int:
        """Requests that are demand and do not wait."""
        return self._open - len(self._held) - len(self._queued)

    @property
    def held(self) -> int:
        """Requests whose clients wait, bodies still arriving included; no detached jobs."""
        return len(self._held)

    @property
    def is_at_rest(self) -> bool:
        """No request is here, not even a tunnel that is no demand."""
        return not self._open

    @property
    def has_tunnels(self) -> bool:
        return bool(self._tunnels)

    @property
    def paused(self) -> bool:
        return self._paused

    @property
    def loads(self) -> Mapping[str, int]:
        """This activator's requests in flight by replica, also at those that it is not offered any
        more; by the ids that all activators know."""
        return self.ledger.loads

    def offer(self, replicas: Sequence[tuple[Replica, bool]]) -> None:
        self.ledger.offer(replicas)

    def configure(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self.ledger.configure(endpoint)

    def pause(self) -> None:
        """Hold everything that comes until `resume`."""
        self._paused = True
        self.ledger.hold()

    def resume(self) -> None:
        self._paused = False
        self._resume()

    def quiesce(self) -> bool:
        """With nothing held and in flight: hold what comes until `revive` and say True."""
        if self.demand:
            return False
        self._quiet = True
        self.ledger.hold()
        return True

    def revive(self) -> None:
        self._quiet = False
        self._resume()

    def shut(self, *, no_slots: bool, no_line: ActivatorError | None) -> None:
        """Until it is said otherwise: give nobody a slot; have clients not wait, but told this."""
        self._is_shut, self._no_line = no_slots, no_line
        if no_slots:
            self.ledger.hold()
        else:
            self._resume()
        self.wake()

    def turn_away(self) -> None:
        """Whoever waits although nobody may (`shut`). Detached jobs stay: no client waits."""
        if self._no_line is not None and self._held:
            self._tell(list(self._held), self._no_line)

    def _resume(self) -> None:
        if not (self._paused or self._quiet or self._is_shut):
            self.ledger.resume()

    def refuse_held(self, error: ActivatorError) -> None:
        """Everyone who waits now is told `error`."""
        self._tell([*self._held, *self._queued], error)

    def _tell(self, holders: Sequence[Holder], error: ActivatorError) -> None:
        for holder in holders:
            try:
                holder.refused(error)
            except Exception:
                _log.exception("a held request could not be told", extra={"action": "not_told"})

    def listed(self, first: int, most: int) -> list[HeldRequest]:
        """So many of those whose clients wait, from the `first` (0: has waited longest)."""
        return [each.described for each in islice(self._held, first, first + most)]

    def cancel(self, request_id: str, error: ActivatorError) -> int:
        """Whoever waits under this id is told `error`. Returns how many that were: ids are the
        clients', who may use one twice."""
        wanted = request_id.encode()
        found = [each for each in self._held if each.request_id == wanted]
        for holder in found:
            holder.refused(error)
        return len(found)

    def close_tunnels(self) -> None:
        for tunnel in list(self._tunnels):
            tunnel.close()

    def close(self) -> None:
        self.ledger.close()


def _nobody() -> None:
    """Before control has taken the endpoint over nobody needs waking."""


def _nothing() -> tuple[int, int]:
    """There is no other activator."""
    return 0, 0
