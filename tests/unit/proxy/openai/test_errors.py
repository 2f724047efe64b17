"""Errors as clients of OpenAI's API read them, to the byte where SDKs look at bytes."""

from __future__ import annotations

import json

import pytest

from activator.core.endpoint import Dialect
from activator.errors import (
    ActivatorError,
    NoRoute,
    QueueFull,
    QueueTimeout,
    StartFailed,
    Unauthorized,
    UpstreamTimeout,
)
from activator.proxy.replies import error_reply
from tests.unit.proxy.test_replies import every_error, fields


@pytest.mark.parametrize("kind", every_error())
def test_every_error_has_openais_form(kind: type[ActivatorError]) -> None:
    head, body = error_reply(kind("because of this"), request_id=b"id-1", dialect=Dialect.OPENAI)

    said = json.loads(body)
    assert said.keys() == {"error"}
    assert said["error"].keys() == {"message", "type", "param", "code", "request_id"}
    assert said["error"]["message"] == "because of this"
    assert said["error"]["type"] == (
        "server_error" if kind.status >= 500 else "invalid_request_error"
    )
    assert said["error"]["request_id"] == "id-1"
    assert fields(head)["content-type"] == "application/json"
    assert fields(head)["x-activator-reason"] == kind.reason
    assert fields(head)["x-request-id"] == "id-1"


@pytest.mark.parametrize(
    ("error", "code", "param"),
    [
        (NoRoute(), "model_not_found", "model"),
        (Unauthorized(), "invalid_api_key", None),
        (QueueTimeout(), "queue_timeout", None),
        (StartFailed(), "start_failed", None),
    ],
)
def test_codes_are_openais_where_it_has_one(
    error: ActivatorError, code: str, param: str | None
) -> None:
    _, body = error_reply(error, request_id=b"i", dialect=Dialect.OPENAI)

    assert (json.loads(body)["error"]["code"], json.loads(body)["error"]["param"]) == (code, param)


@pytest.mark.parametrize(
    ("seconds", "after", "milliseconds"),
    [(0.0, "1", "1"), (2.34, "3", "2340"), (60.0, "60", "60000"), (900.0, "60", "60000")],
)
def test_sdks_are_told_when_to_come_again(seconds: float, after: str, milliseconds: str) -> None:
    error = QueueFull(retry_after=seconds)
    said = fields(error_reply(error, request_id=b"i", dialect=Dialect.OPENAI)[0])

    assert (said["retry-after"], said["retry-after-ms"]) == (after, milliseconds)
    assert said["x-should-retry"] == "true"


def test_sdks_are_told_not_to_repeat_what_cannot_help() -> None:
    # by its status alone an SDK would send a generation that was too slow twice more
    said = fields(error_reply(UpstreamTimeout(), request_id=b"i", dialect=Dialect.OPENAI)[0])

    assert said["x-should-retry"] == "false"
    assert "retry-after" not in said
    assert "retry-after-ms" not in said
