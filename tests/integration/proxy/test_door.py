"""Who may come in, by which key and to which path; what is answered without waking anything."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from tests.replica import says
from tests.stage import NAME, request, stage
from tests.support import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.replica import Talk

PREFLIGHT = {
    "Origin": "https://app.example",
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization, content-type",
}


def line(name: str, key: str, *more: str) -> str:
    return ":".join([name, sha256(key.encode()).hexdigest(), *more])


def keys(tmp_path: Path, *lines: str) -> dict[str, Any]:
    """The root's keys for a file of API keys."""
    path = tmp_path / "keys.txt"
    path.write_text("\n".join(lines) + "\n")
    return {"auth": {"apiKeysFile": str(path)}}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


# --- the same request again


async def test_a_key_that_is_taken_away_opens_no_more_to_who_used_it_before(tmp_path: Path) -> None:
    config = keys(tmp_path, line("me", "secret"), line("you", "other"))
    async with stage(config=config) as s:
        client = await s.connect()
        for _ in range(3):
            client.send(request("/", headers=bearer("secret")))
            assert (await client.reply()).status == 200
        (tmp_path / "keys.txt").write_text(line("you", "other") + "\n")
        s.app.reloading.poke()
        await eventually(lambda: len(s.proxy.door.keys or ()) == 1)

        client.send(request("/", headers=bearer("secret")))
        assert (await client.reply()).status == 401


async def test_the_same_request_goes_where_it_belongs_now() -> None:
    async with stage() as s:
        client = await s.connect()
        for _ in range(3):
            client.send(request("/other/x"))
            assert (await client.reply()).status == 200
        assert {heard.target for heard in s.replica.requests} == {b"/other/x"}
        endpoint = s.config["endpoints"][0]
        endpoint["match"] = {"paths": ["/other"]}
        endpoint["stripPrefix"] = True
        s.rewrite()
        await eventually(lambda: s.live.endpoint.strip_prefix)

        client.send(request("/other/x"))
        assert (await client.reply()).status == 200
        assert s.replica.requests[-1].target == b"/x"


async def test_a_request_that_names_no_model_goes_to_the_default_one_of_now() -> None:
    async with stage(match={"models": ["m"]}, dialect="openai") as s:
        s.rewrite(s.config | {"openai": {"defaultModel": "m"}})
        await eventually(lambda: s.proxy.openai.default_model == "m")
        client = await s.connect()
        for _ in range(3):
            client.send(request("/x"))
            assert (await client.reply()).status == 200
        s.rewrite(s.config | {"openai": {"defaultModel": "other"}})
        await eventually(lambda: s.proxy.openai.default_model == "other")

        client.send(request("/x"))
        assert (await client.reply()).why == "no_route"


async def test_each_request_has_an_id_and_a_trace_of_its_own_however_alike_they_are() -> None:
    async with stage() as s:
        client = await s.connect()
        ids = []
        for _ in range(3):
            client.send(request("/same"))
            ids.append((await client.reply()).get("x-request-id"))
        heard = s.replica.requests

        assert len(set(ids)) == 3
        assert [one.get("x-request-id") for one in heard] == ids
        assert len({one.get("traceparent") for one in heard}) == 3
        assert all(one.get("x-forwarded-for") == b"127.0.0.1" for one in heard)


# --- keys


@pytest.mark.parametrize(
    "headers",
    [{}, bearer("wrong"), {"X-Api-Key": "wrong"}, {"Authorization": "Basic c2VjcmV0"},
     {"Authorization": "Bearer"}, {"Authorization": "secret"}],
)  # fmt: skip
async def test_without_a_valid_key_nobody_comes_in(headers: dict[str, str], tmp_path: Path) -> None:
    async with stage(config=keys(tmp_path, line("me", "secret"))) as s:
        reply = await s.get(headers=headers)

        assert (reply.status, reply.why) == (401, "unauthorized")
        assert reply.get("www-authenticate") == b'Bearer realm="activator"'
        assert s.replica.requests == []


