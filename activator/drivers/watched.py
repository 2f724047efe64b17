"""The activator's end of a watcher: one command, how far it is, how it ended, how to stop it.

Everything here is callbacks of the event loop, so that an ending takes no task of its own and
nothing can cancel it halfway. What an ending means is the driver's to decide.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from activator.core.effects import FailedStart
from activator.drivers import watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from activator.drivers.output import Output

OVERDUE = 5.0
"""Seconds beyond the grace after which a watcher that has not finished is itself killed."""

_READ_BYTES = 64 << 10
_REST = 0.002
"""Seconds without reading after a full read: a model that floods its output is slowed down by
its pipe (to about 30 MB/s) instead of taking the loop from the requests."""
_DRAIN_BYTES = 1 << 20
"""Read at most so much at once of what is left in the pipe when the command has ended."""
_REAP_EVERY = 0.002
_SWEEP_EVERY = 0.01


@dataclass(frozen=True, slots=True)
class Order:
    """What to execute: complete, nothing left to fill in."""

    command: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str | None
    grace: float
    """Seconds between SIGTERM and SIGKILL."""


class Watched:
    """One command and its watcher, from start to the last process of its tree.

    `changed` is called after each change of `pid`, `ending` and `is_gone`, in this order.
    """

    def __init__(self, order: Order, *, output: Output, changed: Callable[[], None]) -> None:
        """Raises OSError or ValueError when not even the watcher could be started."""
        self.pid: int | None = None
        """Of the command, once it runs."""
        self.ending: FailedStart | None = None
        """How the command ended, whether or not it was told to."""
        self.is_gone = False
        """No process of its tree is left (if its watcher was killed: none in its session)."""
        self._order = order
        self._output = output
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._said = b""
        self._overdue: asyncio.TimerHandle | None = None
        self._rest: asyncio.TimerHandle | None = None
        self._stop_ordered = False
        self._sweeps = 0
        self._watcher, self._control, self._printed = _launch(order)
        self._loop.add_reader(self._control, self._hear)
        self._loop.add_reader(self._printed, self._read)

    def last_lines(self) -> tuple[str, ...]:
        """The end of what its tree has printed so far."""
        return self._output.last_lines()

    def stop(self) -> None:
        """SIGTERM to its process group, SIGKILL to all that is left after the grace."""
        if not self._stop_ordered:
            self._stop_ordered = True
            self._send(b"T")
            self._expect_end(within=self._order.grace)

    def kill(self) -> None:
        """SIGKILL to the whole tree now."""
        self._send(b"K")
        self._expect_end(within=0.0)

    def _send(self, order: bytes) -> None:
        if self._control.fileno() >= 0:
            try:
                self._control.send(order)
            except OSError:
                return  # it is ending: the end of file is about to be heard

    def _expect_end(self, *, within: float) -> None:
        at = self._loop.time() + within + OVERDUE
        if self._overdue is not None:
            if self._overdue.when() <= at:
                return
            self._overdue.cancel()
        if not self.is_gone:
            self._overdue = self._loop.call_at(at, self._watcher.kill)

    def _hear(self) -> None:
        try:
            data = self._control.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        *lines, self._said = (self._said + data).split(b"\n")
        for line in lines:
            self._heed(line.decode())
        if not data:
            self._loop.remove_reader(self._control)
            self._control.close()
            self._reap()

    def _heed(self, line: str) -> None:
        match line.split():
            case ["started", pid]:
                self.pid = int(pid)
                self._changed()
            case ["refused", stage, number]:
                self._end(FailedStart(_refusal(stage, int(number), order=self._order)))
            case ["exited", status]:
                self._drain()
                self._end(_exit(int(status), last_lines=self._output.last_lines()))
                self._expect_end(within=watcher.LEFTOVER_GRACE)

    def _end(self, ending: FailedStart) -> None:
        self.ending = ending
        self._changed()

    def _reap(self) -> None:
        """The watcher has ended or is about to; where it did not finish, finish in its place."""
        # looked at without reaping: until then its pid names the session of its tree
        try:
            how = os.waitid(os.P_PID, self._watcher.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            # this activator was started with SIGCHLD ignored, and the kernel has reaped it
            self._finish(self._watcher.wait())
            return
        if how is None:
            self._loop.call_later(_REAP_EVERY, self._reap)
        elif (how.si_code, how.si_status) != (os.CLD_EXITED, 0) and self._sweep():
            self._loop.call_later(_SWEEP_EVERY, self._reap)
        else:
            self._finish(self._watcher.wait())

    def _sweep(self) -> bool:
        """SIGKILL what is left of the watcher's session; False when there is nothing to wait for.

        A process stuck in the kernel cannot be waited for for ever.
        """
        self._sweeps += 1
        return self._sweeps * _SWEEP_EVERY < OVERDUE and _sweep(session=self._watcher.pid)

    def _finish(self, status: int) -> None:
        self._drain()
        self._close()
        if self.ending is None:
            self._end(_lost(status, last_lines=self._output.last_lines()))
        self.is_gone = True
        self._changed()

    def _close(self) -> None:
        self._loop.remove_reader(self._printed)
        os.close(self._printed)
        self._output.close()
        for timer in (self._overdue, self._rest):
            if timer is not None:
                timer.cancel()

    def _read(self) -> None:
        data = _read_some(self._printed)
        if data is None:
            return
        if not data:
            self._loop.remove_reader(self._printed)
            return
        self._output.feed(data, now=time.monotonic())
        if len(data) == _READ_BYTES:
            self._loop.remove_reader(self._printed)
            self._rest = self._loop.call_later(_REST, self._read_on)

    def _read_on(self) -> None:
        self._loop.add_reader(self._printed, self._read)

    def _drain(self) -> None:
        for _ in range(_DRAIN_BYTES // _READ_BYTES):
            data = _read_some(self._printed)
            if not data:
                return
            self._output.feed(data, now=time.monotonic())


def _launch(order: Order) -> tuple[subprocess.Popen[bytes], socket.socket, int]:
    """The watcher, our end of its socket, and the reading end of what the command prints."""
    ours, theirs = socket.socketpair()
    printed, prints = os.pipe()
    try:
        process = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", str(Path(watcher.__file__))),
                *(str(order.grace), order.cwd or "", *order.command),
            ],
            stdin=theirs.fileno(),
            stdout=prints,
            stderr=prints,
            env=order.env,
            start_new_session=True,
        )
    except BaseException:
        ours.close()
        os.close(printed)
        raise
    finally:
        theirs.close()
        os.close(prints)
    ours.setblocking(False)
    os.set_blocking(printed, False)
    return process, ours, printed


def _read_some(fd: int) -> bytes | None:
    """None: nothing there now. Empty: nothing will come any more."""
    try:
        return os.read(fd, _READ_BYTES)
    except BlockingIOError:
        return None


def _sweep(*, session: int) -> bool:
    """SIGKILL everything in this session but its leader; False when nothing there lives."""
    found = [
        pid
        for pid, (state, _, _, of) in watcher.processes().items()
        if of == session and pid != session and state != "Z"
    ]
    for pid in found:
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            continue
    return bool(found)


def _refusal(stage: str, number: int, *, order: Order) -> str:
    command, why = order.command[0], os.strerror(number).lower()
    if stage == "cwd":
        return f"cannot start in the working directory {order.cwd!r}: {why}"
    if stage == "exec":
        if number == errno.ENOENT and "/" in command and Path(order.cwd or ".", command).is_file():
            why = "the interpreter in its first line (#!) does not exist"
        return f"cannot execute {command!r}: {why}"
    return f"cannot watch over {command!r}: {why}"


def _exit(status: int, *, last_lines: tuple[str, ...]) -> FailedStart:
    if status >= 0:
        message = f"exited with code {status} before it was told to stop"
    else:
        message = f"killed by {_signal_name(-status)}"
        if -status == signal.SIGKILL:
            message += " (out of memory?)"
    return FailedStart(message, exit_code=status, last_lines=last_lines)


def _lost(status: int, *, last_lines: tuple[str, ...]) -> FailedStart:
    how = f"was killed by {_signal_name(-status)}" if status < 0 else f"exited with code {status}"
    return FailedStart(f"its watcher {how}, and so it was killed", last_lines=last_lines)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
