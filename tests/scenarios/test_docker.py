"""`config/docker.yaml` over a scripted engine: from zero to an answer, and back to zero."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import yaml
from aiohttp import ClientSession, web

from activator.app import build
from tests.docker_engine import ScriptedEngine, scripted_engine
from tests.scenarios.test_examples import CONFIG
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from activator.app.app import App

HERE = "127.0.0.101"
"""Where the engine's first container is: all of 127/8 is this machine."""


def shipped(engine: ScriptedEngine, folder: Path, *, port: int) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((CONFIG / "docker.yaml").read_text(encoding="utf-8"))
    config["server"] |= {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0"}
    for endpoint in config["endpoints"]:
        endpoint["backend"] |= {"engine": engine.address, "port": port}
        endpoint["scale"]["idleTimeout"] = "300ms"
    write(config, folder)
    return config


def write(config: dict[str, Any], folder: Path) -> Path:
    path = folder / "activator.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


@contextlib.asynccontextmanager
async def a_model() -> AsyncIterator[int]:
    """Its port. It listens all the time, as if its container did."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=f"hello from {request.path}")

    app = web.Application()
    app.add_routes([web.get("/{tail:.*}", answer)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, HERE, 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def ask(activator: App, name: str) -> tuple[int, str]:
    async with ClientSession(f"http://127.0.0.1:{activator.data_port}") as client:
        response = await client.get("/x", headers={"Host": f"{name}.localhost"})
        return response.status, await response.text()


async def test_a_container_is_made_for_a_request_and_removed_when_nobody_asks(
    tmp_path: Path,
) -> None:
    async with a_model() as port, scripted_engine(tmp_path) as engine:
        engine.pulls["vllm/vllm-openai:v0.11.0"] = []
        shipped(engine, tmp_path, port=port)
        activator = build(tmp_path / "activator.yaml")
        await activator.start()
        try:
            assert await ask(activator, "llama") == (200, "hello from /x")
            [container] = engine.containers.values()
            labels = container.body["Labels"]
            assert labels["activator.endpoint"] == "llama"
            assert labels["activator.instance"] == "activator"
            assert container.body["Cmd"] == ["--model", "Qwen/Qwen2.5-0.5B-Instruct"]

            await eventually(lambda: not engine.containers)
        finally:
            await activator.stop()


async def test_an_existing_container_is_started_for_a_request_and_stopped_when_nobody_asks(
    tmp_path: Path,
) -> None:
    async with a_model() as port, scripted_engine(tmp_path) as engine:
        own = engine.make("my-model")
        shipped(engine, tmp_path, port=port)
        activator = build(tmp_path / "activator.yaml")
        await activator.start()
        try:
            assert await ask(activator, "own") == (200, "hello from /x")
            assert own.status == "running"

            await eventually(lambda: own.status == "exited")
        finally:
            await activator.stop()
        assert list(engine.containers.values()) == [own]


async def test_a_container_of_an_endpoint_that_is_no_longer_configured_goes_too(
    tmp_path: Path,
) -> None:
    async with a_model() as port, scripted_engine(tmp_path) as engine:
        engine.images.add("vllm/vllm-openai:v0.11.0")
        config = shipped(engine, tmp_path, port=port)
        config["endpoints"][0]["scale"]["idleTimeout"] = "10m"
        activator = build(write(config, tmp_path))
        await activator.start()
        try:
            assert (await ask(activator, "llama"))[0] == 200
            del config["endpoints"][0]
            write(config, tmp_path)
            activator.reloading.poke()

            await eventually(lambda: not engine.containers)
        finally:
            await activator.stop()
