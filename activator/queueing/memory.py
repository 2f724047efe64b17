"""Bodies of held requests in this process's memory, for when there is no store outside.

Decides how a body is laid out and refuses what is beyond its bound; what may be held at all, and
for how long, is decided by whoever keeps it.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

from activator.errors import StoreUnavailable
from activator.queueing.base import DEFAULT_TTL, NOTHING_SAID, Handle
from activator.queueing.budget import Budget

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

WORTH_A_PIECE: Final = 4096
"""Bytes. An object costs some 50 bytes beside its content: pieces shorter than this on average
are joined; longer ones are kept as they are, which spares the copy and its momentary double."""


class MemoryStore:
    """`BodyStore` for one process; a body costs its own bytes and some 300 more."""

    def __init__(
        self, *, max_bytes: int | Budget, failed: Callable[[], None] = lambda: None
    ) -> None:
        """`max_bytes`: of all bodies together; or a budget that is shared with others. `failed`:
        called whenever something is refused."""
        self._failed = failed
        self._budget = max_bytes if isinstance(max_bytes, Budget) else Budget(max_bytes)
        self._bytes_kept = 0
        self._bodies: dict[str, bytes | tuple[bytes, ...]] = {}
        self._keys = count()

    async def keep(
        self,
        endpoint: str,
        chunks: Sequence[bytes],
        *,
        about: Mapping[str, str | bytes] = NOTHING_SAID,
        ttl: float = DEFAULT_TTL,
    ) -> Handle:
        return self._keep(chunks)

    def keep_then(
        self,
        endpoint: str,
        chunks: Sequence[bytes],
        told: Callable[[Handle | StoreUnavailable], None],
        *,
        about: Mapping[str, str | bytes] = NOTHING_SAID,
        ttl: float = DEFAULT_TTL,
    ) -> None:
        said: Handle | StoreUnavailable
        try:
            said = self._keep(chunks)
        except StoreUnavailable as error:
            said = error
        told(said)

    def _keep(self, chunks: Sequence[bytes]) -> Handle:
        size = sum(map(len, chunks))
        try:
            self._budget.take(size)
        except StoreUnavailable:
            self._failed()
            raise
        handle = Handle(key=f"{next(self._keys):x}", size=size)
        self._bodies[handle.key] = _compact(chunks, size)
        self._bytes_kept += size
        return handle

    async def take(self, handle: Handle) -> Sequence[bytes]:
        return self._take(handle)

    def take_now(self, handle: Handle) -> Sequence[bytes] | None:
        return self._take(handle)

    def _take(self, handle: Handle) -> Sequence[bytes]:
        body = self._bodies.pop(handle.key, None)
        if body is None:
            self._failed()
            raise StoreUnavailable("The body of this request is no longer in the store")
        self._give_back(handle.size)
        return body if isinstance(body, tuple) else (body,)

    async def discard(self, handle: Handle) -> None:
        if self._bodies.pop(handle.key, None) is not None:
            self._give_back(handle.size)

    @property
    def bytes_kept(self) -> int:
        return self._bytes_kept

    def _give_back(self, size: int) -> None:
        self._bytes_kept -= size
        self._budget.give(size)


def _compact(chunks: Sequence[bytes], size: int) -> bytes | tuple[bytes, ...]:
    if len(chunks) == 1:
        return chunks[0]
    if size < len(chunks) * WORTH_A_PIECE:
        return b"".join(chunks)
    return tuple(chunks)
