"""A body on its way into a store of jobs: measured, hashed, and passed on in pieces of one size.

Decides how much is kept back: what is left of a body when its job is created travels with that,
so that a small one needs no step of its own. Where the pieces go is the store's business.
"""

from __future__ import annotations

from hashlib import sha256
from secrets import token_bytes
from typing import TYPE_CHECKING, Final

from activator.core.job_ids import RANDOM, new_id
from activator.errors import BodyTooLarge

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PIECE: Final = 256 << 10
"""Bytes: one round trip each, and short enough not to keep others waiting."""


class PiecewiseUpload:
    """`Upload` over two functions of a store. `keep` is given a piece and how many came before."""

    def __init__(
        self,
        endpoint: str,
        *,
        owner: str,
        most: int,
        keep: Callable[[PiecewiseUpload, int, bytes], Awaitable[None]],
        forget: Callable[[PiecewiseUpload], Awaitable[None]],
    ) -> None:
        self.endpoint = endpoint
        self.job_id = new_id(endpoint, owner=owner, random=token_bytes(RANDOM))
        self.size = 0
        self.pieces = 0
        """That `keep` has taken."""
        self._most = most
        self._keep = keep
        self._forget = forget
        self._digest = sha256()
        self._rest: list[bytes] = []
        self._rest_size = 0
        self._over = False

    @property
    def fingerprint(self) -> bytes:
        return self._digest.digest()

    @property
    def rest(self) -> bytes:
        """What `keep` has not been given."""
        return b"".join(self._rest)

    async def write(self, data: bytes) -> None:
        assert not self._over, "this upload has been used or discarded"
        self.size += len(data)
        if self.size > self._most:
            await self.discard()
            raise BodyTooLarge(f"A job's body may have {self._most} bytes (jobs.maxBody)")
        self._digest.update(data)
        self._rest.append(data)
        self._rest_size += len(data)
        while self._rest_size >= PIECE:
            await self._flush()

    async def _flush(self) -> None:
        joined = memoryview(b"".join(self._rest))
        piece, rest = bytes(joined[:PIECE]), bytes(joined[PIECE:])
        self._rest, self._rest_size = [rest], len(rest)
        try:
            await self._keep(self, self.pieces, piece)
        except BaseException:
            await self.discard()
            raise
        self.pieces += 1

    async def discard(self) -> None:
        if not self._over:
            self.used_up()
            if self.pieces:
                await self._forget(self)

    def used_up(self) -> None:
        """A job has been created from it, or it has been thrown away."""
        self._over = True
        self._rest, self._rest_size = [], 0
