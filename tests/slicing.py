"""How much is done between two turns of the loop."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from activator.aiokit import slices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest


class Turns:
    def __init__(self) -> None:
        self._steps = [0]
        self.told: Callable[[], None] = lambda: None
        """Called in each turn of the loop."""

    def step(self) -> None:
        """Called by the work."""
        self._steps[-1] += 1

    def step_with(self, patch: pytest.MonkeyPatch, of: Any, name: str) -> None:
        """Whenever this method is called."""
        method = getattr(of, name)

        def calls(*args: Any, **named: Any) -> Any:
            self.step()
            return method(*args, **named)

        patch.setattr(of, name, calls)

    @property
    def steps(self) -> int:
        return sum(self._steps)

    @property
    def longest(self) -> int:
        """Steps in one piece, at most."""
        return max(self._steps)

    def _turn(self) -> None:
        self._steps.append(0)
        self.told()
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
