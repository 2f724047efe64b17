"""What a store of drains must offer. What may follow what in it is decided by `core.draining`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activator.coordination.board_talk import Declared
    from activator.core.draining import Drain


class DrainStore(Protocol):
    """All verbs raise StoreUnavailable. What they change is also called out to all activators
    (`Declared`, `Answered`, `Revived`, `Concluded`)."""

    async def join(self, endpoints: Sequence[str], act: str) -> Sequence[Drain]:
        """Returns the records as they then are, `words` apart."""

    async def leave(self, endpoints: Sequence[str], act: str) -> None: ...

    async def declare(
        self, endpoint: str, *, by: str, term: int, replicas: tuple[str, ...] | None, fence: str
    ) -> tuple[Drain, bool]:
        """Returns the record as it then is, and whether everybody is asked."""

    async def answer(self, endpoint: str, *, act: str, number: int, quiet: bool) -> None:
        """Void if this drain is over."""

    async def agree(self, endpoint: str, *, number: int, excused: Sequence[str]) -> bool: ...

    async def revive(self, endpoint: str, *, act: str) -> Drain:
        """Returns the record as it was before, `words` apart."""

    async def conclude(self, endpoint: str, *, number: int, ordered: bool) -> None:
        """Called out even if the drain was over already."""

    async def remind(self, declared: Declared) -> None:
        """Call out once more what was declared."""
