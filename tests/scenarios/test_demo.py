"""`activator demo` as a user runs it: the main job of the whole, judged at both ends."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
import time
from asyncio.subprocess import PIPE
from pathlib import Path

from tests.serving import STARTED_WITHIN
from tests.support import eventually

DEMO = [sys.executable, "-m", "activator", "demo"]


async def start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(*DEMO, *arguments, stdout=PIPE, stderr=PIPE)


def descendants(pid: int) -> set[int]:
    """Every process below `pid` that is there now."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text(encoding="ascii", errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(
                int(folder.name)
            )
    found: set[int] = set()
    below = [pid]
    while below:
        below = [child for parent in below for child in children.get(parent, [])]
        found.update(below)
    return found


def is_running(pid: int) -> bool:
    """A zombie is not: it has ended, and only waits for its parent to take note."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


async def test_the_demo_loses_nothing_and_ends_at_zero_within_forty_seconds() -> None:
    before = time.monotonic()
    process = await start("--load-seconds", "0.5")
    out, err = await process.communicate()
    took = time.monotonic() - before

    said = out.decode()
    assert process.returncode == 0, said + err.decode()
    assert took < 40.0
    assert "26 / 26 / 0" in said
    assert re.search(r"order kept.*3 of 3 starts", said)
    assert re.search(r"most at once.*[1-4] \(4\)", said)
    assert re.search(r"back at zero\s+│ yes", said)
    assert "nothing lost" in said
    assert "\x1b" not in said
    assert b"Traceback" not in err


async def test_an_interrupted_demo_leaves_nothing_behind() -> None:
    process = await start("--load-seconds", "30")
    assert process.stdout is not None
    # two model servers, each in the care of a watcher
    await eventually(lambda: len(descendants(process.pid)) >= 4, within=STARTED_WITHIN)
    seen = descendants(process.pid)

    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()

    assert process.returncode == 130
    assert b"interrupted" in err
    assert b"Traceback" not in err
    await eventually(lambda: not any(is_running(pid) for pid in seen))


async def test_wrong_options_are_refused_with_a_usage() -> None:
    process = await start("--load-seconds", "soon")
    _, err = await process.communicate()

    assert process.returncode == 2
    assert b"usage: activator demo" in err
    assert b"Traceback" not in err
