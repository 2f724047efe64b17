"""Log lines: one an outcome, the facts with it, and nothing secret or forged in it."""

from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from activator.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET: Any = "hunter2"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _leaves_no_trace() -> Iterator[None]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    for one in set(root.handlers) - set(before):
        one.close()
    root.handlers[:] = before
    root.setLevel(level)


def logged(
    form: logs.Format, message: str, *, into: io.StringIO | None = None, **extra: Any
) -> str:
    stream = into or io.StringIO()
    logs.configure(form, stream=stream)
    logging.getLogger("activator.control").info(message, extra=extra)
    logs.flush()
    return stream.getvalue()


def test_a_json_line_has_time_level_logger_action_and_the_fields() -> None:
    line = logged("json", "is up", action="activated", endpoint="llama", seconds=1.5)
    entry = json.loads(line)
    assert entry.pop("ts").endswith("Z")
    assert entry == {
        "level": "info",
        "logger": "activator.control",
        "message": "is up",
        "action": "activated",
        "endpoint": "llama",
        "seconds": 1.5,
    }
    assert line.count("\n") == 1


def test_a_text_line_reads_as_a_sentence_of_words() -> None:
    line = logged("text", "activated", action="activated", endpoint="llama", reason="has demand")
    assert "INFO" in line
    assert line.rstrip().endswith('control activated endpoint=llama reason="has demand"')


def test_what_json_cannot_say_is_said_as_text() -> None:
    line = logged("json", "x", eta=float("inf"), seen={1: {"a"}}, cause=ValueError("odd"))
    entry = json.loads(line)
    assert entry["eta"] == "inf"
    assert entry["seen"] == {"1": ["a"]}
    assert entry["cause"] == "odd"


def test_a_field_cannot_overwrite_what_every_line_has() -> None:
    entry = json.loads(logged("json", "x", level="debug", ts="never"))
    assert entry["level"] == "info"
    assert entry["extra_level"] == "debug"


@pytest.mark.parametrize("form", logs.FORMATS)
@pytest.mark.parametrize("name", ["token", "api_key", "Authorization", "admin_token", "body"])
def test_secrets_and_bodies_are_masked(form: logs.Format, name: str) -> None:
    line = logged(form, "x", tokens=12, **{name: SECRET})
    assert SECRET not in line
    assert "***" in line
    assert "12" in line


def test_text_of_others_can_neither_forge_a_line_nor_steer_a_terminal() -> None:
    evil = "ok\n2026-01-01 INFO forged\x1b[2J\x9b"
    line = logged("text", evil, action="exited", tail=evil, lines=[evil])
    assert line.count("\n") == 1
    assert "\x1b" not in line
    assert "\x9b" not in line
    assert r"\x1b[2J" in line


@pytest.mark.parametrize("form", logs.FORMATS)
def test_an_exception_keeps_its_trace(form: logs.Format) -> None:
    stream = io.StringIO()
    logs.configure(form, stream=stream)
    try:
        raise LookupError("gone")
    except LookupError:
        logging.getLogger("activator").exception("task failed", extra={"action": "task_failed"})
    logs.flush()
    assert "LookupError: gone" in stream.getvalue()
    assert "Traceback" in stream.getvalue()


def test_colour_is_for_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" not in logged("text", "x", action="done")
    assert "\x1b[" in logged("text", "x", action="done", into=Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in logged("text", "x", action="done", into=Terminal())


def test_configuring_twice_logs_once_and_to_the_last_stream() -> None:
    first, second = io.StringIO(), io.StringIO()
    logs.configure(stream=first)
    logs.configure("json", stream=second)
    logging.getLogger("activator").warning("x")
    logs.flush()
    assert first.getvalue() == ""
    assert second.getvalue().count("\n") == 1


def test_lines_below_the_level_are_not_written() -> None:
    stream = io.StringIO()
    logs.configure(level="warning", stream=stream)
    logging.getLogger("activator").info("quiet")
    logging.getLogger("activator").warning("loud")
    logs.flush()
    assert "quiet" not in stream.getvalue()
    assert "loud" in stream.getvalue()


def test_a_record_that_cannot_be_made_into_a_line_is_one_all_the_same() -> None:
    class Odd:
        def __str__(self) -> str:
            raise LookupError("no name")

    assert "activator.control cannot be made: LookupError('no name')" in logged(
        "text", "x", a=Odd()
    )


@pytest.mark.parametrize("form", logs.FORMATS)
def test_what_nobody_takes_is_counted_and_said(form: logs.Format) -> None:
    class Full(io.StringIO):
        is_full = True

        def write(self, text: str) -> int:
            if self.is_full:
                raise OSError("no room")
            return super().write(text)

    stream = Full()
    logged(form, "lost", into=stream)
    logged_before = logs.dropped()
    stream.is_full = False
    logging.getLogger("activator").info("later")
    logs.flush()
    assert logged_before == 1
    assert "1 log lines were lost" in stream.getvalue().splitlines()[0]
    assert "later" in stream.getvalue().splitlines()[1]