@pytest.mark.parametrize(
    ("headers", "passed_on"),
    [
        (bearer("secret"), {"authorization": None, "x-api-key": None}),
        ({"Authorization": "bearer secret"}, {"authorization": None}),
        ({"X-Api-Key": "secret"}, {"x-api-key": None}),
        (
            {"X-Api-Key": "secret", "Authorization": "Bearer the-models"},
            {"x-api-key": None, "authorization": b"Bearer the-models"},
        ),
        (
            bearer("secret") | {"X-Api-Key": "the-models"},
            {"authorization": None, "x-api-key": b"the-models"},
        ),
    ],
)
async def test_a_key_opens_the_door_and_goes_no_further(
    headers: dict[str, str], passed_on: dict[str, bytes | None], tmp_path: Path
) -> None:
    async with stage(config=keys(tmp_path, line("me", "secret"))) as s:
        assert (await s.get(headers=headers)).status == 200

        heard = s.replica.requests[0]
        assert {name: heard.get(name) for name in passed_on} == passed_on


async def test_an_open_door_passes_credentials_on() -> None:
    async with stage() as s:
        await s.get(headers=bearer("the-models") | {"X-Api-Key": "also"})

        heard = s.replica.requests[0]
        assert heard.get("authorization") == b"Bearer the-models"
        assert heard.get("x-api-key") == b"also"


async def test_an_endpoint_that_a_key_may_not_use_is_not_there(tmp_path: Path) -> None:
    config = keys(tmp_path, line("me", "secret", "other"), line("you", "terces", NAME))
    async with stage(config=config) as s:
        hidden = await s.get(headers=bearer("secret"))

        assert (hidden.status, hidden.why) == (404, "no_route")
        assert (await s.get(headers=bearer("terces"))).status == 200


async def test_a_key_may_be_more_urgent_than_the_endpoint_lets_others_be(tmp_path: Path) -> None:
    config = keys(tmp_path, line("me", "plain"), line("vip", "urgent", NAME, "0"))
    async with stage(ready=False, concurrency=1, config=config) as s:
        clients = []
        for name, key in [("a", "plain"), ("b", "plain"), ("vip", "urgent")]:
            headers = bearer(key) | {"Priority": "u=0"}
            clients.append(await s.send(request(f"/{name}", headers=headers)))
            await s.until_in_line(len(clients))
        await s.replica.start()
        for client in clients:
            await client.reply()

        assert [heard.target for heard in s.replica.requests] == [b"/vip", b"/a", b"/b"]


async def test_keys_are_read_again_when_their_file_changes(tmp_path: Path) -> None:
    async with stage(config=keys(tmp_path, line("me", "secret"))) as s:
        client = await s.send(request(headers=bearer("secret")))
        assert (await client.reply()).status == 200
        keys(tmp_path, line("me", "changed"))
        s.app.reloading.poke()
        ring = s.proxy.door.keys
        await eventually(lambda: s.proxy.door.keys is not ring)

        client.send(request(headers=bearer("secret")) + request(headers=bearer("changed")))
        assert [(await client.reply()).status for _ in range(2)] == [401, 200]


async def test_the_activators_own_paths_are_reserved_on_every_host(tmp_path: Path) -> None:
    async with stage(config=keys(tmp_path, line("me", "secret"))) as s:
        assert (await s.get("/.activator/jobs/1")).status == 401
        reply = await s.get("/.activator/jobs/1", headers=bearer("secret"))

        assert (reply.status, reply.why) == (404, "no_route")
        assert s.replica.requests == []


# --- preflights, paths that never wake, blocked paths


async def test_a_preflight_needs_no_key_and_is_the_replicas_to_answer(tmp_path: Path) -> None:
    cors = b"HTTP/1.1 204 No Content\r\nAccess-Control-Allow-Origin: *\r\n\r\n"
    async with stage(says(cors), config=keys(tmp_path, line("me", "secret"))) as s:
        reply = await s.get("/x", method="OPTIONS", headers=PREFLIGHT)

        assert (reply.status, reply.get("access-control-allow-origin")) == (204, b"*")
        assert s.replica.requests[0].method == b"OPTIONS"


