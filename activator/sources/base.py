"""A source tells the declared configuration, again after every change, and never an invalid one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from activator.config.settings import Settings


class Source(Protocol):
    async def run(
        self, changed: Callable[[Settings], Awaitable[None]], refused: Callable[[list[str]], None]
    ) -> None:
        """Works until cancelled. `changed` gets a new valid configuration, and nothing else is told
        before it has taken that up; `refused` gets the problems of one that is invalid (the one
        before stays in force)."""

    def poke(self) -> None:
        """Look again now (SIGHUP)."""
