"""The body of a job on its way into memory: its pieces take room from the first on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activator.queueing.uploads import PiecewiseUpload

if TYPE_CHECKING:
    from activator.queueing.budget import Budget


class MemoryUpload(PiecewiseUpload):
    """`room`: bytes of the budget that it has so far."""

    def __init__(self, endpoint: str, *, owner: str, most: int, budget: Budget) -> None:
        super().__init__(
            endpoint, owner=owner, most=most, keep=self._keep_piece, forget=self._forget_all
        )
        self._kept: list[bytes] = []
        self._budget = budget
        self.room = 0

    async def _keep_piece(self, upload: PiecewiseUpload, number: int, piece: bytes) -> None:
        self._budget.take(len(piece))
        self._kept.append(piece)
        self.room += len(piece)

    async def _forget_all(self, upload: PiecewiseUpload) -> None:
        self._budget.give(self.room)
        self.take()

    def take(self) -> tuple[bytes, ...]:
        """The body; its room is the taker's."""
        body = (*self._kept, self.rest) if self.rest else tuple(self._kept)
        self._kept, self.room = [], 0
        self.used_up()
        return body
