"""A body on its way is read for some of its fields, a slice at a time, all bodies in turn.

However many large bodies arrive at once, and however they are written, reading them takes a few
milliseconds of each turn of the loop at most. What is read for is the scanner's business, what
follows from it the owner's.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from activator.proxy.openai.multipart import Multipart, boundary_of
from activator.proxy.openai.toplevel import TopLevel

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from activator.proxy.openai.toplevel import Value
    from activator.wire.heads import RequestHead

A_TURN: Final = 0.004
"""Seconds of one turn of the loop that go to reading, all bodies together."""
AT_ONCE: Final = 2
"""Slices that are read as they come, if nobody else waits: most bodies are no longer."""


class Turns:
    """Whose body is read next."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float]) -> None:
        self._loop = loop
        self._clock = clock
        self._waiting: deque[Reading] = deque()
        self._scheduled = False

    @property
    def idle(self) -> bool:
        return not self._waiting

    def wait(self, reading: Reading) -> None:
        self._waiting.append(reading)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        until = self._clock() + A_TURN
        while self._waiting and self._clock() < until:
            self._waiting.popleft().take_turn()
        if self._waiting:
            self._schedule()


class Reading:
    """One body. `told` is called whenever there is something new: a value, the end, or that what
    has come was read after all."""

    __slots__ = ("_ended", "_scanner", "_stopped", "_told", "_turns", "_waits")

    def __init__(
        self, turns: Turns, head: RequestHead, wanted: Mapping[str, int], told: Callable[[], None]
    ) -> None:
        """`wanted`: for each field how many bytes of its value are kept at most."""
        self._turns = turns
        self._told = told
        self._scanner = _scanner(head, wanted)
        self._waits = False
        self._ended = False
        self._stopped = False

    @property
    def found(self) -> Mapping[str, Value]:
        return self._scanner.found

    @property
    def over(self) -> bool:
        """Nothing more will be found."""
        return self._scanner.over or (self._ended and not self._scanner.pending)

    @property
    def behind(self) -> bool:
        """It has not read all that has come."""
        return self._scanner.pending

    def feed(self, data: bytes) -> None:
        """`told` may be called before this returns."""
        self._scanner.feed(data)
        if not self._waits and not self._stopped:
            self._go_on(AT_ONCE if self._turns.idle else 0)

    def end(self) -> None:
        """The body is complete; `told` may be called before this returns."""
        self._ended = True
        if not self._waits and not self._stopped and not self._scanner.pending:
            self._told()

    def stop(self) -> None:
        """Read no further, unless it is to `resume`; nobody is told, nor held, until then."""
        self._stopped = True
        self._told = _nobody

    def resume(self, told: Callable[[], None]) -> None:
        """Read on for another owner; `told` may be called before this returns."""
        self._told = told
        self._stopped = False
        if not self._waits:
            self._go_on(AT_ONCE if self._turns.idle else 0)
        if self.over:
            self._told()

    def take_turn(self) -> None:
        self._waits = False
        if not self._stopped:
            self._go_on(1)
            if not self._scanner.pending and not self._stopped:
                self._told()

    def _go_on(self, slices: int) -> None:
        scanner = self._scanner
        while slices and scanner.pending and not self._stopped:
            slices -= 1
            known = len(scanner.found)
            scanner.step()
            if len(scanner.found) > known or self.over:
                self._told()
        if scanner.pending and not self._stopped and not self._waits:
            self._waits = True
            self._turns.wait(self)


def _nobody() -> None:
    """Its owner has had enough."""


def _scanner(head: RequestHead, wanted: Mapping[str, int]) -> TopLevel | Multipart:
    """JSON unless the head says otherwise: curl calls everything a form."""
    if head.get(b"content-encoding") is not None:
        return _Nothing(wanted)
    boundary = boundary_of(head.get(b"content-type") or b"")
    return TopLevel(wanted) if boundary is None else Multipart(boundary, wanted)


class _Nothing(TopLevel):
    """Of a body that cannot be read."""

    def __init__(self, wanted: Mapping[str, int]) -> None:
        super().__init__(wanted)
        self.over = True
