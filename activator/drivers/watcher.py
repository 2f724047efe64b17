"""The small process between the activator and one model: whatever happens, the model's tree ends.

It starts the command, tells how it ended, and leaves only when none of its descendants is left,
those that called setsid included (prctl(2), PR_SET_CHILD_SUBREAPER: they become its children).
When to start and when to stop is decided by the driver, which speaks to it over one socket:

    from the driver   `T` stop: SIGTERM, SIGKILL after the grace · `K` SIGKILL now · end of file:
                      the activator is gone, and so must be the model
    to the driver     `started PID` · `refused STAGE ERRNO` · `exited STATUS` (negative: a
                      signal), a line each; its end of file means that the whole tree is gone

Run as a script, `python -I -S watcher.py GRACE CWD COMMAND…`, with the socket as its stdin and
the model's output as its stdout. Imports little, and nothing of ours: it has to be there within
milliseconds and to stay small for as long as the model runs.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

LEFTOVER_GRACE = 1.0
"""Seconds from SIGTERM to SIGKILL for processes that nobody waits for or coordinates any more:
what a model left behind when it exited, and everything once the activator is gone. Long enough
to remove shared memory, which outlives its processes; short because their GPU is wanted back."""

_SWEEP_EVERY = 0.02
"""Seconds between two rounds of SIGKILL: each round reaches one generation deeper."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_SOCKET = 0
_FOREVER = float("inf")
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_RESTORED = (*_IGNORED, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ)


class Watch:
    """One command from its start until the last process of its tree is reaped."""

    def __init__(self, main: int, *, grace: float, wakeups: int) -> None:
        self._main: int | None = main
        self._grace = grace
        self._kill_at = _FOREVER
        self._group = main
        self._group_asked = False
        self._asked: set[int] = set()
        self._wakeups = wakeups
        self._poll = select.poll()
        self._poll.register(wakeups, select.POLLIN)
        self._poll.register(_SOCKET, select.POLLIN)

    def until_gone(self) -> None:
        while self._reap():
            left = self._kill_at - time.monotonic()
            if left <= 0:
                _signal_each(children(os.getpid()), signal.SIGKILL)
                left = _SWEEP_EVERY
            elif self._main is None:
                self._ask_leftovers()
            # a leftover may be adopted without any signal to us: look again now and then
            rest = left if self._main is not None else min(left, _SWEEP_EVERY)
            self._wait(None if rest == _FOREVER else rest)

    def _wait(self, seconds: float | None) -> None:
        for fd, _ in self._poll.poll(None if seconds is None else seconds * 1000 + 1):
            if fd == _SOCKET:
                self._heed(_receive())
            else:
                os.read(self._wakeups, 512)

    def _heed(self, order: bytes) -> None:
        if b"K" in order:
            self._kill_at = 0.0
        elif b"T" in order:
            self._stop(within=self._grace)
        elif not order:
            self._poll.unregister(_SOCKET)
            self._stop(within=min(self._grace, LEFTOVER_GRACE))

    def _stop(self, *, within: float) -> None:
        self._kill_at = min(self._kill_at, time.monotonic() + within)
        if self._main is not None and not self._group_asked:
            self._group_asked = True
            _signal_group(self._group, signal.SIGTERM)
            # a stopped process takes no SIGTERM until it is continued
            _signal_group(self._group, signal.SIGCONT)

    def _ask_leftovers(self) -> None:
        """SIGTERM, once, to whoever has not had it: a second one means "hurry" to some servers."""
        for pid, group in children(os.getpid()).items():
            if pid not in self._asked and not (self._group_asked and group == self._group):
                self._asked.add(pid)
                _signal_each([pid], signal.SIGTERM)

    def _reap(self) -> bool:
        """Collect the dead; False when no child is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            self._asked.discard(pid)
            if pid == self._main:
                self._main = None
                _tell(f"exited {os.waitstatus_to_exitcode(status)}")
                # told to stop, the rest of the tree keeps the grace that it was promised
                if self._kill_at == _FOREVER:
                    self._kill_at = time.monotonic() + LEFTOVER_GRACE


def children(parent: int) -> dict[int, int]:
    """Living and unreaped children of a process: pid → its process group.

    Only own children are ever signalled: until they are reaped their pid cannot be reused.
    """
    return {pid: group for pid, (_, of, group, _) in processes().items() if of == parent}


def processes() -> dict[int, tuple[str, int, int, int]]:
    """Every process that can be seen: pid → (state, parent, group, session), as in proc(5)."""
    seen = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as stat:
                    # the second field is a name in parentheses and may hold anything
                    fields = stat.read().rpartition(b")")[2].split()
            except OSError:
                continue
            parent, group, session = map(int, fields[1:4])
            seen[int(entry)] = (fields[0].decode(), parent, group, session)
    return seen


def _signal_each(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except OSError:
            continue


def _signal_group(leader: int, number: int) -> None:
    try:
        os.killpg(leader, number)
    except OSError:
        return


def _receive() -> bytes:
    try:
        return os.read(_SOCKET, 64)
    except OSError:
        return b""


def _tell(line: str) -> None:
    try:
        os.write(_SOCKET, line.encode() + b"\n")
    except OSError:
        return


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def _become(command: list[str], *, cwd: str, watcher: int, failures: int) -> None:
    """In the child: turn into the command, or say at which stage that failed."""
    stage = "watch"
    try:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != watcher:
            return
        os.setpgid(0, 0)
        for number in _RESTORED:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        stage = "cwd"
        if cwd:
            os.chdir(cwd)
        stage = "exec"
        os.execvp(command[0], command)
    except OSError as error:
        os.write(failures, f"{stage} {error.errno}".encode())


def _start(command: list[str], *, cwd: str) -> tuple[int, bytes]:
    """The pid of the command, and why it could not be executed (empty: it was)."""
    watcher = os.getpid()
    outcome, failures = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _become(command, cwd=cwd, watcher=watcher, failures=failures)
        finally:
            os._exit(127)
    os.close(failures)
    failure = os.read(outcome, 64)
    os.close(outcome)
    return pid, failure


def main(grace: float, cwd: str, command: list[str]) -> None:
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    wakeups, wakeup = os.pipe()
    os.set_blocking(wakeups, False)
    os.set_blocking(wakeup, False)
    signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    try:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        pid, failure = _start(command, cwd=cwd)
    except OSError as error:
        _tell(f"refused watch {error.errno}")
        return
    if failure:
        os.waitpid(pid, 0)
        _tell(f"refused {failure.decode()}")
        return
    _tell(f"started {pid}")
    Watch(pid, grace=grace, wakeups=wakeups).until_gone()


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2], sys.argv[3:])
