"""A line on a terminal that says what goes on and for how long, for what takes over a second.

It is on stderr, and gone when it ends. Without a terminal there nothing is written.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Final, Self

from activator.cli.tables import span
from activator.telemetry.logs import printable

if TYPE_CHECKING:
    from types import TracebackType

    from rich.live import Live
    from rich.text import Text

AFTER: Final = 1.0
"""Seconds in which nobody wonders what goes on."""


class Progress:
    """While it is entered; `say` changes the words."""

    def __init__(self, words: str, *, after: float = AFTER) -> None:
        self._words = words
        self._began = time.monotonic()
        self._live: Live | None = None
        self._ended = False
        self._changing = threading.Lock()
        self._timer = threading.Timer(after, self._show)
        self._timer.daemon = True

    def say(self, words: str) -> None:
        self._words = words

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        with self._changing:
            self._ended = True
            if self._live is not None:
                self._live.stop()

    def _show(self) -> None:
        from rich.console import Console  # noqa: PLC0415  # costs 0.1 s, and only terminals need it
        from rich.live import Live  # noqa: PLC0415

        with self._changing:
            if self._ended:
                return
            # what is printed meanwhile goes where it always goes
            self._live = Live(
                get_renderable=self._line,
                console=Console(stderr=True),
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()

    def _line(self) -> Text:
        from rich.text import Text  # noqa: PLC0415  # as above

        passed = span(time.monotonic() - self._began)
        return Text(
            f"{printable(self._words)}  {passed}", style="dim", no_wrap=True, overflow="ellipsis"
        )
