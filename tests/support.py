"""Small helpers that many tests share."""

from __future__ import annotations

import asyncio
import gc
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def running_clock() -> float:
    """Seconds, without those for which the machine had no core for this thread."""
    try:
        delayed = int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1])
    except FileNotFoundError:  # another system, or a kernel that does not count them
        delayed = 0
    return time.monotonic() - delayed / 1e9


PATIENCE = 5.0
"""Seconds of a machine that keeps up. No more: much of what is lost is found again after 5 s, by a
probe or a silence, and a test that waits for longer does not see that it was lost."""
LATE = 0.02
"""Seconds that one look may take on a machine that keeps up."""
LONGEST = 20.0
"""Seconds of any machine."""


async def eventually(
    check: Callable[[], T], *, within: float | None = None, every: float = 0.005
) -> T:
    """The first true result of `check`, asked `every` so many seconds; fails with the last one.

    `within`: seconds, by the clock. Without, it only bounds hanging: PATIENCE, of which a busy
    machine, on which each look comes late, has more.
    """
    began = time.monotonic()
    spent = 0.0
    while not (result := check()):
        asked = time.monotonic()
        if asked - began >= (LONGEST if within is None else within) or (
            within is None and spent >= PATIENCE
        ):
            raise AssertionError(
                f"not so within {asked - began:.1f} s; the last result was {result!r}"
            )
        await asyncio.sleep(every)
        spent += min(time.monotonic() - asked, max(every, LATE))
    return result


def end_of_freezing() -> None:
    """What a test has had frozen is looked at again, but not what stays of it: all tests are among
    that, and to look at them takes a quarter of a second each time."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
