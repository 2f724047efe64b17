"""Lines of text to a descriptor that may not take them: by a thread, within a bound.

Whoever logs never waits: a collector that does not read, or a disk that is full, costs lines and
not requests. What is lost is counted, and said in its place as soon as something is read again.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

MOST: Final = 4 << 20
"""Bytes of lines that wait to be written: seconds of a line a request, and little memory."""
BATCH: Final = 256
"""Lines in one write: some tens of KiB, as much as a pipe takes at once."""
GATHER: Final = 0.01
"""Seconds in which lines come together: the thread takes its share of the interpreter from who
serves requests each time it wakes."""
LEAVE: Final = 1.0
"""Seconds that the end of the process waits for the last lines to be taken."""


class LogWriter:
    """`put` from one thread at a time (a logging handler's lock sees to that)."""

    def __init__(
        self, write: Callable[[bytes], None], *, lost: Callable[[int], str], most: int = MOST
    ) -> None:
        """`write`: all of it, or OSError. `lost`: the line that says that so many are missing."""
        self._write = write
        self._lost = lost
        self._most = most
        self._lines: deque[bytes | int | threading.Event | None] = deque()
        """Lines, numbers of lines that are missing here, whom to tell that it came so far, the
        end."""
        self._called = False
        """The thread is going to look at what there is by now."""
        self._call = threading.Event()
        # each counter has one thread that adds to it: no lock between who logs and who writes
        self._put = self._refused = self._said = 0
        self._taken = self._failed = self._unsaid = 0
        self._stuck_at = -1
        """Bytes taken when the last `flush` gave up."""
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    @property
    def full(self) -> bool:
        return self._put - self._taken >= self._most

    @property
    def dropped(self) -> int:
        """Lines that were not written, since the beginning."""
        return self._refused + self._failed

    def put(self, line: str) -> None:
        """With its end. Never waits; the line is lost if too much waits already."""
        data = line.encode(errors="backslashreplace")
        if self._put - self._taken >= self._most:
            self._refused += 1
            return
        if self._refused + self._failed + self._unsaid != self._said:
            self._say_lost()
        self._put += len(data)
        self._lines.append(data)
        if not self._called:
            self._rouse()

    def refuse(self) -> None:
        """A line was not even made, since it was `full`."""
        self._refused += 1

    def flush(self, *, within: float = LEAVE) -> None:
        """Until everything put so far has been written, or it is plain that nobody reads."""
        if self._stuck_at == self._taken or not self._thread.is_alive():
            return
        self._say_lost()
        written = threading.Event()
        self._hurry.set()
        self._lines.append(written)
        self._rouse()
        if not written.wait(within):
            self._stuck_at = self._taken

    def close(self) -> None:
        """No more lines; what was put is still written, if the process lasts."""
        self._hurry.set()
        self._lines.append(None)
        self._rouse()

    def _rouse(self) -> None:
        self._called = True
        self._call.set()

    def _say_lost(self) -> None:
        lost = self.dropped + self._unsaid - self._said
        if lost:
            self._said += lost
            self._lines.append(lost)

    def _run(self) -> None:
        lines = self._lines
        while True:
            self._call.wait()
            self._call.clear()
            if len(lines) < BATCH:
                self._hurry.wait(GATHER)
            self._called = False  # whoever puts a line from here on calls again
            while lines:
                some = [lines.popleft() for _ in range(min(len(lines), BATCH))]
                try:
                    data = b"".join(some)  # type: ignore[arg-type]  # nothing but lines, mostly
                except TypeError:
                    if self._write_mixed(some):
                        return
                else:
                    self._deliver(data, size=len(data), lines=len(some))

    def _write_mixed(self, some: list[bytes | int | threading.Event | None]) -> bool:
        """True: the end is among them."""
        lines: list[bytes] = []
        flushed: list[threading.Event] = []
        size = missing = said = 0
        ended = False
        for one in some:
            match one:
                case bytes():
                    lines.append(one)
                    size += len(one)
                case int():
                    lines.append(self._lost(one).encode())
                    missing += one
                    said += 1
                case threading.Event():
                    flushed.append(one)
                case None:
                    ended = True
        self._deliver(b"".join(lines), size=size, lines=len(lines) - said, missing=missing)
        if flushed:
            self._hurry.clear()
        for each in flushed:
            each.set()
        return ended

    def _deliver(self, data: bytes, *, size: int, lines: int, missing: int = 0) -> None:
        """`size`: of what was put. `missing`: lines whose loss is told in it."""
        try:
            self._write(data)
        except (OSError, ValueError):
            self._failed += lines
            self._unsaid += missing
        # not sooner: what is being written waits, too
        self._taken += size


def to_descriptor(descriptor: int) -> Callable[[bytes], None]:
    """Writes that take all of what they are given, also where somebody has made the descriptor a
    non-blocking one. Not through a file object, whose lock would outlast the thread."""

    def write(data: bytes) -> None:
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(descriptor, left) :]
            except BlockingIOError:
                room = select.poll()
                room.register(descriptor, select.POLLOUT)
                room.poll()

    return write
