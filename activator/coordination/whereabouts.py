"""Where a process runs, in words by which another on the same machine can see that it has ended."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_START_TIME = 19
"""Index of a process's start among what follows its name in proc(5)'s stat."""


@cache
def whereabouts() -> dict[str, object]:
    """Of this process. Nothing where /proc does not tell it: then nobody can see it end."""
    try:
        return {
            "boot": Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip(),
            # the same number names another process in another namespace of pids
            "pids": os.readlink("/proc/self/ns/pid"),
            "pid": os.getpid(),
            "started": _started(os.getpid()),
        }
    except OSError:
        return {}


def has_ended(record: Mapping[str, object]) -> bool:
    """Certainly: it ran on this machine, and it can be seen that it runs no more."""
    here = whereabouts()
    pid, started = record.get("pid"), record.get("started")
    if not here or not isinstance(pid, int) or not started:
        return False
    if any(record.get(key) != here[key] for key in ("boot", "pids")):
        return False
    try:
        return _started(pid) != started
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _started(pid: int) -> str:
    """When, in ticks since the machine was started; empty for what is only waiting to be reaped."""
    stat = Path(f"/proc/{pid}/stat").read_bytes()
    fields = stat.rpartition(b")")[2].split()
    return "" if fields[0] in (b"Z", b"X") else fields[_START_TIME].decode()
