"""How long starts took, for the only activator there is: it ends with the process."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from activator.core.eta import REMEMBERED_STARTS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


class MemoryStartLog:
    """Implements `coordination.base.StartLog`."""

    def __init__(self) -> None:
        self._starts: dict[str, deque[Mapping[str, float]]] = {}

    async def note(self, endpoint: str, phases: Mapping[str, float]) -> None:
        starts = self._starts.setdefault(endpoint, deque(maxlen=REMEMBERED_STARTS))
        starts.append(dict(phases))

    async def last(self, endpoints: Collection[str]) -> Mapping[str, Sequence[Mapping[str, float]]]:
        return {name: tuple(self._starts.get(name, ())) for name in endpoints}
