"""A request that has waited and was sent whole: mostly its body is at hand when its turn comes, and
so is a connection, left by the one before it in line.

Its answer mostly comes whole, too; whatever else happens is an Attempt's from then on, as if it had
been from the beginning. A line of thousands is only as fast as each of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from activator.proxy.handler import Exchange
    from activator.upstream.forward import Attempt
    from activator.upstream.registry import LiveReplica
    from activator.wire.client import ClientConnection
    from activator.wire.heads import ResponseHead


class Sent:
    """An Exchange's in an Attempt's place; wire's `Quick`."""

    __slots__ = ("_at", "_exchange", "_since", "_upstream")

    def __init__(
        self, exchange: Exchange, at: LiveReplica, upstream: ClientConnection, *, since: float
    ) -> None:
        """`since`: when it was sent (loop time). `at` owes the answer."""
        self._exchange = exchange
        self._at = at
        self._upstream = upstream
        self._since = since

    # --- from the replica

    def whole(self, head: ResponseHead, body: bytes) -> None:
        self._exchange.whole_after_wait(head, body, self._at, self._upstream)

    def in_steps(self) -> Attempt:
        return self._exchange.take_over(self._at, self._upstream, since=self._since)

    # --- from the client

    def abort(self) -> None:
        self._at.owes_less()
        self._upstream.close()

    def pause(self) -> None:
        """Its answer has not begun as long as it is one."""

    def resume(self) -> None:
        """As `pause`."""
