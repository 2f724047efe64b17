"""Running the command line as a shell does."""

from __future__ import annotations

import os
import subprocess
import sys

from activator.cli import main


def child(*words: str, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "activator", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | more,
    )


def exits(argv: list[str]) -> int:
    """The status, whether it is returned or argparse ends the program with it."""
    try:
        return main(argv)
    except SystemExit as end:
        return int(end.code or 0)
