"""What all activators together have of one endpoint, as far as this one knows.

Decides nothing: what the others have is the demand board's to say, what is here the gate's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from activator.coordination.ledger_entry import shared_id

if TYPE_CHECKING:
    from activator.coordination.base import DemandBoard
    from activator.upstream.registry import LiveEndpoint


class Everywhere:
    """Of one endpoint."""

    __slots__ = ("_board", "_live", "_name")

    def __init__(self, live: LiveEndpoint, board: DemandBoard) -> None:
        self._name = live.endpoint.name
        self._live = live
        self._board = board

    def take_demand(self) -> int:
        """Held, in flight and queued; what was only sought since this was last asked counts too."""
        live = self._live
        return self._board.demand(self._name) + live.queued() + live.gate.take_sought()

    @property
    def last_ended(self) -> float:
        return self._board.last_ended(self._name)

    @property
    def unsure_until(self) -> float:
        return self._board.unsure_until(self._name)

    def in_flight(self, replica_id: str) -> int:
        """Whoever shares slots has heard more than this, but maybe not since it had a request
        itself."""
        name = shared_id(replica_id)
        elsewhere = self._board.elsewhere(self._name).loads
        return self._live.gate.loads.get(name, 0) + elsewhere.get(name, 0)

    def held_elsewhere(self) -> tuple[int, int]:
        """How many requests wait there, and the bytes of their bodies."""
        share = self._board.elsewhere(self._name)
        return share.held, share.held_bytes

    def used_elsewhere(self) -> bool:
        """Another activator has a request, or had the last one."""
        is_last = self.last_ended <= self._live.gate.last_ended
        return bool(self._board.elsewhere(self._name).demand) or not is_last
