"""How jobs look as Responses."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from activator.core.job_ids import new_id
from activator.core.jobs import Job, JobState
from activator.errors import BadRequest
from activator.proxy.edits import Editor
from activator.proxy.openai.responses import (
    Background,
    background_of,
    described,
    exchanged,
    is_stream,
    job_of,
    response_id,
)
from activator.proxy.openai.toplevel import TopLevel, Value

WANTED = dict.fromkeys(("model", "background", "store", "stream", "metadata", "id"), 100)
JOB = Job(new_id("m", owner="", random=bytes(16)), "m", created=12.5, expires=99.0)
SHOWN = json.dumps({"model": "llama", "metadata": {"a": "b"}, "stream": False}).encode()


def found(body: bytes) -> dict[str, Value]:
    scanner = TopLevel(WANTED)
    scanner.feed(body)
    scanner.step()
    return dict(scanner.found)


def background(**said: object) -> Background | None:
    return background_of(found(json.dumps(said).encode()))


def test_only_true_is_the_background() -> None:
    for said in (False, None, "true", 1):
        assert background(background=said) is None
    assert background(model="m") is None


def test_the_model_is_asked_for_the_same_in_the_foreground() -> None:
    body = json.dumps({"input": "x", "background": True, "model": "llama", "stream": True}).encode()
    told = background_of(found(body))

    assert told is not None
    assert Editor([told.edit]).piece(body) == body.replace(
        b'"background": true', b'"background": false'
    )
    assert told.is_stream
    assert is_stream(told.shown)


def test_metadata_that_is_nested_too_deep_to_be_read_is_not_shown() -> None:
    body = b'{"background": true, "metadata": {"a": ' + b"[" * 1500 + b"]" * 1500 + b"}}"
    scanner = TopLevel(dict.fromkeys(WANTED, 16 << 10))
    scanner.feed(body)
    while scanner.pending:
        scanner.step()
    told = background_of(dict(scanner.found))

    assert told is not None
    assert json.loads(told.shown)["metadata"] == {}


def test_what_is_not_to_be_stored_cannot_be_fetched_later() -> None:
    with pytest.raises(BadRequest, match="store"):
        background(background=True, store=False)
    assert background(background=True, store=True) is not None


def test_ids_lead_to_the_job_and_back() -> None:
    assert job_of(response_id(JOB.id)) == JOB.id
    for other in ("resp_0123456789abcdef", JOB.id, "resp_", "resp_m." + "A" * 27):
        assert job_of(other) is None


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (JobState.QUEUED, "queued"),
        (JobState.ACTIVATING, "queued"),
        (JobState.RUNNING, "in_progress"),
        (JobState.CANCELLED, "cancelled"),
        (JobState.FAILED, "failed"),
        (JobState.EXPIRED, "failed"),
    ],
)
def test_the_status_follows_from_the_jobs(state: JobState, status: str) -> None:
    said = described(replace(JOB, state=state, reason="start_failed", detail="no image"), SHOWN)

    assert said["status"] == status
    assert (said["id"], said["model"], said["metadata"]) == ("resp_" + JOB.id, "llama", {"a": "b"})
    assert said["created_at"] == 12
    error = {"code": "start_failed", "message": "no image"} if status == "failed" else None
    assert said["error"] == error


def test_a_models_response_keeps_everything_but_its_id_and_background() -> None:
    theirs = b'{ "output": [{"id": "x"}], "id" : "resp_1","background":false, "n": 1e2}'
    scanner = TopLevel({"id": 100, "background": 10})
    scanner.feed(theirs)
    scanner.step()

    ours = Editor(exchanged(scanner.found, JOB.id)).piece(theirs)

    id_ = response_id(JOB.id).encode()
    assert ours == b'{ "output": [{"id": "x"}], "id" : "%b","background":true, "n": 1e2}' % id_
