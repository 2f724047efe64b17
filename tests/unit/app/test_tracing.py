"""Tracing costs nothing where it is off."""

from __future__ import annotations

import subprocess
import sys


def test_without_tracing_nothing_of_it_is_imported() -> None:
    said = subprocess.run(
        [
            *(sys.executable, "-c"),
            "import sys\n"
            "from activator.app import App\n"
            "from activator.cli import main\n"
            "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n",
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    assert said.returncode == 0, said.stderr
