"""How often the store is asked for a step of a job while it is away."""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Final, TypeVar

from activator.core.jobs import Superseded
from activator.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

PAUSE: Final = 0.5
"""Seconds before a store that is away is asked again."""
PATIENCE: Final = 30.0
"""Seconds that a replica is kept waiting by a store that takes nothing."""


async def persist(step: Callable[[], Awaitable[T]], *, patience: float = PATIENCE) -> T:
    """Raises StoreUnavailable after `patience` seconds."""
    loop = asyncio.get_running_loop()
    until = loop.time() + patience
    while True:
        try:
            return await step()
        except StoreUnavailable:
            if loop.time() >= until:
                raise
        await asyncio.sleep(PAUSE)


async def report(step: Callable[[], Awaitable[T]]) -> T | None:
    """However long the store is away; None: it is another's job by now."""
    try:
        return await persist(step, patience=inf)
    except Superseded:
        return None
