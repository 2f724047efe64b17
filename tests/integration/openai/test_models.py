"""`GET /v1/models`: what there is, in which state, for whom; and nothing wakes."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from tests.integration.openai.support import house
from tests.redis_server import fresh_prefix, shared_server
from tests.replica import PROBE_PATH
from tests.stage import request, stage
from tests.support import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stage import Stage

PROBE = {"path": PROBE_PATH, "interval": "10ms", "readyInterval": "20ms"}
SAID = {
    "object": "list",
    "data": [
        {"id": "llama-8b", "created": 7, "owned_by": "vllm", "max_model_len": 4096},
        {"id": "lora-x", "created": 8, "owned_by": "vllm", "parent": "llama-8b"},
        {"id": "hidden", "created": 9, "owned_by": "vllm"},
    ],
}


async def ids(s: Stage, **headers: str) -> list[str]:
    reply = await s.get("/v1/models", headers=headers)
    assert reply.status == 200
    assert reply.json()["object"] == "list"
    return [row["id"] for row in reply.json()["data"]]


async def test_what_is_configured_is_listed_and_nothing_wakes() -> None:
    async with stage(
        from_zero=True, dialect="openai", match={"models": ["llama-8b", "lora-*"]}, aliases=["gpt"]
    ) as s:
        reply = await s.get("/v1/models")

        assert reply.json()["data"][0] == {
            "id": "llama-8b",
            "object": "model",
            "created": 0,
            "owned_by": "activator",
            "state": "inactive",
        }
        assert await ids(s) == ["llama-8b", "gpt"]
        assert s.driver is not None
        assert s.driver.calls == []


async def test_what_replicas_said_is_listed_also_after_they_have_gone() -> None:
    match = {"models": ["llama-8b", "lora-*"]}
    async with stage(dialect="openai", match=match, probe=PROBE) as s:
        s.replica.models = json.dumps(SAID).encode()
        await s.replica.refuse()
        await s.until_cold()
        await s.replica.start()
        await eventually(lambda: s.live.models)
        await s.replica.refuse()
        await s.until_cold()

        reply = await s.get("/v1/models")

        assert [row["id"] for row in reply.json()["data"]] == ["llama-8b", "lora-x"]
        first, second = reply.json()["data"]
        assert (first["created"], first["owned_by"], first["max_model_len"]) == (7, "vllm", 4096)
        assert second["parent"] == "llama-8b"


async def test_what_replicas_said_is_listed_by_the_next_activator_before_anything_runs() -> None:
    match = {"models": ["llama-8b", "lora-*"]}
    store = {"url": shared_server().url, "prefix": fresh_prefix(), "timeout": "2s"}
    shared: dict[str, Any] = {"dialect": "openai", "match": match, "config": {"store": store}}
    async with stage(ready=False, probe=PROBE, **shared) as s:
        s.replica.models = json.dumps(SAID).encode()
        await s.replica.start()
        await eventually(lambda: s.live.models and s.app._stores.lease.leading)
    async with stage(from_zero=True, **shared) as s:
        await eventually(lambda: s.live.models)

        reply = await s.get("/v1/models")

        assert [row["id"] for row in reply.json()["data"]] == ["llama-8b", "lora-x"]
        assert reply.json()["data"][0]["max_model_len"] == 4096
        assert s.driver is not None
        assert s.driver.calls == []


async def test_one_model_is_told_of_by_its_name() -> None:
    async with stage(dialect="openai", match={"models": ["org/llama", "lora-*"]}) as s:
        for target in ("/v1/models/org/llama", "/v1/models/org%2Fllama", "/v1/models/lora-new"):
            reply = await s.get(target)
            assert reply.status == 200
            assert reply.json()["state"] == "active"
        missing = await s.get("/v1/models/gpt-5")

        escaped = await s.get("/v1/models/gpt%2F5")

        for reply in (missing, escaped):
            assert (reply.status, reply.json()["error"]["code"]) == (404, "model_not_found")
        assert s.replica.requests == []


async def test_endpoints_of_one_host_are_listed_together_and_others_are_not() -> None:
    match = {"hosts": ["m.example"], "models": ["m"]}
    async with house(dialect="openai", match=match) as h:
        await h.add("a", match={"hosts": ["m.example"], "models": ["a"]})
        await h.add("b", match={"hosts": ["other.example"], "models": ["b"]})
        await h.add("c", match={"hosts": ["m.example"], "headers": {"x-team": "ml"}})
        await h.add("p", dialect="plain", match={"hosts": ["plain.example"]})
        await h.open()

        assert await ids(h.stage) == ["m", "a"]
        assert await ids(h.stage, **{"X-Team": "ml"}) == ["c", "m", "a"]
        plain = await h.stage.ask(request("/v1/models", host="plain.example"))
        assert plain.body == b"p"


async def test_under_a_prefix_the_list_is_that_of_the_prefix() -> None:
    match = {"paths": ["/llama"], "models": ["m"]}
    async with stage(dialect="openai", stripPrefix=True, match=match) as s:
        reply = await s.get("/llama/v1/models")
        beside = await s.get("/v1/models")

        assert [row["id"] for row in reply.json()["data"]] == ["m"]
        assert beside.status == 404


async def test_a_key_sees_only_the_models_it_may_use(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    lines = [("all", ""), ("some", ":a")]
    keys.write_text(
        "".join(f"{name}:{sha256(name.encode()).hexdigest()}{may}\n" for name, may in lines)
    )
    config: dict[str, Any] = {"auth": {"apiKeysFile": str(keys)}}
    async with house(dialect="openai", match={"models": ["m"]}, config=config) as h:
        await h.add("a", match={"models": ["a"]})
        await h.open()

        assert await ids(h.stage, Authorization="Bearer all") == ["m", "a"]
        assert await ids(h.stage, Authorization="Bearer some") == ["a"]
        closed = await h.stage.get("/v1/models")
        assert (closed.status, closed.json()["error"]["code"]) == (401, "invalid_api_key")
        other = await h.stage.get("/v1/models/m", headers={"Authorization": "Bearer some"})
        assert other.status == 404
