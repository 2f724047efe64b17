"""Lets what was learned of starts outlive the activator: noted in the store, and read back.

Every activator sees every start of the endpoints that it shares, so one of them notes it. What is
expected of the next start is `core.eta`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from activator.control.keeper import Keeper

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from activator.control.controller import Controller
    from activator.coordination.base import StartLog


class Experience:
    """See the module."""

    def __init__(
        self,
        log: StartLog,
        *,
        controls: Callable[[], Mapping[str, Controller]],
        leading: Callable[[], bool],
    ) -> None:
        self._log = log
        self._leading = leading
        self._keeper: Keeper[Controller] = Keeper(
            "experience",
            current=controls,
            recall=self._recall,
            has_news=lambda control: bool(control.cold_starts.news),
            note=self._note,
        )
        self.start = self._keeper.start
        self.aclose = self._keeper.aclose

    async def _recall(self, new: Mapping[str, Controller]) -> None:
        starts = await self._log.last(new.keys())
        for name, control in new.items():
            control.cold_starts.recall(starts[name])

    async def _note(self, name: str, control: Controller) -> None:
        news = control.cold_starts.news
        while news:
            if self._leading():
                await self._log.note(name, news[0])
            news.popleft()
