"""What of a model's pieces a client sees: when an answer ends, why, and where it is cut.

Pure: pieces in, text out. How fast they come and how they are spoken of in HTTP is left to
`server` and `openai`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Finish = Literal["stop", "length"]


class Generation:
    """One answer as it grows. Iterate it once; `finish` and `tokens` hold when that has ended."""

    def __init__(
        self, pieces: Iterable[str], *, max_tokens: int, stop: tuple[str, ...] = ()
    ) -> None:
        self._pieces = pieces
        self._max_tokens = max_tokens
        self._stop = stop
        self.tokens = 0
        self.finish: Finish = "stop"

    def __iter__(self) -> Iterator[str]:
        """The text each token adds; empty where it is held back as it may begin a stop string."""
        held = ""
        for piece in self._pieces:
            self.tokens += 1
            held += piece
            if (cut := self._first_stop(held)) is not None:
                yield held[:cut]
                return
            keep = self._possible_stop(held)
            visible, held = held[: len(held) - keep], held[len(held) - keep :]
            if self.tokens == self._max_tokens:
                self.finish = "length"
                yield visible + held
                return
            yield visible
        if held:
            yield held

    def _first_stop(self, text: str) -> int | None:
        found = [at for stop in self._stop if (at := text.find(stop)) >= 0]
        return min(found, default=None)

    def _possible_stop(self, text: str) -> int:
        """How many characters at the end of `text` a stop string may begin with."""
        return max(
            (
                length
                for stop in self._stop
                for length in range(1, len(stop))
                if text.endswith(stop[:length])
            ),
            default=0,
        )
