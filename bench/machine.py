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
from pathlib import Path
from typing import TYPE_CHECKING

from bench import peers

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[1]
TIMER_SLACK = Path("/proc/self/timerslack_ns")
PROC_STAT = Path("/proc/stat")
CPU_DEVICES = Path("/sys/devices/system/cpu")


@dataclass(frozen=True, slots=True)
class Cores:
    """Numbers of the cores that processes are pinned to; what is measured has one of its own as
    soon as there are two."""

    contestant: int
    load: int
    upstream: int
    spare: tuple[int, ...] = ()
    """Those that are left."""

    @classmethod
    def choose(cls) -> Cores:
        """Of those this process may use: the last for the contestant (interrupts like the
        first), then one each for load and upstream as far as there are any."""
        allowed = sorted(os.sched_getaffinity(0))
        contestant = allowed.pop()
        load = allowed.pop() if allowed else contestant
        upstream = allowed.pop() if allowed else load
        return cls(contestant=contestant, load=load, upstream=upstream, spare=tuple(allowed))

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


@dataclass(frozen=True, slots=True)
class Ticks:
    """Of all cores together since the machine began, in seconds."""

    busy: float
    """In programs and in the kernel on their behalf."""
    stolen: float
    """A virtual machine's: it would have run, and its host ran others."""

    @classmethod
    def read(cls, text: str) -> Ticks:
        """Of /proc/stat (proc_stat(5))."""
        ticks = [int(one) for one in text.partition("\n")[0].split()[1:]]
        a_second = os.sysconf("SC_CLK_TCK")
        return cls(busy=sum(ticks[:3]) / a_second, stolen=ticks[7] / a_second)

    @classmethod
    def now(cls) -> Ticks:
        return cls.read(PROC_STAT.read_text(encoding="ascii"))


class Bystanders:
    """How much of the machine went to processes that have nothing to do with us since this was
    made, here and at the host's other guests: whatever they took, a contestant did not have."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        ticks = Ticks.now()
        self._busy = ticks.busy - _our_seconds()
        self._stolen = ticks.stolen

    def cores_used(self) -> float:
        """A mean, in cores. To be asked when all that we started has ended."""
        took = time.monotonic() - self._began
        return max(0.0, (Ticks.now().busy - _our_seconds() - self._busy) / took)

    def cores_stolen(self) -> float:
        """A mean, in cores: what the host gave to others."""
        return max(0.0, (Ticks.now().stolen - self._stolen) / (time.monotonic() - self._began))


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
    """Whatever the figures depend on, the interpreter apart (`bench.interpreter`)."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "pinning": cores.describe(),
        "pinned": asdict(cores),
        "siblings": siblings(cores),
        "frequency": frequency(cores.contestant),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "load_average_at_start": [round(one, 2) for one in os.getloadavg()],
        "open_files": open_files,
        "nginx": _first_line("nginx", "-v"),
        "haproxy": _first_line("haproxy", "-v"),
        "go": _first_line("go", "version"),
        "redis": _first_line("redis-server", "--version"),
        "wrk": _first_line("wrk", "-v"),
        **peers.versions(),
        "commit": _commit(),
    }


def siblings(cores: Cores, *, devices: Path = CPU_DEVICES) -> str:
    """Whether the contestant shares a physical core with the load: two threads of one slow each
    other down."""
    file = devices / f"cpu{cores.contestant}" / "topology" / "thread_siblings_list"
    try:
        told = file.read_text(encoding="ascii").strip()
    except OSError:
        return "not known"
    others = _numbers(told) - {cores.contestant}
    shared = sorted(others & {cores.load, cores.upstream})
    if shared:
        return f"contestant's core and core {shared[0]} are threads of one: figures are low"
    return "none of the contestant's core in use" if others else "none, by what the kernel is told"


def frequency(core: int, *, devices: Path = CPU_DEVICES) -> str:
    """How the core's clock is governed; a virtual machine mostly is not told."""
    folder = devices / f"cpu{core}" / "cpufreq"
    try:
        governor = (folder / "scaling_governor").read_text(encoding="ascii").strip()
        most = int((folder / "cpuinfo_max_freq").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return "not known (a virtual machine is not told)" if _is_virtual() else "not known"
    return f"governor {governor}, at most {most / 1e6:.2f} GHz"


def _numbers(told: str) -> set[int]:
    """Of the kernel's lists: `0,4-6`."""
    numbers: set[int] = set()
    for part in told.split(","):
        first, _, last = part.partition("-")
        numbers.update(range(int(first), int(last or first) + 1))
    return numbers


def _is_virtual() -> bool:
    told = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    return any("hypervisor" in line.split() for line in told.splitlines() if "flags" in line)


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
