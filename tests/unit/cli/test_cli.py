"""Commands and options: what is said where, and the exit status."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

import activator
from activator.cli import main
from activator.cli.arguments import COMMANDS, parse
from activator.cli.serve import overrides
from tests.unit.cli.support import child, exits

if TYPE_CHECKING:
    from collections.abc import Iterator

QUICKSTART = Path(__file__).parents[3] / "config" / "quickstart.yaml"


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


def test_a_bug_is_a_line_and_not_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> object:
        raise ZeroDivisionError("odd")

    monkeypatch.setattr("activator.cli.schema.json_schema", broken)
    assert main(["schema"]) == 1
    said = capsys.readouterr().err
    assert "internal error, please report it: ZeroDivisionError: odd" in said
    assert "Traceback" not in said


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
