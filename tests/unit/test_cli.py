"""The command line as its users meet it: what it prints where, and how it ends."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

import activator
from activator.admin.ports import ConfigStatus
from activator.cli import main
from activator.cli.arguments import COMMANDS, parse
from activator.cli.serve import overrides
from activator.cli.tables import span
from activator.core.status import ReplicaStatus
from tests.support import eventually
from tests.unit.admin.support import TOKEN, Admin, running, status

if TYPE_CHECKING:
    from collections.abc import Iterator

QUICKSTART = Path(__file__).parents[2] / "config" / "quickstart.yaml"
CLIENTS = ("status", "activate llama", "deactivate llama", "pause llama", "resume llama", "events")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ACTIVATOR_")]:
        monkeypatch.delenv(name)


async def run(admin: Admin, *words: str) -> int:
    return await asyncio.to_thread(main, [*words, "--admin", admin.url])


def child(*words: str, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "activator", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | more,
    )


@contextmanager
def quiet_logging() -> Iterator[None]:
    """Puts the root logger back as it was: `serve` configures logging for its process."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def exits(argv: list[str]) -> int:
    """The status, whether it is returned or argparse ends the program with it."""
    try:
        return main(argv)
    except SystemExit as end:
        return int(end.code or 0)


def test_says_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert exits(["--version"]) == 0
    assert capsys.readouterr().out == f"activator {activator.__version__}\n"


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"demo"}))
def test_every_command_has_help_with_an_example(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exits([name, "--help"]) == 0
    assert f"example: activator {name}" in capsys.readouterr().out


def test_examples_are_of_their_own_command() -> None:
    for name, command in COMMANDS.items():
        assert command.example.startswith(f"activator {name}")


@pytest.mark.parametrize(
    ("word", "hint"),
    [("stats", "did you mean 'status'?"), ("xyzzy", "there are serve, demo, check")],
)
def test_an_unknown_command_is_2_and_names_the_nearest(
    word: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exits([word]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"no command {word!r}" in said.err
    assert hint in said.err


@pytest.mark.parametrize(
    "line",
    [
        "",
        "--nonsense",
        "activate",
        "status --nonsense",
        "serve",
        "check",
        "events --since yesterday",
        "status --admin ftp://x",
        "status --admin http://x:port",
        "status --token-file /does/not/exist",
    ],
)
def test_wrong_arguments_are_2_and_said_on_stderr(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exits(line.split()) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    assert "internal error" not in said.err
    assert said.err.strip()


@pytest.mark.parametrize("line", CLIENTS)
def test_without_an_activator_a_client_command_is_1_and_says_where_it_looked(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exits([*line.split(), "--admin", "127.0.0.1:1"]) == 1
    said = capsys.readouterr()
    assert "no activator answers at http://127.0.0.1:1" in said.err
    assert said.err.count("\n") == 1


def test_check_prints_the_configuration_resolved(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "-c", str(QUICKSTART)]) == 0
    resolved = yaml.safe_load(capsys.readouterr().out)
    assert resolved["endpoints"][0]["timeouts"]["connect"] == "2s"
    assert main(["check", "-c", str(QUICKSTART), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == resolved


def test_check_shows_every_problem_with_its_place_and_is_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text("server: {lisen: 1}\nendpoints:\n  - {name: a, concurrency: many}\n")
    assert main(["check", "-c", str(file)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"{file}:1: server.lisen" in said.err
    assert f"{file}:3: endpoints[0].concurrency" in said.err


def test_check_says_warnings_on_stderr_and_is_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "odd.yaml"
    file.write_text(
        "endpoints: [{name: a, queue: {timeout: 1s}, scale: {startTimeout: 1m},\n"
        '             backend: {type: process, command: [a, "{port}"]}}]\n'
    )
    assert main(["check", "-c", str(file)]) == 0
    said = capsys.readouterr()
    assert "activator: warning:" in said.err
    assert yaml.safe_load(said.out)["endpoints"][0]["name"] == "a"


def test_a_configuration_may_be_named_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ACTIVATOR_CONFIG", str(QUICKSTART))
    assert main(["check"]) == 0
    assert "alpha" in capsys.readouterr().out


def test_schema_is_a_json_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["$schema"].startswith("https://json-schema.org/")


def test_options_of_serve_beat_the_environment_which_beats_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = parse(["serve", "-c", "x"])
    assert overrides(plain) == {}
    monkeypatch.setenv("ACTIVATOR_LISTEN", "127.0.0.1:1, 127.0.0.1:2")
    monkeypatch.setenv("ACTIVATOR_ADMIN", "http://127.0.0.1:3/")
    assert overrides(plain) == {
        "server.listen": ["127.0.0.1:1", "127.0.0.1:2"],
        "server.admin": "127.0.0.1:3",
    }
    given = parse(["serve", "-c", "x", "--listen", ":4", "--listen", ":5", "--admin", ":6"])
    assert overrides(given) == {"server.listen": [":4", ":5"], "server.admin": ":6"}


@pytest.mark.parametrize(
    ("name", "value"), [("LOG_FORMAT", "xml"), ("LOG_LEVEL", "loud"), ("LISTEN", "nowhere")]
)
def test_a_wrong_environment_of_serve_is_2_and_names_the_variable_or_key(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"ACTIVATOR_{name}", value)
    with quiet_logging():
        assert main(["serve", "-c", str(QUICKSTART)]) == 2
    assert {"LISTEN": "server.listen"}.get(name, f"ACTIVATOR_{name}") in capsys.readouterr().err


def test_serving_on_a_port_in_use_is_1_and_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        argv = ["serve", "-c", str(QUICKSTART), "--listen", f"127.0.0.1:{port}"]
        argv += ["--admin", "127.0.0.1:0"]
        process = child(*argv, ACTIVATOR_LOG_LEVEL="error")
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (1, "")
    assert port in err
    assert err.count("\n") == 1


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
        failure = "exited with 3\n  last line"
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


def test_a_reader_that_has_had_enough_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as nobody_reads:
        done = subprocess.run(
            [sys.executable, "-m", "activator", "schema"],
            stdout=nobody_reads,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")


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


def test_a_bug_is_a_line_and_not_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> object:
        raise ZeroDivisionError("odd")

    monkeypatch.setattr("activator.config.schema.json_schema", broken)
    sys.modules.pop("activator.cli.schema", None)
    assert main(["schema"]) == 1
    sys.modules.pop("activator.cli.schema", None)
    said = capsys.readouterr().err
    assert "internal error, please report it: ZeroDivisionError: odd" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.42, "0.4s"),
        (42.0, "42s"),
        (59.9, "1m00s"),
        (200, "3m20s"),
        (7500, "2h05m"),
        (270_000, "3d03h"),
    ],
)
def test_spans_are_for_the_eye(seconds: float | None, text: str) -> None:
    assert span(seconds) == text


def test_asking_for_the_version_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "activator", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "activator.cli" in imported
    assert not imported & {"aiohttp", "pydantic", "uvloop", "yaml", "rich", "asyncio"}
