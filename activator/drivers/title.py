"""What a driver needs of an endpoint's deed (`core.deeds`): what is known, and what can be asked.

Implemented by `coordination.deeds`; which of it to ask when is `drivers.owned`'s to decide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.core.deeds import Deed, Ordered


class Title(Protocol):
    """One endpoint's deed as this activator knows it, and what it can ask of it. Questions raise
    StoreUnavailable; what they change is known when they are answered."""

    @property
    def me(self) -> str: ...

    @property
    def deed(self) -> Deed: ...

    @property
    def told_at(self) -> float:
        """Monotonic moment of what is told in it."""

    @property
    def is_known(self) -> bool:
        """It was read, or cannot be now."""

    @property
    def is_forgotten(self) -> bool:
        """The store has lost it."""

    @property
    def is_lost(self) -> bool:
        """Its holder has."""

    @property
    def may_claim(self) -> bool: ...

    @property
    def is_leaving(self) -> bool:
        """This activator is about to end."""

    @property
    def has_company(self) -> bool:
        """There may be other activators."""

    def follow(self, changed: Callable[[], None]) -> Callable[[], None]: ...

    def look(self) -> None: ...

    async def claim(
        self, *, wanted: int | None, told: bytes = b"", term: int | None = None
    ) -> bool: ...

    async def order(
        self, *, wanted: int, victims: tuple[str, ...], before: int | None, fence: str
    ) -> Ordered: ...

    async def revive(self) -> None: ...

    async def tell(
        self, *, term: int, taken: int, wanted: int, told: bytes, is_leaving: bool, aloud: bool
    ) -> bool: ...

    async def give_back(self, *, term: int, number: int, told: bytes) -> bool: ...
