"""Requests that are held, asked for at a real admin port."""

from __future__ import annotations

import pytest

from tests.unit.admin.support import Admin, held, running


async def delete(admin: Admin, path: str) -> int:
    json = {"Content-Type": "application/json"}
    async with admin.client.delete(admin.url + path, headers=json) as answer:
        return answer.status


async def test_they_are_told_one_by_one_and_by_the_page() -> None:
    async with running() as admin:
        admin.house.waiting["llama"] = [held(f"r{number}") for number in range(7)]
        code, told = await admin.get("/api/endpoints/llama/held?first=2&limit=3")

        assert code == 200
        assert (told["held"], told["held_elsewhere"]) == (7, 2)
        assert [one["id"] for one in told["requests"]] == ["r2", "r3", "r4"]
        assert told["requests"][0] == {
            "id": "r2", "place": 1, "seconds": 2.5, "key": "team", "method": "POST",
            "path": "/v1/x", "urgency": 3, "held_bytes": 2048, "job": "",
        }  # fmt: skip


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=x", "first=-1", "limit=" + "9" * 12]
)
async def test_what_is_no_page_is_refused(query: str) -> None:
    async with running() as admin:
        code, told = await admin.get(f"/api/endpoints/llama/held?{query}")
        assert (code, told["status"]) == (400, 400)


async def test_one_is_cancelled_whatever_its_client_has_called_it() -> None:
    async with running() as admin:
        admin.house.waiting["llama"] = [held("a/b?{c}"), held("other")]
        assert await delete(admin, "/api/endpoints/llama/held/a%2Fb%3F%7Bc%7D") == 200
        assert [one.id for one in admin.house.waiting["llama"]] == ["other"]
        assert await delete(admin, "/api/endpoints/llama/held/gone") == 404


async def test_an_endpoint_that_is_not_there_is_said() -> None:
    async with running() as admin:
        assert (await admin.get("/api/endpoints/lama/held"))[0] == 404
        assert await delete(admin, "/api/endpoints/lama/held/r1") == 404
