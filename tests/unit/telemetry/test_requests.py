"""A line for each request: what is in it, what never is, and which requests have none."""

from __future__ import annotations

import io
import json
import logging
import shlex
from typing import TYPE_CHECKING, Any

import pytest

from activator.telemetry import logs
from activator.telemetry.requests import LONGEST, Subject, is_logged, level_of, request_ended

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _leaves_no_trace() -> Iterator[None]:
    root, own = logging.getLogger(), logging.getLogger(logs.REQUESTS)
    before, level = list(root.handlers), root.level
    yield
    for one in set(root.handlers) - set(before):
        one.close()
    root.handlers[:] = before
    root.setLevel(level)
    own.setLevel(logging.NOTSET)


def line(form: logs.Format, **facts: Any) -> str:
    stream = io.StringIO()
    logs.configure(form, stream=stream)
    asked: dict[str, Any] = {
        "endpoint": "llama",
        "method": b"POST",
        "target": b"/v1/chat?token=hunter2",
        "key": "",
    }
    subject = Subject(**(asked | {name: facts.pop(name) for name in asked.keys() & facts.keys()}))
    given: dict[str, Any] = {
        "request_id": b"abc",
        "status": 200,
        "reason": "",
        "seconds": 1.25,
        "bytes_in": 10,
        "bytes_out": 20,
        "remote": "10.0.0.1",
    }
    request_ended(subject, **(given | facts))
    logs.flush()
    return stream.getvalue()


def test_a_line_of_json_has_all_that_is_known() -> None:
    entry = json.loads(
        line("json", held=0.5, cold=True, replica="m-1", attempts=2, key="team", job="j")
    )
    assert entry.pop("ts").endswith("Z")
    assert entry == {
        "level": "info",
        "logger": "activator.requests",
        "message": "request",
        "action": "request",
        "request_id": "abc",
        "endpoint": "llama",
        "method": "POST",
        "path": "/v1/chat",
        "status": 200,
        "reason": "",
        "cold": True,
        "held": 0.5,
        "seconds": 1.25,
        "bytes_in": 10,
        "bytes_out": 20,
        "replica": "m-1",
        "attempts": 2,
        "key": "team",
        "remote": "10.0.0.1",
        "job": "j",
    }


def test_the_same_record_by_any_other_handler_has_the_same_fields(
    caplog: pytest.LogCaptureFixture,
) -> None:
    written = json.loads(line("json"))
    (record,) = [one for one in caplog.records if one.name == logs.REQUESTS]
    assert logs.fields_of(record).items() <= written.items()
    assert "request" in caplog.text


@pytest.mark.parametrize("form", logs.FORMATS)
@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"status": 503, "reason": "queue_full", "key": "te am", "job": "j", "target": b'/"\xff x'},
        {"held": 0.5, "cold": True, "replica": "m-1", "attempts": 2, "request_id": b'"a"'},
    ],
)
def test_where_nobody_else_listens_lines_are_the_same(
    form: logs.Format, facts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activator.telemetry.requests.time", lambda: 1.5)
    monkeypatch.setattr("time.time", lambda: 1.5)
    by_a_record = line(form, **facts)
    root = logging.getLogger()
    others = root.handlers[:]
    root.handlers[:] = []
    try:
        alone = line(form, **facts)
    finally:
        root.handlers[:] = others
    by_fields = _fields_of_text if form == "text" else json.loads

    assert by_fields(alone) == by_fields(by_a_record)
    assert alone.endswith("\n")


def _fields_of_text(line: str) -> tuple[str, set[str]]:
    when, _, rest = line.strip().partition(" requests request ")
    return when, set(shlex.split(rest))


def test_a_line_of_text_says_nothing_of_what_there_is_not() -> None:
    text = line("text")
    assert "requests request request_id=abc endpoint=llama method=POST path=/v1/chat" in text
    assert "replica" in line("text", replica="m-1")
    for word in ("reason", "replica", "key", "job"):
        assert f"{word}=" not in text


@pytest.mark.parametrize("form", logs.FORMATS)
def test_neither_query_nor_a_path_without_end_is_logged(form: logs.Format) -> None:
    assert "hunter2" not in line(form)
    assert len(line(form, target=b"/" + b"x" * 9000)) < LONGEST + 600


def test_what_a_client_sends_cannot_forge_a_line() -> None:
    evil = b'/a"b\\c\x7f\xff'
    entry = json.loads(line("json", target=evil, key='"\n'))
    assert entry["path"] == evil.decode("latin-1")
    assert line("json", key='"\n').count("\n") == 1
    assert line("text", target=evil, key='"\n').count("\n") == 1


@pytest.mark.parametrize(
    ("requests", "answered", "failed"),
    [("all", True, True), ("failed", False, True), ("off", False, False)],
)
def test_which_requests_have_a_line_can_be_chosen(
    requests: logs.Requests, answered: bool, failed: bool
) -> None:
    logs.configure(requests=requests, stream=io.StringIO())
    assert is_logged(200, "") is answered
    assert is_logged(499, "client_left") is answered
    assert is_logged(503, "queue_full") is failed
    assert is_logged(200, "broken_off") is failed


def test_a_higher_level_of_all_logs_is_that_of_requests_too() -> None:
    logs.configure(level="warning", stream=io.StringIO())
    assert not is_logged(200, "")
    assert level_of(502, "") == logging.WARNING
