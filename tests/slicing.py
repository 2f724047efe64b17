"""How much is done between two turns of the loop."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from activator.aiokit import slices

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest


class Turns:
    def __init__(self) -> None:
        self._steps = [0]

    def step(self) -> None:
        """Called by the work."""
        self._steps[-1] += 1

    @property
    def steps(self) -> int:
        return sum(self._steps)

    @property
    def longest(self) -> int:
        """Steps in one piece, at most."""
        return max(self._steps)

    def _turn(self) -> None:
        self._steps.append(0)
        self._next = asyncio.get_running_loop().call_soon(self._turn)

    @contextlib.contextmanager
    def counted(self) -> Iterator[Turns]:
        self._turn()
        try:
            yield self
        finally:
            self._next.cancel()


def counted(monkeypatch: pytest.MonkeyPatch) -> contextlib.AbstractContextManager[Turns]:
    """While every slice is used up at once, so that it does not depend on how fast this is."""
    monkeypatch.setattr(slices, "SLICE", 0.0)
    return Turns().counted()
