"""The commands that talk to a running activator, against a real admin port."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from activator.admin.ports import ConfigStatus
from activator.cli import main
from activator.core.effects import FailedStart
from activator.core.status import ReplicaStatus
from tests.support import eventually
from tests.unit.admin.support import TOKEN, Admin, running, status
from tests.unit.cli.support import child, exits

if TYPE_CHECKING:
    from pathlib import Path

CLIENTS = ("status", "activate llama", "deactivate llama", "pause llama", "resume llama", "events")


async def run(admin: Admin, *words: str) -> int:
    return await asyncio.to_thread(main, [*words, "--admin", admin.url])


@pytest.mark.parametrize("line", CLIENTS)
def test_without_an_activator_a_client_command_is_1_and_says_where_it_looked(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exits([*line.split(), "--admin", "127.0.0.1:1"]) == 1
    said = capsys.readouterr()
    assert "no activator answers at http://127.0.0.1:1" in said.err
    assert said.err.count("\n") == 1


async def test_status_lists_endpoints_in_aligned_columns(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with running() as admin:
        replica = ReplicaStatus("r1", "ready", "127.0.0.1:4000", 2, 3.0)
        admin.house.statuses["llama"] = status(
            "llama", state="active", wanted=2, replicas=(replica,), held=3, paused=True
        )
        assert await run(admin, "status") == 0
    head, llama, whisper = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["ENDPOINT", "STATE"]
    assert llama.split() == ["llama", "active", "12s", "1/2", "3", "0", "paused"]
    assert head.index("STATE") == llama.index("active") == whisper.index("inactive")


async def test_status_of_one_endpoint_shows_its_replicas(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with running() as admin:
        replica = ReplicaStatus("r1", "started", "127.0.0.1:4000", 0, 3.0, detail="pid 4711")
        failure = str(FailedStart("exited with 3", last_lines=("last line",)))
        admin.house.statuses["llama"] = status(
            "llama", wanted=1, replicas=(replica,), failure=failure, retry_in=8.0
        )
        assert await run(admin, "status", "llama") == 0
    out = capsys.readouterr().out
    assert re.search(r"^r1 +started +3.0s +127.0.0.1:4000 +0 +pid 4711$", out, re.MULTILINE)
    assert "exited with 3; next start in 8.0s" in out


async def test_status_says_that_the_last_reload_was_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with running() as admin:
        admin.house.refused = ConfigStatus(at=1.0, problems=("a.yaml:3: endpoints[0].nam",))
        assert await run(admin, "status") == 0
    assert "a.yaml:3: endpoints[0].nam" in capsys.readouterr().err


async def test_json_is_what_the_api_says(capsys: pytest.CaptureFixture[str]) -> None:
    async with running() as admin:
        assert await run(admin, "status", "--json") == 0
        assert json.loads(capsys.readouterr().out) == (await admin.get("/api/endpoints"))[1]
        assert await run(admin, "status", "llama", "--json") == 0
        assert json.loads(capsys.readouterr().out)["name"] == "llama"
        assert await run(admin, "pause", "llama", "--json") == 0
        assert json.loads(capsys.readouterr().out)["paused"] is True


async def test_orders_are_carried_out_and_answered_in_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with running() as admin:
        assert await run(admin, "activate", "llama") == 0
        assert capsys.readouterr().out == "llama: activating, 0/1 replicas ready\n"
        assert await run(admin, "pause", "llama") == 0
        assert capsys.readouterr().out == "llama: activating, 0/1 replicas ready (paused)\n"
        assert await run(admin, "resume", "llama") == 0
        assert await run(admin, "deactivate", "llama") == 0
        assert admin.house.statuses["llama"].state == "inactive"


async def test_deactivating_under_demand_fails_unless_forced(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with running() as admin:
        admin.house.statuses["llama"] = status("llama", state="active", held=2)
        assert await run(admin, "deactivate", "llama") == 1
        assert "2 requests are held" in capsys.readouterr().err
        assert await run(admin, "deactivate", "llama", "--force") == 0


async def test_an_unknown_endpoint_fails_and_names_the_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with running() as admin:
        assert await run(admin, "status", "lama/../x") == 1
        assert await run(admin, "activate", "lama") == 1
    assert "did you mean 'llama'?" in capsys.readouterr().err


async def test_the_token_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text(f"{TOKEN}\n")
    wrong.write_text("wrong")
    async with running(token=TOKEN) as admin:
        assert await run(admin, "status") == 1
        assert "--token-file" in capsys.readouterr().err
        assert await run(admin, "status", "--token-file", str(right)) == 0
        monkeypatch.setenv("ACTIVATOR_ADMIN_TOKEN", TOKEN)
        assert await run(admin, "status") == 0
        assert await run(admin, "status", "--token-file", str(wrong)) == 1
        assert "wrong" in capsys.readouterr().err


async def test_the_admin_port_comes_from_the_option_then_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running() as admin:
        monkeypatch.setenv("ACTIVATOR_ADMIN", f"127.0.0.1:{admin.port}")
        assert await asyncio.to_thread(main, ["status"]) == 0
        monkeypatch.setenv("ACTIVATOR_ADMIN", "127.0.0.1:1")
        assert await asyncio.to_thread(main, ["status"]) == 1
        assert await run(admin, "status") == 0


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\n\r\n<html>", b"SSH-2.0-x\r\n", b""])
async def test_something_else_at_that_port_is_named_as_such(
    answer: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        argv = ["status", "--admin", f"127.0.0.1:{port}"]
        assert await asyncio.to_thread(main, argv) == 1
    said = capsys.readouterr().err
    assert f"127.0.0.1:{port}" in said
    assert said.count("\n") == 1


async def test_events_prints_what_has_happened(capsys: pytest.CaptureFixture[str]) -> None:
    async with running() as admin:
        first = admin.events.record("llama", "activated", "demand", replicas=1)
        second = admin.events.record("llama", "exited", "text\x1b[2J of others")
        assert await run(admin, "events") == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].endswith("  llama  activated  demand  replicas=1")
        assert lines[1].endswith(r"text\x1b[2J of others")
        assert await run(admin, "events", "--since", str(first.id), "--json") == 0
        assert json.loads(capsys.readouterr().out)["id"] == second.id
        assert await run(admin, "events", "--since", "10m") == 0
        assert len(capsys.readouterr().out.splitlines()) == 2
        assert await run(admin, "events", "--since", "0s") == 0
        assert capsys.readouterr().out == ""


async def test_following_events_ends_cleanly_by_interrupt() -> None:
    async with running() as admin:
        admin.events.record("llama", "before", "")
        process = child("events", "-f", "--admin", admin.url)
        try:
            await eventually(lambda: admin.events.subscribers == 1)
            admin.events.record("llama", "after", "")
            assert process.stdout is not None
            line = await asyncio.to_thread(process.stdout.readline)
            assert "before" in line
            assert "after" in await asyncio.to_thread(process.stdout.readline)
            process.send_signal(signal.SIGINT)
            _, err = await asyncio.to_thread(process.communicate, None, 5)
        finally:
            process.kill()
        assert (process.returncode, err) == (0, "")


async def test_following_ends_with_a_reason_when_the_activator_does(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with running() as admin:
        following = asyncio.create_task(run(admin, "events", "-f"))  # noqa: TID251  # a test owns it
        await eventually(lambda: admin.events.subscribers == 1)
    assert await asyncio.wait_for(following, 5) == 1
    assert "closed the stream" in capsys.readouterr().err


async def test_a_terminal_gets_a_table_in_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as admin:
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "activator", "status", "--admin", admin.url],
            stdout=theirs,
            env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "120"},
        )
        os.close(theirs)
        assert await asyncio.to_thread(process.wait, 5) == 0
        shown = os.read(ours, 65536).decode()
        os.close(ours)
    assert "llama" in shown
    assert "\x1b[" in shown
