"""Programs of ours in Go, built when they are first needed; there are none without Go."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from bench.failure import BenchError

SOURCES: Final = Path(__file__).parent
BUILT: Final = Path(__file__).parent / ".built"


def built(name: str) -> Path | None:
    """The program of `bench`/`name`; Go itself sees whether an earlier build will do. None without
    Go. Raises BenchError if it cannot be built."""
    go = shutil.which("go")
    if go is None:
        return None
    program = BUILT / name
    done = subprocess.run(
        [go, "build", "-o", str(program), "."],
        cwd=SOURCES / name,
        env={**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"bench/{name} cannot be built: {done.stderr.strip()}")
    return program
