"""What tests of OpenAI's dialect share: bodies, and a stage with several endpoints at one host."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import openai

from tests.replica import PROBE_PATH, Replica, Talk, hello
from tests.stage import Stage, gives_slots, request, stage
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.rawclient import Reply

CHAT = "/v1/chat/completions"
JSON = {"Content-Type": "application/json"}


def chat(model: str | None = None, **fields: Any) -> bytes:
    """As openai-python writes it: the messages before the model."""
    body: dict[str, Any] = {"messages": [{"role": "user", "content": 'say "hi"'}]}
    if model is not None:
        body["model"] = model
    return json.dumps(body | fields).encode()


async def ask(s: Stage, body: bytes, *, target: str = CHAT, **headers: str) -> Reply:
    return await s.ask(request(target, method="POST", headers=JSON | headers, body=body))


def names(name: str) -> Any:
    """A behaviour: answers with this name."""

    async def behave(talk: Talk) -> None:
        await talk.answer(200, name.encode())

    return behave


@contextlib.asynccontextmanager
async def client_of(
    s: Stage, *, key: str = "none", **options: Any
) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's own package, in front of this stage."""
    url = f"http://127.0.0.1:{s.port}/v1"
    async with openai.AsyncOpenAI(api_key=key, base_url=url, **options) as client:
        yield client


class House:
    """Several endpoints, each with a replica that answers with the endpoint's name."""

    def __init__(self, s: Stage) -> None:
        self.stage = s
        self.replicas: dict[str, Replica] = {}

    async def add(self, name: str, **keys: Any) -> Replica:
        replica = self.replicas[name] = Replica(names(name))
        await replica.start()
        url = f"http://{replica.host}:{replica.port}"
        endpoint = {
            "name": name,
            "backend": {"type": "static", "urls": [url]},
            "probe": {"path": PROBE_PATH, "interval": "10ms"},
            "dialect": "openai",
            **keys,
        }
        self.stage.config["endpoints"].append(endpoint)
        return replica

    async def open(self) -> None:
        self.stage.rewrite()
        registry = self.stage.app.registry
        await eventually(
            lambda: all(
                (live := registry.get(name)) and live.replicas and gives_slots(live.gate)
                for name in self.replicas
            )
        )

    async def asked(self, model: str | None, **headers: str) -> str:
        """Who answers, or the error's code."""
        reply = await ask(self.stage, chat(model), **headers)
        return reply.body.decode() if reply.status == 200 else reply.json()["error"]["code"]


@contextlib.asynccontextmanager
async def house(**options: Any) -> AsyncIterator[House]:
    """`options`: of the stage and its endpoint `m`."""
    async with stage(hello, **options) as s:
        made = House(s)
        try:
            yield made
        finally:
            for replica in made.replicas.values():
                await replica.stop()
