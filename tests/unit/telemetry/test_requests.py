"""A line for each request: what is in it, what never is, and which requests have none."""

from __future__ import annotations

import fcntl
import io
import json
import logging
import os
import shlex
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.telemetry import logs
from activator.telemetry.log_writer import GATHER, MOST, RECKONED
from activator.telemetry.requests import (
    LONGEST,
    REMEMBERED,
    Subject,
    _quoted,
    answered,
    is_logged,
    level_of,
    request_ended,
)

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


# --- of what nearly all requests end in ---------------------------------------------------------

LLAMA = Subject(endpoint="llama", method=b"GET", target=b"/v1/things?x=1", key="team")


@contextmanager
def nobody_else_listens() -> Iterator[None]:
    root = logging.getLogger()
    others = root.handlers[:]
    root.handlers[:] = []
    try:
        yield
    finally:
        root.handlers[:] = others


def tell(*, status: int = 200, request_id: bytes = b"abc", remote: str = "10.0.0.1") -> None:
    """That it was answered."""
    answered(LLAMA, request_id, status, 0.25, 10, 20, "m-1", remote)


def usual(stream: io.StringIO, *, status: int = 200) -> str:
    """What is written of an answer."""
    before = len(stream.getvalue())
    tell(status=status)
    logs.flush()
    return stream.getvalue()[before:]


@pytest.mark.parametrize(
    ("form", "line"),
    [
        (
            "json",
            '{"ts": "1970-01-01T00:00:01.500Z", "level": "info", "logger": "activator.requests", '
            '"message": "request", "action": "request", "request_id": "abc", "endpoint": "llama", '
            '"method": "GET", "path": "/v1/things", "key": "team", "status": 200, "reason": "", '
            '"cold": false, "held": 0.0, "job": "", "seconds": 0.250000, "bytes_in": 10, '
            '"bytes_out": 20, "replica": "m-1", "attempts": 1, "remote": "10.0.0.1"}\n',
        ),
        (
            "text",
            logs.local_moment(1.5) + " INFO    requests request request_id=abc endpoint=llama "
            "method=GET path=/v1/things key=team status=200 cold=False held=0 seconds=0.25 "
            "bytes_in=10 bytes_out=20 replica=m-1 attempts=1 remote=10.0.0.1\n",
        ),
    ],
)
def test_the_usual_line_to_the_byte(
    form: logs.Format, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activator.telemetry.requests.time", lambda: 1.5)
    with nobody_else_listens():
        logs.configure(form, stream=(stream := io.StringIO()))
        assert usual(stream) == line


texts = st.sampled_from(["", "m-1", "::1", "a b", 'a"b', "a=\\b\n", "\x7fé€", "\udcff"])


subjects = st.builds(
    Subject,
    endpoint=texts,
    key=texts,
    method=st.just(b"GET"),
    target=st.sampled_from([b"/v1/chat?x", b'/"\\\xff x', b""]),
)
ids = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1).map(str.encode)
sizes = st.integers(0, 1 << 50)


answers = st.fixed_dictionaries(
    {
        "of": subjects,
        "request_id": ids,
        "status": st.sampled_from([200, 200, 200, 204, 404, 500]),
        "seconds": st.floats(min_value=0, max_value=1e6),
        "bytes_in": sizes,
        "bytes_out": sizes,
        "replica": texts,
        "remote": texts,
    }
)


@pytest.mark.parametrize("form", logs.FORMATS)
def test_usual_lines_that_are_made_together_are_like_the_others(form: logs.Format) -> None:
    @given(told=st.lists(st.tuples(answers, st.floats(min_value=0, max_value=4e9)), max_size=9))
    def check(told: list[tuple[dict[str, Any], float]]) -> None:
        before = len(stream.getvalue())
        for each in answered, ended:
            for facts, at in told:
                monkeypatch.setattr("activator.telemetry.requests.time", lambda at=at: at)
                each(**facts)
            logs.flush()
        lines = stream.getvalue()[before:].splitlines(keepends=True)
        assert lines[: len(told)] == lines[len(told) :]
        assert len(lines) == 2 * len(told)

    def ended(**facts: Any) -> None:
        request_ended(reason="", attempts=1, **facts)

    with nobody_else_listens(), pytest.MonkeyPatch.context() as monkeypatch:
        logs.configure(form, stream=(stream := io.StringIO()))
        check()


def test_answers_are_written_without_anybody_asking() -> None:
    with nobody_else_listens():
        logs.configure(stream=(stream := io.StringIO()))
        for number in range(1, 4):
            time.sleep(5 * GATHER)  # the thread is at rest again
            tell()
            until = time.monotonic() + 5.0
            while stream.getvalue().count("\n") < number:
                assert time.monotonic() < until
                time.sleep(GATHER)


