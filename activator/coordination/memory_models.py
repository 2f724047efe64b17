"""What replicas said they serve, for the only activator there is: it ends with the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from activator.core.catalogue import ModelCard


class MemoryModelList:
    """Implements `coordination.base.ModelList`."""

    def __init__(self) -> None:
        self._cards: dict[str, tuple[ModelCard, ...]] = {}

    async def note(self, endpoint: str, cards: Sequence[ModelCard]) -> None:
        self._cards[endpoint] = tuple(cards)

    async def last(self, endpoints: Collection[str]) -> Mapping[str, tuple[ModelCard, ...]]:
        return {name: self._cards.get(name, ()) for name in endpoints}
