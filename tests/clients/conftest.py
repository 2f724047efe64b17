"""An activator with a model, asleep, for each thing that a client tries."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.serving import Serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

MODELS = (
    *("stream", "plain", "later-stream", "later-plain"),
    *("response", "background", "resumed"),
)
LOADS = "2"
"""Seconds; more than any client's timeout."""


@pytest.fixture
async def base(tmp_path: Path) -> AsyncIterator[str]:
    """The URL for clients; nothing runs behind it yet."""
    serving = Serving(tmp_path, _config())
    await serving.start()
    try:
        yield f"http://127.0.0.1:{serving.data}/v1"
    finally:
        if serving.process.returncode is None:
            serving.tell(signal.SIGTERM)
            await serving.ended()
        await serving.end()


def _config() -> dict[str, Any]:
    command = [sys.executable, "-m", "activator.demo.server", "--port", "{port}"]
    command += ["--load-seconds", LOADS, "--tokens-per-second", "200", "--concurrency", "20"]
    return {
        "server": {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "drainDelay": 0},
        "defaults": {
            "dialect": "openai",
            "heartbeat": "500ms",
            "probe": {"path": "/health"},
            "scale": {"startTimeout": "60s", "idleTimeout": "60s"},
        },
        "endpoints": [
            {
                "name": model,
                "match": {"models": [model]},
                "backend": {"type": "process", "command": [*command, "--model", model]},
            }
            for model in MODELS
        ],
    }