def test_answers_beyond_what_may_wait_are_lost_and_said_to_be() -> None:
    read, write = os.pipe()
    with nobody_else_listens(), open(write, "w") as unread, open(read) as reader:
        # full: however slow we are, no line goes meanwhile
        os.write(write, b"\n".rjust(fcntl.fcntl(write, fcntl.F_GETPIPE_SZ)))
        logs.configure(stream=unread)
        most = MOST // RECKONED
        for _ in range(most + 7):
            tell()
        assert logs.dropped() == 7
        taking = threading.Thread(target=lambda: lines.extend(reader))
        lines: list[str] = []
        taking.start()
        logs.flush()
        tell()
        logs.flush()
        logs.configure()
        unread.close()
        taking.join()
    assert len(lines) == 1 + most + 2
    assert "7 log lines were lost" in lines[-2]


def test_what_others_listen_to_comes_as_a_record(caplog: pytest.LogCaptureFixture) -> None:
    logs.configure("json", stream=(stream := io.StringIO()))
    written = json.loads(usual(stream))
    (record,) = [one for one in caplog.records if one.name == logs.REQUESTS]
    assert logs.fields_of(record).items() <= written.items()
    assert (record.__dict__["replica"], record.__dict__["attempts"]) == ("m-1", 1)


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.mark.parametrize("logger", ["", logs.REQUESTS])
def test_who_begins_to_listen_hears_of_the_next_answer(logger: str) -> None:
    kept, listened = Kept(), logging.getLogger(logger)
    with nobody_else_listens():
        logs.configure(stream=(stream := io.StringIO()))
        usual(stream)
        listened.addHandler(kept)
        try:
            assert usual(stream)
        finally:
            listened.removeHandler(kept)
        usual(stream)
    assert len(kept.records) == 1
    assert stream.getvalue().count("\n") == 3


def test_a_level_that_is_changed_holds_for_the_next_answer() -> None:
    own = logging.getLogger(logs.REQUESTS)
    with nobody_else_listens():
        logs.configure(stream=(stream := io.StringIO()))
        assert usual(stream)
        own.setLevel(logging.WARNING)
        assert not usual(stream)
        assert usual(stream, status=500)
        own.setLevel(logging.INFO)
        assert usual(stream)
        logging.disable(logging.INFO)
        try:
            assert not usual(stream)
        finally:
            logging.disable(logging.NOTSET)
        assert usual(stream)


@pytest.mark.parametrize(("requests", "lines"), [("all", 2), ("failed", 1), ("off", 0)])
def test_answers_are_among_the_lines_that_can_be_chosen(
    requests: logs.Requests, lines: int
) -> None:
    with nobody_else_listens():
        logs.configure(requests=requests, stream=(stream := io.StringIO()))
        usual(stream)
        usual(stream, status=503)
    assert stream.getvalue().count("\n") == lines


def test_where_nothing_is_configured_nothing_is_written(capfd: pytest.CaptureFixture[str]) -> None:
    with nobody_else_listens(), pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(logs, "straight", None)
        tell()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("form", logs.FORMATS)
def test_a_line_begins_with_the_moment_also_when_the_clock_is_set_back(form: logs.Format) -> None:
    moments = [5.0, 5.0004, 5.0009999, 5.001, 5.9999999, 6.0, 4.9999, 5.0002, 1.7e9 + 0.123, 5.0]
    with nobody_else_listens(), pytest.MonkeyPatch.context() as monkeypatch:
        logs.configure(form, stream=(stream := io.StringIO()))
        for at in moments:
            monkeypatch.setattr("activator.telemetry.requests.time", lambda at=at: at)
            tell()
        logs.flush()
    lines = stream.getvalue().splitlines()
    if form == "json":
        assert [json.loads(line)["ts"] for line in lines] == [logs.moment(at) for at in moments]
    else:
        told = [line.partition(" INFO")[0] for line in lines]
        assert told == [logs.local_moment(at) for at in moments]


def test_answers_and_all_else_that_is_logged_are_written_in_order() -> None:
    with nobody_else_listens():
        logs.configure("json", stream=(stream := io.StringIO()))
        for number in range(3):
            tell(request_id=b"%d" % number)
            logging.getLogger("activator").info("between", extra={"request_id": f"{number}"})
            tell(request_id=b"%d" % number, status=503)
        logs.flush()
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [one["request_id"] for one in told] == [*"000111222"]
    assert [one["level"] for one in told] == ["info", "info", "warning"] * 3


def test_replicas_and_peers_without_end_are_not_remembered_without_end() -> None:
    with nobody_else_listens():
        logs.configure("json", stream=(stream := io.StringIO()))
        for number in range(REMEMBERED + 10):
            tell(remote=f"peer {number}")
        logs.flush()
    told = [json.loads(line)["remote"] for line in stream.getvalue().splitlines()]
    assert told == [f"peer {number}" for number in range(REMEMBERED + 10)]
    assert len(_quoted) <= REMEMBERED
