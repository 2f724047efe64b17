"""`GET /v1/models`: what there is, in which state, for whom; and nothing wakes."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from activator.aiokit.slices import Slices
from activator.core.catalogue import listed
from activator.proxy.openai import models
from tests.integration.openai.support import ask, chat, house
from tests.redis_server import fresh_prefix, shared_server
from tests.replica import PROBE_PATH
from tests.slicing import counted
from tests.stage import request, stage
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    import pytest

    from activator.core.catalogue import ModelCard
    from activator.core.endpoint import Endpoint
    from tests.integration.openai.support import House
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


@asynccontextmanager
async def house_of_four() -> AsyncIterator[House]:
    """m, a, b and c, with a model each."""
    async with house(dialect="openai", match={"models": ["m"]}) as h:
        for name in "abc":
            await h.add(name, match={"models": [name]})
        await h.open()
        yield h


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


async def test_a_long_list_lets_others_have_their_turns_and_an_endpoint_may_go_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with house_of_four() as h:
        registry, turn, turns = h.stage.app.registry, Slices.turn, 0

        async def b_goes(slices: Slices) -> None:
            nonlocal turns
            turns += 1
            if turns == 2:
                monkeypatch.delitem(registry._live, "b")
            await turn(slices)

        monkeypatch.setattr(Slices, "turn", b_goes)
        assert await ids(h.stage) == ["m", "a", "c"]
        assert turns == 4
        monkeypatch.undo()
        assert await ids(h.stage) == ["m", "a", "b", "c"]


async def test_however_many_ask_for_the_list_others_have_their_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with house_of_four() as h:
        with counted(monkeypatch) as turns:

            def looked_at(endpoint: Endpoint, said: Iterable[ModelCard]) -> list[ModelCard]:
                turns.step()
                return listed(endpoint, said)

            monkeypatch.setattr(models, "listed", looked_at)
            told = await asyncio.gather(*(ids(h.stage) for _ in range(10)))

        assert told == [["m", "a", "b", "c"]] * 10
        assert turns.steps == 4 * 10
        assert turns.longest <= 2  # what a turn of the loop ends and begins with


async def test_who_asks_for_one_model_has_no_others_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_at: list[str] = []

    def noted(endpoint: Endpoint, said: Iterable[ModelCard]) -> list[ModelCard]:
        looked_at.append(endpoint.name)
        return listed(endpoint, said)

    async with house(dialect="openai", match={"models": ["m"]}) as h:
        for name in "abc":
            await h.add(name, match={"models": [name, f"{name}-*"]})
        await h.open()
        monkeypatch.setattr(models, "listed", noted)

        for name in ("b", "b-lora"):
            assert (await h.stage.get(f"/v1/models/{name}")).json()["id"] == name
        assert (await h.stage.get("/v1/models/d")).status == 404

        assert looked_at == ["b", "b"]


async def test_one_model_is_told_of_by_the_endpoint_that_is_asked_for_it() -> None:
    """`p` comes first and takes it by a pattern; `a` names it."""
    async with house(dialect="openai", match={"models": ["m"]}) as h:
        for name, model in (("p", "org-*"), ("a", "org-1")):
            replica = await h.add(name, match={"models": [model]}, probe=PROBE)
            said = {"data": [{"id": "org-1", "owned_by": name}]}
            replica.models = json.dumps(said).encode()
        await h.open()
        registry = h.stage.app.registry
        await eventually(lambda: registry["p"].models and registry["a"].models)

        assert await h.asked("org-1") == "a"
        told = (await h.stage.get("/v1/models/org-1")).json()
        _, listed_too = (await h.stage.get("/v1/models")).json()["data"]
        assert told["owned_by"] == "a"
        assert listed_too == told


async def test_a_key_is_not_shown_what_would_be_asked_of_an_endpoint_it_may_not_use(
    tmp_path: Path,
) -> None:
    """`p` has it as well, but `a` is asked for it."""
    keys = tmp_path / "keys"
    keys.write_text(f"some:{sha256(b'some').hexdigest()}:p\n")
    bearer = {"Authorization": "Bearer some"}
    config: dict[str, Any] = {"auth": {"apiKeysFile": str(keys)}}
    async with house(dialect="openai", match={"models": ["m"]}, config=config) as h:
        replica = await h.add("p", match={"models": ["org-*"]}, probe=PROBE)
        replica.models = b'{"data": [{"id": "org-1"}, {"id": "org-2"}]}'
        await h.add("a", match={"models": ["org-1"]})
        await h.open()
        registry = h.stage.app.registry
        await eventually(lambda: registry["p"].models)

        assert (await ask(h.stage, chat("org-1"), **bearer)).status == 404
        assert (await h.stage.get("/v1/models/org-1", headers=bearer)).status == 404
        assert await ids(h.stage, **bearer) == ["org-2"]
