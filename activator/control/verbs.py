"""What operators ask of one endpoint, passed to its life, and how it ended.

Decides only how long an answer is waited for. What may be done is `core.lifecycle`'s, who does it
when there are several activators `coordination.base.Wishes`'s.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from activator.coordination.base import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.core.effects import Answer
    from activator.core.lifecycle import Lifecycle
    from activator.telemetry.events import EventLog
    from activator.upstream.gate import Gate

DECIDED_WITHIN: Final = 5.0
"""Seconds that a deactivation is waited for: longer than activators that answer take for their
word, and short enough for whoever asked; then it is said to be under way."""

WHY: Final = "an operator asked for it"


class Verbs:
    """Implements `coordination.base.Subject`."""

    def __init__(
        self,
        name: str,
        *,
        life: Lifecycle,
        gate: Gate,
        events: EventLog,
        wake: Callable[[], None],
        refused: Callable[[], str | None],
    ) -> None:
        """`wake`: have the endpoint looked at; `refused`: why the driver refused the latest order,
        empty if it did not, None while it is being carried out."""
        self._name = name
        self._life = life
        self._gate = gate
        self._events = events
        self._wake = wake
        self._refused = refused
        self._asked: list[asyncio.Future[tuple[str, bool]]] = []
        self._watching: list[asyncio.Future[None]] = []

    def activate(self) -> None:
        self._life.activate()
        self._wake()

    def touch(self) -> None:
        self._life.touch()
        self._wake()

    def stay_down(self) -> None:
        self._life.stay_down()

    def pause(self) -> None:
        self._life.pause()
        self._gate.pause()
        self._events.record(self._name, "paused", WHY)
        self._wake()

    def resume(self) -> None:
        self._life.resume()
        self._gate.resume()
        self._events.record(self._name, "resumed", WHY)
        self._wake()

    async def deactivate(self, *, force: bool) -> Outcome:
        answer = asyncio.get_running_loop().create_future()
        self._asked.append(answer)
        self._life.deactivate(force=force)
        self._wake()
        try:
            async with asyncio.timeout(DECIDED_WITHIN):
                refusal, ordered = await answer
                if ordered:
                    refusal = await self._carried_out()
        except TimeoutError:
            return Outcome()
        finally:
            self._asked.remove(answer)
        return Outcome(refusal=refusal, done=not refusal)

    async def _carried_out(self) -> str:
        """Or why not: the driver has the last word."""
        while (refused := self._refused()) is None:
            await self._look()
        return refused

    async def until(self, true: Callable[[], bool], *, within: float) -> None:
        """Until a look at the endpoint has made it so, or that long."""
        self._wake()
        try:
            async with asyncio.timeout(within):
                await self._look()
                while not true():
                    await self._look()
        except TimeoutError:
            return

    async def _look(self) -> None:
        look = asyncio.get_running_loop().create_future()
        self._watching.append(look)
        await look

    def close(self) -> None:
        """No order is carried out any more."""
        self._refused = str

    # --- told by the control loop ---------------------------------------------------------------

    def answered(self, answer: Answer) -> None:
        """After the order that goes with it, if there is one, was passed on."""
        ordered = not answer.refusal and self._refused() is None
        for each in self._asked:
            if not each.done():
                each.set_result((answer.refusal, ordered))

    def looked(self) -> None:
        """At the endpoint, and what followed from it has been begun."""
        watching, self._watching = self._watching, []
        for each in watching:
            if not each.done():
                each.set_result(None)
