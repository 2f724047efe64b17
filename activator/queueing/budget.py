"""How many bytes this process may keep for others: one sum, whoever keeps them."""

from __future__ import annotations

from typing import Final

from activator.errors import StoreUnavailable

RETRY_AFTER: Final = 5.0
"""Seconds: bodies leave the store as soon as a replica is ready."""


class Budget:
    """Bytes, taken before they are kept and given back after."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.used = 0

    def take(self, size: int) -> None:
        """Raises StoreUnavailable if there is not so much left; then nothing is taken."""
        if self.used + size > self._most:
            raise full(size, used=self.used, most=self._most)
        self.used += size

    def give(self, size: int) -> None:
        self.used -= size


def full(size: int, *, used: int, most: int) -> StoreUnavailable:
    return StoreUnavailable(
        f"No room for {size} bytes: {used} of {most} are in use", retry_after=RETRY_AFTER
    )
