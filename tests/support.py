"""Small helpers that many tests share."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


async def eventually(check: Callable[[], T], *, within: float = 10.0, every: float = 0.005) -> T:
    """The first true result of `check`, asked `every` so many seconds; fails with the last one."""
    deadline = time.monotonic() + within
    while not (result := check()):
        if time.monotonic() >= deadline:
            raise AssertionError(f"not so within {within} s; the last result was {result!r}")
        await asyncio.sleep(every)
    return result
