"""A start imports what its configuration needs, and nothing else that takes long."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from activator.app import build
from activator.errors import StartError

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """
server: {{listen: 127.0.0.1:0, admin: 127.0.0.1:0}}
endpoints: [{{name: m, backend: {backend}}}]
"""
START = """
import asyncio, sys
from pathlib import Path
from activator.app import build
import activator.cli.serve
async def main():
    app = build(Path(sys.argv[1]))
    await app.start()
    print(*sys.modules)
    await app.stop()
asyncio.run(main())
"""
NEVER = {
    "redis", "hiredis", "kubernetes_asyncio", "opentelemetry", "google", "rich", "numpy", "orjson",
    "activator.redisio", "activator.kube", "activator.simulate", "activator.demo",
    "activator.admin.openapi", "activator.telemetry.tracing", "activator.config.docs",
    "activator.app.redis_stores", "activator.app.lease_stores",
    "activator.coordination.redis_ledger", "activator.coordination.lease",
    "activator.queueing.redis_jobs", "activator.sources.kubernetes",
    "activator.drivers.docker", "activator.drivers.docker_existing", "activator.drivers.kubernetes",
}  # fmt: skip
"""By one process with its store in memory, whatever runs its replicas there."""


@pytest.mark.parametrize(
    ("backend", "needed", "spared"),
    [
        (
            '{type: static, urls: ["http://127.0.0.1:9"]}',
            "activator.drivers.static",
            "activator.drivers.process",
        ),
        (
            '{type: process, command: [serve, "{port}"]}',
            "activator.drivers.process",
            "activator.drivers.docker_engine",
        ),
    ],
)
def test_a_start_imports_only_what_is_configured(
    backend: str, needed: str, spared: str, tmp_path: Path
) -> None:
    config = tmp_path / "activator.yaml"
    config.write_text(CONFIG.format(backend=backend), encoding="utf-8")

    argv = [sys.executable, "-c", START, str(config)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    imported = set(done.stdout.split())
    assert needed in imported
    assert not imported & {*NEVER, spared}


@pytest.mark.parametrize("taken", ["listen", "admin"])
async def test_a_start_that_fails_leaves_nothing_running(taken: str, tmp_path: Path) -> None:
    config = tmp_path / "activator.yaml"
    with socket.create_server(("127.0.0.1", 0)) as other:
        addresses = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0"}
        addresses[taken] = f"127.0.0.1:{other.getsockname()[1]}"
        server = ", ".join(f"{key}: {value}" for key, value in addresses.items())
        config.write_text(f"server: {{{server}}}\nendpoints: []\n", encoding="utf-8")
        before = asyncio.all_tasks()

        with pytest.raises(StartError, match="cannot listen"):
            await build(config).start()

    assert asyncio.all_tasks() == before
