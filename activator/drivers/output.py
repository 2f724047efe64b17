"""What a model prints: cut into lines, the last ones kept, some of them logged, all of it bounded.

A progress bar's carriage return ends a line as a newline does. Reading, and what becomes of the
lines, is the caller's; time is an argument.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

KEPT_LINES = 20
"""How many of the last lines an error shows: a Python traceback's end."""
LINE_BYTES = 512
"""The rest of a longer line is dropped, so that output without a newline costs no memory."""
LOGGED_PER_SECOND = 200
"""Lines of one replica that are logged in any second; the loop also has requests to serve."""

_LINE_END = re.compile(rb"[\r\n]")
_UNPRINTABLE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0a-\x1f\x7f]")
_CUT = " …"


class Output:
    """One replica's output, standard output and standard error in the order they were written."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._kept: deque[bytes] = deque(maxlen=KEPT_LINES)
        self._partial = b""
        self._second = float("-inf")
        self._logged = 0
        self._unlogged = 0

    def feed(self, data: bytes, *, now: float) -> None:
        """Take what was read. `now` in monotonic seconds decides how much of it is logged."""
        if now - self._second >= 1.0:
            self._tell_unlogged()
            self._second, self._logged = now, 0
        *lines, rest = _LINE_END.split(data)
        for line in lines:
            self._end_of_line(self._joined(line))
            self._partial = b""
        self._partial = self._joined(rest)

    def last_lines(self) -> tuple[str, ...]:
        """The last lines that are not blank, oldest first; one that has not ended yet included."""
        lines = [*self._kept, self._partial] if self._partial.strip() else [*self._kept]
        return tuple(_readable(line) for line in lines[-KEPT_LINES:])

    def close(self) -> None:
        """Nothing more will come: log what has not been."""
        self._end_of_line(self._partial)
        self._partial = b""
        self._tell_unlogged()

    def _joined(self, piece: bytes) -> bytes:
        # one byte more than is shown, to know that it was cut
        return self._partial + piece[: LINE_BYTES + 1 - len(self._partial)]

    def _end_of_line(self, line: bytes) -> None:
        if not line.strip():
            return
        self._kept.append(line)
        if self._logged < LOGGED_PER_SECOND:
            self._logged += 1
            self._log(_readable(line))
        else:
            self._unlogged += 1

    def _tell_unlogged(self) -> None:
        if self._unlogged:
            self._log(f"({self._unlogged} more lines came too fast to be logged)")
            self._unlogged = 0


def _readable(line: bytes) -> str:
    cut = _CUT if len(line) > LINE_BYTES else ""
    return _UNPRINTABLE.sub("", line[:LINE_BYTES].decode(errors="replace")).rstrip() + cut
