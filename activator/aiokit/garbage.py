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
"""As much as this part of what is never looked at has come to stay: endpoints by the thousand."""
AT_MOST: Final = 2
"""Times what has come to stay is never looked at. Less than a PART may be there only to go again,
and what of it holds each other would never be freed."""

_holding = 0
"""How many hold the collector off now: their works overlap."""
_stays = 0
"""Objects that have come to stay; 0: not known yet."""


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


def _put_away() -> None:
    global _stays  # noqa: PLW0603 -- there is one collector
    # what was made and what was freed cancel each other out in the collector's own count
    new, frozen = len(gc.get_objects(generation=0)), gc.get_freeze_count()
    _stays = _stays or frozen
    is_much = new >= frozen // PART
    if new >= MANY and (is_much or frozen < AT_MOST * _stays):
        gc.freeze()
        if is_much:
            _stays = gc.get_freeze_count()
