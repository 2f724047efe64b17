"""What a store of held requests must offer, in the words of the domain.

A request that waits for a start leaves its body in the store and keeps a handle; whoever owns
its socket takes the body back when its turn comes.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from activator.errors import StoreUnavailable

NOTHING_SAID: Final[Mapping[str, str | bytes]] = MappingProxyType({})
DEFAULT_TTL: Final = 86_400.0
"""Seconds, for a body whose request may wait for ever."""


@dataclass(frozen=True, slots=True)
class Handle:
    """A body in the store."""

    key: str
    size: int


class BodyStore(Protocol):
    """Bodies of held requests, bounded in bytes over all endpoints."""

    async def keep(
        self,
        endpoint: str,
        chunks: Sequence[bytes],
        *,
        about: Mapping[str, str | bytes] = NOTHING_SAID,
        ttl: float = DEFAULT_TTL,
    ) -> Handle:
        """Store a whole body. Raises StoreUnavailable if it is full or away; nothing is kept.

        `about` is written beside it where others can see it. After `ttl` seconds a store that
        outlives its activators may forget it: longer than its request can wait.
        """

    def keep_then(
        self,
        endpoint: str,
        chunks: Sequence[bytes],
        told: Callable[[Handle | StoreUnavailable], None],
        *,
        about: Mapping[str, str | bytes] = NOTHING_SAID,
        ttl: float = DEFAULT_TTL,
    ) -> None:
        """As `keep`, without a task of its own: `told`, within this call or later, what that
        returns or raises."""

    async def take(self, handle: Handle) -> Sequence[bytes]:
        """The body, which leaves the store. Raises StoreUnavailable."""

    def take_now(self, handle: Handle) -> Sequence[bytes] | None:
        """As `take`, where nothing has to be waited for; None: it has to be."""

    async def discard(self, handle: Handle) -> None:
        """Forget a body whose request has left; unknown handles are no error."""

    @property
    def bytes_kept(self) -> int:
        """Of bodies that were kept by this activator and neither taken nor discarded yet."""