async def test_a_preflight_wakes_nothing_and_is_answered_all_the_same() -> None:
    async with stage(from_zero=True) as s:
        reply = await s.get("/x", method="OPTIONS", headers=PREFLIGHT)

        assert reply.status == 204
        assert reply.get("access-control-allow-origin") == b"https://app.example"
        assert reply.get("access-control-allow-methods") == b"POST"
        assert reply.get("access-control-allow-headers") == b"authorization, content-type"
        assert reply.get("content-length") is None
        assert s.driver is not None
        assert s.driver.calls == []


async def test_an_options_request_that_is_no_preflight_is_a_request(tmp_path: Path) -> None:
    async with stage(config=keys(tmp_path, line("me", "secret"))) as s:
        assert (await s.get(method="OPTIONS", headers={"Origin": "x"})).status == 401


NEVER = [{"path": "/health", "status": 299}, {"path": "/favicon.ico", "status": 404}]


async def test_a_path_that_never_wakes_is_answered_as_configured() -> None:
    async with stage(from_zero=True, neverWake=NEVER) as s:
        health = await s.get("/health?deep=1")
        icon = await s.get("/favicon.ico")

        assert (health.status, icon.status) == (299, 404)
        assert s.driver is not None
        assert s.driver.calls == []
        assert (await s.get("/healthy")).status == 200


async def test_a_path_that_never_wakes_is_forwarded_when_that_is_possible_at_once() -> None:
    async with stage(neverWake=NEVER) as s:
        reply = await s.get("/health")

        assert (reply.status, reply.body) == (200, b"hello")
        assert s.live.gate.last_ended < 0  # it does not refresh idleness


async def test_a_path_that_never_wakes_is_never_held() -> None:
    async with stage(ready=False, neverWake=NEVER) as s:
        assert (await s.get("/health")).status == 299
        assert (await s.post(b"body", "/health")).status == 299


async def test_a_path_that_never_wakes_is_answered_when_its_replica_breaks() -> None:
    async def dies(talk: Talk) -> None:
        talk.reset()

    async with stage(dies, neverWake=NEVER) as s:
        assert (await s.get("/health")).status == 299


@pytest.mark.parametrize(
    "target",
    ["/sleep", "/sleep?level=1", "/sleep/", "/sleep/x", "//sleep", "/./sleep", "/a/../sleep",
     "/%73leep", "/%2e/sleep", "/a/%2e%2e/sleep"],
)  # fmt: skip
async def test_a_blocked_path_is_blocked_however_it_is_written(target: str) -> None:
    async with stage(blockPaths=["/sleep"]) as s:
        reply = await s.get(target, method="POST")

        assert (reply.status, reply.why) == (403, "forbidden")
        assert s.replica.requests == []


@pytest.mark.parametrize("target", ["/sleep%2fx", "/a%5c..%5csleep", "/sleep%00", "/%zz"])
async def test_a_path_that_can_be_read_in_two_ways_is_refused(target: str) -> None:
    async with stage(blockPaths=["/sleep"]) as s:
        reply = await s.get(target)

        assert (reply.status, reply.why) == (400, "bad_request")
        assert s.replica.requests == []


async def test_a_blocked_path_is_meant_as_the_replica_sees_it() -> None:
    match = {"paths": ["/llama"]}
    async with stage(match=match, stripPrefix=True, blockPaths=["/sleep"]) as s:
        assert (await s.get("/llama/sleep")).status == 403
        assert (await s.get("/llama/sleepy")).status == 200


async def test_a_blocked_path_wakes_nothing() -> None:
    async with stage(from_zero=True, blockPaths=["/sleep"]) as s:
        await s.get("/sleep")

        assert s.driver is not None
        assert s.driver.calls == []
