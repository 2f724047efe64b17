"""Somebody has looked at the waiting page: for a while that is demand, whether or not they stay.

One visit an endpoint, however many look: it wakes the endpoint, holds no place in line, and ends
when a replica is ready or nobody has looked for a while. Whoever stays is counted by the stream.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from activator.aiokit.deadlines import Timed

if TYPE_CHECKING:
    from activator.errors import ActivatorError
    from activator.proxy.listener import Proxy
    from activator.upstream.registry import LiveEndpoint

LINGERS: Final = 12.0
"""Seconds: whoever has no JavaScript comes again every `page.REFRESH`, perhaps a little late."""


class Visit(Timed):
    """Implements gate's `Holder`. `deadline` as for `aiokit.deadlines`."""

    def __init__(self, proxy: Proxy, live: LiveEndpoint, *, request_id: bytes) -> None:
        """`request_id`: of the first who looked."""
        self._proxy = proxy
        self._live = live
        self.request_id = request_id
        self.deadline = self.looked_at = inf

    @property
    def held_bytes(self) -> int:
        return 0

    def begin(self) -> None:
        gate = self._live.gate
        gate.arrive()
        gate.queue(self)
        self._live.warmed = self.end
        self._proxy.visits[self._live] = self
        self.go_on()

    def go_on(self) -> None:
        """Somebody has looked again."""
        self.deadline = self._proxy.clock() + LINGERS
        self._proxy.deadlines.arm(self)

    def end(self) -> None:
        if self._proxy.visits.get(self._live) is not self:
            return
        del self._proxy.visits[self._live]
        self.deadline = inf
        self._proxy.deadlines.forget(self)
        self._live.gate.unhold(self)
        self._live.gate.leave(served=False)

    def refused(self, error: ActivatorError) -> None:
        self.end()

    def on_deadline(self, now: float) -> None:
        self.end()


def visit(proxy: Proxy, live: LiveEndpoint, *, request_id: bytes) -> None:
    """Somebody looks at the page now."""
    known = proxy.visits.get(live)
    if known is not None:
        known.go_on()
    else:
        Visit(proxy, live, request_id=request_id).begin()
