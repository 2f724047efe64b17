"""The machine: which cores are used for what, and what it is, for whoever reads the figures."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[1]
TIMER_SLACK = Path("/proc/self/timerslack_ns")


@dataclass(frozen=True, slots=True)
class Cores:
    """Numbers of the cores that processes are pinned to; what is measured has one of its own as
    soon as there are two."""

    contestant: int
    load: int
    upstream: int

    @classmethod
    def choose(cls) -> Cores:
        """Of those this process may use: the last for the contestant (interrupts like the
        first), then one each for load and upstream as far as there are any."""
        allowed = sorted(os.sched_getaffinity(0))
        contestant = allowed.pop()
        load = allowed.pop() if allowed else contestant
        upstream = allowed.pop() if allowed else load
        return cls(contestant=contestant, load=load, upstream=upstream)

    def pin_load(self) -> None:
        """This process makes the load, and what it starts without `pinned` does too."""
        os.sched_setaffinity(0, {self.load})

    def describe(self) -> str:
        if self.load == self.contestant:
            return "one core for everything: figures say little"
        beside = "load" if self.upstream != self.load else "load and upstream"
        text = f"contestant on core {self.contestant}, {beside} on core {self.load}"
        return text if self.upstream == self.load else f"{text}, upstream on core {self.upstream}"


@contextmanager
def pinned(*cores: int) -> Iterator[None]:
    """Processes started inside run on `cores`, with all that they start."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Bystanders:
    """How much of the machine went to processes that have nothing to do with us since this was
    made: whatever they took, a contestant did not have."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._busy = _busy_seconds() - _our_seconds()

    def cores_used(self) -> float:
        """A mean, in cores. To be asked when all that we started has ended."""
        took = time.monotonic() - self._began
        return max(0.0, (_busy_seconds() - _our_seconds() - self._busy) / took)


def _busy_seconds() -> float:
    line = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
    user, nice, system = (int(ticks) for ticks in line.split()[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def _our_seconds() -> float:
    return sum(os.times()[:4])


def raise_open_files() -> int:
    """As many sockets as the system lets this process have; returns how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def sharpen_timers() -> bool:
    """Let this process's sleeps end within microseconds (the default allows 50 µs more)."""
    try:
        TIMER_SLACK.write_text("1000", encoding="ascii")
    except OSError:
        return False
    return True


def describe(cores: Cores, *, open_files: int) -> dict[str, object]:
    """Whatever the figures depend on."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "pinning": cores.describe(),
        "pinned": asdict(cores),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "load_average_at_start": [round(one, 2) for one in os.getloadavg()],
        "open_files": open_files,
        "python": platform.python_version(),
        "uvloop": version("uvloop"),
        "nginx": _first_line("nginx", "-v"),
        "wrk": _first_line("wrk", "-v"),
        "commit": _commit(),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _first_line(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return "not installed"
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (said.stdout + said.stderr).splitlines()
    return lines[0].strip() if lines else "installed"


def _commit() -> str:
    try:
        said = subprocess.run(
            ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return said.stdout.strip()
