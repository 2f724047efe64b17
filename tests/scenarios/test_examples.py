"""The configurations that we ship: each is started as it is, apart from its ports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import ClientSession

from activator.app import build
from activator.config.settings import load
from activator.demo.show import Options, configuration

CONFIG = Path(__file__).parents[2] / "config"
SHIPPED = sorted(CONFIG.rglob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_configuration_is_valid(path: Path) -> None:
    assert load(path).endpoints


def written(config: dict[str, Any], folder: Path) -> Path:
    path = folder / "activator.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def test_the_demos_configuration_is_valid(tmp_path: Path) -> None:
    settings = load(written(configuration(Options()), tmp_path))

    assert [endpoint.name for endpoint in settings.endpoints] == ["alpha", "beta"]
    assert {endpoint.concurrency for endpoint in settings.endpoints} == {4}
    assert {endpoint.scale.idle_timeout for endpoint in settings.endpoints} == {3.0}


async def test_the_quickstart_answers_from_zero_on_both_endpoints(tmp_path: Path) -> None:
    config = yaml.safe_load((CONFIG / "quickstart.yaml").read_text(encoding="utf-8"))
    config["server"] |= {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0"}
    for endpoint in config["endpoints"]:
        command = endpoint["backend"]["command"]
        command[command.index("--load-seconds") + 1] = "0"
    activator = build(written(config, tmp_path))

    await activator.start()
    try:
        async with ClientSession(f"http://127.0.0.1:{activator.data_port}") as client:
            for name in ("alpha", "beta"):
                response = await client.post(
                    "/v1/completions",
                    json={"prompt": "In the morning", "model": name},
                    headers={"Host": f"{name}.localhost"},
                )
                told = await response.json()

                assert response.status == 200, told
                assert told["choices"][0]["text"]
                assert response.headers["X-Activator-Cold-Start"] == "true"
    finally:
        await activator.stop()
