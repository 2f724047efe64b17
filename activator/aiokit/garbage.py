"""Where much is made that stays, nobody looks for garbage: each look goes through all of it, in one
piece, and whoever is served waits meanwhile.

Decides when the process's collector is at work. What goes on beside is garbage as little as
requests usually are: nearly all of it is freed when the last one lets go of it.
"""

from __future__ import annotations

import gc
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

MANY: Final = 10_000
"""Objects: a look at so many takes some milliseconds."""
BLOCKS: Final = 2
"""Of memory, that an object is with what it holds, roughly. All blocks are counted in half a
millisecond; what is never looked at is counted one by one."""
PART: Final = 4
"""As much as this part of all else has come to stay: endpoints by the thousand."""
AT_MOST: Final = 2
"""Times what has come to stay may be there. Less than a PART may have come only to go again, and
what of it holds each other would never be freed."""

_holding = 0
"""How many hold the collector off now: their works overlap."""
_stays = 0
"""Blocks, when something had come to stay; 0: not known yet."""


@contextmanager
def uncollected() -> Iterator[None]:
    """Of work that takes seconds. If it has left many objects they are never looked at, as those
    that were made at the start."""
    global _holding  # noqa: PLW0603 -- there is one collector
    if not _holding and not gc.isenabled():  # by somebody who has reasons of their own
        yield
        return
    _holding += 1
    gc.disable()
    try:
        yield
    finally:
        _holding -= 1
        if not _holding:
            _put_away()
            gc.enable()


def put_away() -> None:
    """Said now and then by who works `uncollected` on thousands of things: to count what they have
    left all at once takes too long."""
    if _holding:
        _put_away()


def _put_away() -> None:
    global _stays  # noqa: PLW0603 -- there is one collector
    # what was made and what was freed cancel each other out in the collector's own count
    new = len(gc.get_objects(generation=0))
    if new < MANY:
        return
    blocks = sys.getallocatedblocks()
    before = max(blocks - BLOCKS * new, 0)
    is_much = BLOCKS * new >= before // PART
    if is_much or before < AT_MOST * (_stays or before):
        gc.freeze()
    if is_much or not _stays:
        _stays = blocks
