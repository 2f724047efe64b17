"""Held requests as an operator sees them, and what their clients hear when one is cancelled."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import aiohttp

from tests.stage import request, stage
from tests.support import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rawclient import RawClient
    from tests.stage import Stage


async def ask(s: Stage, method: str, path: str) -> tuple[int, Any]:
    url = f"http://127.0.0.1:{s.app.admin_port}/api/endpoints/m/held{path}"
    body: dict[str, Any] = {} if method == "GET" else {"json": {}}
    async with aiohttp.ClientSession() as client, client.request(method, url, **body) as answer:
        return answer.status, await answer.json(content_type=None)


async def wait(s: Stage, name: str, target: str, **headers: str) -> RawClient:
    raw = request(target, method="POST", headers={"X-Request-Id": name, **headers}, body=b"four")
    return await s.send(raw)


async def test_each_is_listed_with_its_place_key_and_path_and_nothing_secret(
    tmp_path: Path,
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"team:{sha256(b'hush').hexdigest()}::0\n", "utf-8")
    async with stage(ready=False, config={"auth": {"apiKeysFile": str(keys)}}) as s:
        key = {"Authorization": "Bearer hush"}
        await wait(s, "later", "/v1/a?token=hush", **key)
        await s.until_in_line(1)
        await wait(s, "first", "http://m.example/" + "x" * 500, Priority="u=0", **key)
        await s.until_in_line(2)
        code, told = await ask(s, "GET", "")

        assert (code, told["held"], told["held_elsewhere"]) == (200, 2, 0)
        one, other = told["requests"]
        assert (one["id"], one["place"], one["urgency"], one["path"]) == ("later", 2, 3, "/v1/a")
        assert (other["id"], other["place"], other["urgency"]) == ("first", 1, 0)
        assert other["path"].startswith("/xxx")
        assert len(other["path"]) == 200
        assert (one["key"], one["method"], one["held_bytes"]) == ("team", "POST", 4)
        assert 0 <= other["seconds"] <= one["seconds"] < 5
        assert "hush" not in str(told)
        assert (await ask(s, "GET", "?first=1&limit=1"))[1]["requests"][0]["id"] == "first"


async def test_whoever_is_cancelled_is_told_so_and_no_model_hears_of_it() -> None:
    async with stage(ready=False) as s:
        gone, stays = [await wait(s, name, "/") for name in ("gone", "stays")]
        await s.until_in_line(2)

        assert await ask(s, "DELETE", "/gone") == (200, {"cancelled": 1})

        reply = await gone.reply()
        assert (reply.status, reply.why) == (503, "cancelled")
        assert reply.get("retry-after") is None
        assert b"An operator has cancelled this request" in reply.body
        assert (await ask(s, "DELETE", "/gone"))[0] == 404
        events = [event for event in s.app.events.since(0) if event.action == "cancelled"]
        assert [event.reason for event in events] == ["gone: an operator asked for it"]

        await s.replica.start()
        assert (await stays.reply()).status == 200
        assert [each.get("x-request-id") for each in s.replica.requests] == [b"stays"]


async def test_a_client_that_waits_for_its_job_is_listed_with_it_and_told_too() -> None:
    async with stage(ready=False) as s:
        client = await wait(s, "keyed", "/", **{"Idempotency-Key": "k"})
        await s.until_held(1)
        (one,) = (await ask(s, "GET", ""))[1]["requests"]
        assert one["job"]
        assert (await ask(s, "DELETE", "/keyed"))[0] == 200
        reply = await client.reply()
        assert (reply.status, reply.why) == (410, "job_gone")
        assert b"cancelled" in reply.body
        assert (await s.get(f"/.activator/jobs/{one['job']}")).json()["state"] == "cancelled"


async def test_a_stream_that_has_begun_is_cancelled_by_an_event_of_it() -> None:
    async with stage(ready=False, dialect="openai", heartbeat="50ms") as s:
        body = b'{"stream": true}'
        client = await s.send(
            request("/v1/x", method="POST", headers={"X-Request-Id": "s"}, body=body)
        )
        await eventually(lambda: s.live.gate.held == 1)
        head = await client.head()
        assert head.status == 200
        assert (await ask(s, "DELETE", "/s"))[0] == 200
        rest = await client.until(b"\n\n", within=5.0)
        assert b'"code": "cancelled"' in rest
