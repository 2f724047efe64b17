"""Where much is made that stays, nobody looks for garbage: each look goes through all of it, in one
piece, and whoever is served waits meanwhile.

Decides when the process's collector is at work. What goes on beside is garbage as little as
requests usually are: nearly all of it is freed when the last one lets go of it.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

MANY: Final = 10_000
"""Objects: a look at so many takes some milliseconds."""
PART: Final = 4
"""Fewer than this part of what is never looked at are looked at as usual: of what is made again and
again, and goes again, each time would leave its garbage for ever."""

_holding = 0
"""How many hold the collector off now: their works overlap."""


@contextmanager
def uncollected() -> Iterator[None]:
    """Of work that takes seconds. If it has left many objects they are never looked at, as those
    that were made at the start: so much garbage at most may stay as that is."""
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
            # what was made and what was freed cancel each other out in the collector's own count
            if len(gc.get_objects(generation=0)) >= max(MANY, gc.get_freeze_count() // PART):
                gc.freeze()
            gc.enable()
