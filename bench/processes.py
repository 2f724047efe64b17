"""Processes that a benchmark starts: pinned, observed from outside by the kernel's own accounts,
ended with it."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.failure import BenchError
from bench.machine import pinned

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Address = tuple[str, int]
LOOPBACK = "127.0.0.1"
_ports = iter(range(random.randrange(12_000, 30_000), 32_000))
STOP_WITHIN = 15.0
"""Seconds; whoever has not ended by then is killed."""
RESTING = 0.1
"""Of a core: what a process may use that has nothing to do."""
RESTING_LOOK = 0.3
"""Seconds over which that is looked at."""


class Memory:
    """Of a process with its children, in bytes. `pss` shares out the pages that several map."""

    def __init__(self, pids: Sequence[int]) -> None:
        self.rss = self.pss = 0
        for pid in pids:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
            self.rss += _kilobytes(rollup, "Rss")
            self.pss += _kilobytes(rollup, "Pss")


class Running:
    """A process that was started, and what it has started."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def pids(self) -> list[int]:
        """Of the process and its children (nginx works in one)."""
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
        return [pid, *(int(child) for child in children.split())]

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        return sum(map(cpu_seconds, self.pids))

    def memory(self) -> Memory:
        return Memory(self.pids)

    def peak_rss(self) -> int:
        """Bytes, the largest since `forget_peak`; a sum over processes."""
        status = (Path(f"/proc/{pid}/status").read_text(encoding="utf-8") for pid in self.pids)
        return sum(_kilobytes(text, "VmHWM") for text in status)

    def forget_peak(self) -> None:
        for pid in self.pids:
            Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")

    def rest(self, *, within: float = 60.0) -> None:
        """Until it has little to do any more. Raises BenchError if that never comes."""
        until = time.monotonic() + within
        while True:
            used, since = self.cpu_seconds(), time.monotonic()
            time.sleep(RESTING_LOOK)
            if self.cpu_seconds() - used < RESTING * (time.monotonic() - since):
                return
            if since > until:
                raise BenchError(f"{self._process.args!r} is still busy after {within:g} s")

    def check(self) -> None:
        """Raises BenchError, with its last words, if it has ended."""
        if self._process.poll() is not None:
            words = self._log.read_text(encoding="utf-8", errors="replace")[-2000:].strip()
            raise BenchError(f"{self._process.args!r} ended ({self._process.returncode}): {words}")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, to the nanosecond (clock_getcpuclockid(3): what
    /proc/PID/stat tells in hundredths)."""
    return time.clock_gettime((~pid) << 3 | 2)


@contextmanager
def started(
    command: Sequence[str], *, core: int, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """Runs `command` on `core`, its output in `log`; ends it with SIGTERM on the way out.
    `environment`: what it has beside ours."""
    with log.open("wb") as output, pinned(core):
        process = subprocess.Popen(
            command,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Running(process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs one of our modules with this interpreter."""
    return [sys.executable, "-m", module, *arguments]


def free_port() -> int:
    """Of loopback; nobody has it now, and we never give it out again. Below the ports that the
    kernel takes for outgoing connections: ten thousand of them would find it."""
    for port in _ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise BenchError("no port is free")


def wait_until_listening(port: int, *, by: Running, within: float = 45.0) -> None:
    """Raises BenchError if it has ended, or does not listen in time."""
    until = time.monotonic() + within
    while True:
        by.check()
        try:
            socket.create_connection((LOOPBACK, port), timeout=1.0).close()
        except OSError:
            if time.monotonic() > until:
                raise BenchError(f"nothing listens on port {port} after {within:g} s") from None
            time.sleep(0.01)
        else:
            return


def _kilobytes(text: str, name: str) -> int:
    found = re.search(rf"^{name}:\s*(\d+) kB$", text, re.MULTILINE)
    if found is None:
        raise BenchError(f"the kernel does not tell {name}")
    return int(found.group(1)) << 10
