"""Who gets in: tokens, sessions, hosts, origins."""

from __future__ import annotations

import asyncio

import pytest

from activator.admin.guard import MAX_SESSIONS, SESSION_SECONDS, Hosts, Sessions, host_of
from tests.unit.admin.support import TOKEN, Admin, running

BEARER = {"Authorization": f"Bearer {TOKEN}"}


async def raw(admin: Admin, text: str) -> str:
    """The answer to bytes that no HTTP client would send."""
    reader, writer = await asyncio.open_connection("127.0.0.1", admin.port)
    writer.write(text.encode())
    answer = await asyncio.wait_for(reader.read(), 2)
    writer.close()
    await writer.wait_closed()
    return answer.decode()


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_probes_and_scrapers_need_no_token(path: str) -> None:
    async with running(token=TOKEN) as admin:
        assert (await admin.get(path))[0] == 200


@pytest.mark.parametrize("path", ["/api/endpoints", "/api/config", "/openapi.json", "/nothing"])
async def test_the_rest_needs_the_token(path: str) -> None:
    async with running(token=TOKEN) as admin:
        async with admin.client.get(admin.url + path) as answer:
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            assert answer.content_type == "application/problem+json"
        assert (await admin.get(path, headers=BEARER))[0] in (200, 404)


@pytest.mark.parametrize(
    "credential", ["Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer", f"Bearer {TOKEN}x"]
)
async def test_a_wrong_token_is_401(credential: str) -> None:
    async with running(token=TOKEN) as admin:
        headers = {"Authorization": credential}
        assert (await admin.get("/api/endpoints", headers=headers))[0] == 401


async def test_a_token_of_undecodable_bytes_is_just_wrong() -> None:
    async with running(token=TOKEN) as admin:
        reader, writer = await asyncio.open_connection("127.0.0.1", admin.port)
        writer.write(
            b"GET /api/config HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"Authorization: Bearer \xff\xfe\r\n\r\n"
        )
        assert (await reader.readline()).split()[1] == b"401"
        writer.close()
        await writer.wait_closed()


async def test_without_a_token_configured_nothing_is_asked_for() -> None:
    async with running() as admin:
        assert (await admin.get("/api/endpoints"))[0] == 200
        assert (await admin.post("/api/login", {"token": "x"}))[0] == 409


async def test_a_login_trades_the_token_for_a_session_of_browsers() -> None:
    async with running(token=TOKEN) as admin:
        async with admin.client.post(admin.url + "/api/login", json={"token": TOKEN}) as answer:
            assert answer.status == 204
            cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert TOKEN not in cookie
        assert (await admin.get("/api/endpoints"))[0] == 200
        assert (await admin.post("/api/endpoints/llama/pause"))[0] == 200


async def test_a_session_ends_by_itself() -> None:
    now = 0.0
    async with running(token=TOKEN, clock=lambda: now) as admin:
        await admin.post("/api/login", {"token": TOKEN})
        assert (await admin.get("/api/endpoints"))[0] == 200
        now = SESSION_SECONDS + 1
        assert (await admin.get("/api/endpoints"))[0] == 401


@pytest.mark.parametrize("body", [{"token": "wrong"}, {}])
async def test_a_wrong_login_opens_nothing(body: dict[str, str]) -> None:
    async with running(token=TOKEN) as admin:
        assert (await admin.post("/api/login", body))[0] in (400, 401)
        assert (await admin.get("/api/endpoints"))[0] == 401


def test_sessions_are_bounded_and_the_oldest_ends_first() -> None:
    sessions = Sessions(TOKEN, clock=lambda: 0.0)
    opened = [sessions.open() for _ in range(MAX_SESSIONS + 1)]
    assert not sessions.is_open(opened[0])
    assert all(sessions.is_open(one) for one in opened[1:])
    assert len(set(opened)) == len(opened)


async def test_an_unknown_host_is_421_and_hears_which_are_known() -> None:
    async with running(token=TOKEN) as admin:
        for path in ("/livez", "/metrics", "/api/endpoints"):
            code, problem = await admin.get(path, headers={"Host": "evil.example.com"})
            assert code == 421
            assert "localhost" in problem["detail"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9090", "127.0.0.1:1", "[::1]:9090"])
async def test_loopback_names_are_known_whatever_their_case_and_port(host: str) -> None:
    async with running() as admin:
        assert (await admin.get("/livez", headers={"Host": host}))[0] == 200


async def test_two_hosts_or_none_are_refused() -> None:
    async with running() as admin:
        head = "GET /livez HTTP/1.1\r\nConnection: close\r\n"
        two = await raw(admin, head + "Host: localhost\r\nHost: localhost\r\n\r\n")
        none = await raw(admin, head + "\r\n")
        old = await raw(admin, "GET /livez HTTP/1.0\r\n\r\n")
    assert two.split()[1] == "400"
    assert none.split()[1] == "400"
    assert old.split()[1] == "200"


@pytest.mark.parametrize(
    ("listening", "known", "unknown"),
    [
        (["127.0.0.1:9090"], ["localhost", "::1"], ["10.0.0.5", "admin.local"]),
        (["10.0.0.5:9090"], ["10.0.0.5", "localhost"], ["10.0.0.6"]),
        (["0.0.0.0:9090", "admin.local"], ["10.0.0.6", "fd00::1", "admin.local"], ["evil.com"]),
        (["[::]:9090"], ["10.0.0.6"], ["evil.com", "10.0.0.6.evil.com"]),
        ([":9090"], ["10.0.0.6"], ["evil.com"]),
    ],
)
def test_hosts_follow_from_where_the_port_listens(
    listening: list[str], known: list[str], unknown: list[str]
) -> None:
    hosts = Hosts(listening)
    assert all(hosts.allow(one, arrived_at=None) for one in known)
    assert not any(hosts.allow(one, arrived_at=None) for one in unknown)
    assert hosts.allow("10.9.9.9", arrived_at="10.9.9.9")


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("Example.COM:80", "example.com"),
        ("example.com.", "example.com"),
        ("[::1]:80", "::1"),
        ("::1", "::1"),
        ("", ""),
    ],
)
def test_the_host_of_an_authority(authority: str, host: str) -> None:
    assert host_of(authority) == host


async def test_changes_need_a_json_content_type() -> None:
    async with running() as admin:
        url = admin.url + "/api/endpoints/llama/pause"
        for form in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data"):
            async with admin.client.post(url, data=b"{}", headers={"Content-Type": form}) as answer:
                assert answer.status == 415
        assert admin.house.statuses["llama"].paused is False


@pytest.mark.parametrize("origin", ["https://evil.example.com", "null", "http://127.0.0.1:1"])
async def test_pages_of_other_origins_cannot_change_anything(origin: str) -> None:
    async with running(token=TOKEN) as admin:
        headers = BEARER | {"Origin": origin}
        code, _ = await admin.post("/api/endpoints/llama/pause", headers=headers)
        assert code == 403
        assert (await admin.post("/api/login", {"token": TOKEN}, headers=headers))[0] == 403
        assert admin.house.statuses["llama"].paused is False


async def test_our_own_pages_can() -> None:
    async with running(token=TOKEN) as admin:
        headers = BEARER | {"Origin": admin.url}
        assert (await admin.post("/api/endpoints/llama/pause", headers=headers))[0] == 200
