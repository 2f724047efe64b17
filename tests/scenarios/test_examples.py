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
from tests.redis_server import fresh_prefix, shared_server
from tests.replica import PROBE_PATH, Replica, hello
from tests.support import eventually

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


async def test_two_activators_share_a_redis_as_shipped(tmp_path: Path) -> None:
    config = yaml.safe_load((CONFIG / "redis.yaml").read_text(encoding="utf-8"))
    config["server"] |= {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0"}
    config["store"] |= {"url": shared_server().url, "prefix": fresh_prefix()}
    model = Replica(hello)
    await model.start()
    (endpoint,) = config["endpoints"]
    endpoint["backend"]["urls"] = [f"http://127.0.0.1:{model.port}"]
    endpoint["probe"]["path"] = PROBE_PATH
    activators = [build(written(config, tmp_path)) for _ in range(2)]
    try:
        for activator in activators:
            await activator.start()
            async with ClientSession(f"http://127.0.0.1:{activator.data_port}") as client:
                response = await client.post("/", data=b"x", headers={"Host": "alpha.localhost"})
                assert response.status == 200, await response.text()
        assert len(model.requests) == 2
    finally:
        for activator in activators:
            await activator.stop()
        await model.stop()


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
                    json={"prompt": "In the morning", "model": name, "seed": 1},
                    headers={"Host": f"{name}.localhost"},
                )
                told = await response.json()

                assert response.status == 200, told
                assert told["choices"][0]["text"]
                assert response.headers["X-Activator-Cold-Start"] == "true"
    finally:
        await activator.stop()


async def test_the_small_model_answers_for_the_one_that_starts_as_shipped(tmp_path: Path) -> None:
    config = yaml.safe_load((CONFIG / "examples/fallback.yaml").read_text(encoding="utf-8"))
    config["server"] |= {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0"}
    command = config["endpoints"][0]["backend"]["command"]
    command[command.index("--load-seconds") + 1] = "1"
    activator = build(written(config, tmp_path))
    await activator.start()
    try:
        mini = activator.registry["mini"]
        await eventually(lambda: not mini.cold, within=20)
        async with ClientSession(f"http://127.0.0.1:{activator.data_port}") as client:

            async def ask() -> tuple[str, str | None]:
                body = {"prompt": "In the morning", "model": "tiny", "max_tokens": 4}
                async with client.post("/v1/completions", json=body) as answer:
                    told = await answer.json()
                    assert answer.status == 200, told
                    return told["model"], answer.headers.get("X-Activator-Served-By")

            assert await ask() == ("mini", "mini")
            await eventually(lambda: not activator.registry["tiny"].cold, within=20)
            assert await ask() == ("tiny", None)
    finally:
        await activator.stop()
