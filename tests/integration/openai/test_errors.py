"""Whose error it is, and in which form: where OpenAI's dialect is spoken, and next to it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.replica import says
from tests.stage import request, stage

OPENAI: dict[str, Any] = {"dialect": "openai"}
HOST: dict[str, Any] = {"hosts": ["m.example"]}


async def test_an_error_of_ours_has_openais_form() -> None:
    async with stage(says(b"what?\r\n\r\n"), **OPENAI) as s:
        reply = await s.get("/v1/chat/completions", headers={"X-Request-Id": "mine"})

        assert (reply.status, reply.why) == (502, "upstream_unreachable")
        assert reply.json()["error"]["code"] == "upstream_unreachable"
        assert reply.json()["error"]["request_id"] == "mine"
        assert reply.get("x-should-retry") == b"true"


async def test_an_error_of_the_model_is_untouched() -> None:
    raw = b"HTTP/1.1 503 Overloaded\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nbusy"
    async with stage(says(raw), **OPENAI) as s:
        reply = await s.get()

        assert (reply.status, reply.why, reply.body) == (503, "", b"busy")
        assert reply.get("x-should-retry") is None


async def test_the_form_is_that_of_the_host_before_an_endpoint_is_known() -> None:
    async with stage(match={**HOST, "paths": ["/v1"]}, **OPENAI) as s:
        malformed = await s.ask(
            request("/v1/x", headers={"Idempotency-Key": "x" * 300}, method="POST", body=b"{}")
        )
        here = await s.ask(request("/v1/a%2fb"))
        elsewhere = await s.ask(request("/v1/x", host="other.example"))
        beside = await s.ask(request("/v2/x"))

        assert malformed.json()["error"]["code"] == "bad_request"
        assert here.get("content-type") == b"application/problem+json"  # the path cannot be read
        assert elsewhere.get("content-type") == b"application/problem+json"
        assert beside.get("content-type") == b"application/problem+json"


@pytest.mark.parametrize(
    "path",
    [
        "/sleep",
        "/sleep/",
        "//sleep",
        "/./sleep",
        "/v1/../sleep",
        "/sl%65ep",
        "/sleep;x",
        "/wake_up?tags=weights",
        "/collective_rpc",
        "/pause",
        "/update_weights_from_disk",
        "/v1/load_lora_adapter",
        "/api/delete",
    ],
)
async def test_a_model_servers_paths_of_operation_are_not_for_clients(path: str) -> None:
    async with stage(**OPENAI) as s:
        reply = await s.ask(request(path, method="POST", body=b"{}"))

        assert (reply.status, reply.why) == (403, "forbidden")
        assert reply.json()["error"]["code"] == "forbidden"
        assert s.replica.requests == []


async def test_a_list_of_ones_own_takes_their_place() -> None:
    async with stage(**OPENAI, blockPaths=["/other"]) as s:
        assert (await s.post(b"{}", "/sleep")).status == 200
        assert (await s.post(b"{}", "/other")).status == 403
