"""Redis is asked for only where it is configured, and said to be missing only there."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """
server: {{listen: 127.0.0.1:0, admin: 127.0.0.1:0}}
store: {{url: "{url}"}}
endpoints: [{{name: m, backend: {{type: static, urls: ["http://127.0.0.1:9"]}}}}]
"""
START = """
import asyncio, sys
sys.modules["redis"] = None
from pathlib import Path
from activator.app import build
from activator.errors import StartError
async def main():
    app = build(Path(sys.argv[1]))
    await app.start()
    await app.stop()
try:
    asyncio.run(main())
except StartError as error:
    sys.exit(f"{error}")
"""


def start(folder: Path, *, url: str) -> subprocess.CompletedProcess[str]:
    """Where the package is not installed."""
    path = folder / "activator.yaml"
    path.write_text(CONFIG.format(url=url), encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-c", START, str(path)], capture_output=True, text=True, check=False
    )


def test_memory_needs_no_package(tmp_path: Path) -> None:
    ended = start(tmp_path, url="memory://")

    assert ended.returncode == 0, ended.stderr


def test_a_missing_package_is_named_with_its_remedy(tmp_path: Path) -> None:
    ended = start(tmp_path, url="redis://127.0.0.1:1")

    assert ended.returncode == 1
    assert "pip install 'activator[redis]'" in ended.stderr
    assert "Traceback" not in ended.stderr
