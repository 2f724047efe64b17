"""Answers of our own, to the byte."""

from __future__ import annotations

import json

import pytest

from activator.errors import (
    ActivatorError,
    MethodNotAllowed,
    NoRoute,
    QueueFull,
    StartFailed,
    Unauthorized,
)
from activator.proxy.replies import error_reply, plain_reply, preflight_reply
from tests.unit.proxy.support import asked


def fields(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").removesuffix("\r\n").split("\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (n.partition(":") for n in lines)}


def every_error() -> list[type[ActivatorError]]:
    found, ahead = [], ActivatorError.__subclasses__()
    while ahead:
        found.append(kind := ahead.pop())
        ahead += kind.__subclasses__()
    return sorted(found, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", every_error())
def test_every_error_has_a_reason_a_status_and_words(kind: type[ActivatorError]) -> None:
    head, body = error_reply(kind("because of this", retry_after=3), request_id=b"id-1")

    assert head.startswith(b"HTTP/1.1 %d " % kind.status)
    assert fields(head)["x-activator-reason"] == kind.reason
    assert fields(head)["content-length"] == str(len(body))
    assert json.loads(body) == {
        "type": "about:blank",
        "title": kind.title,
        "status": kind.status,
        "detail": "because of this",
        "reason": kind.reason,
        "request_id": "id-1",
        "retry_after": 3,
    }


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.01, "2"), (60.0, "60"), (9e9, "60")],
)
def test_retry_after_is_an_integer_from_1_to_60(seconds: float, said: str) -> None:
    head, body = error_reply(QueueFull(retry_after=seconds), request_id=b"i")

    assert fields(head)["retry-after"] == said
    assert json.loads(body)["retry_after"] == int(said)


def test_there_is_no_retry_after_where_retrying_cannot_help() -> None:
    head, body = error_reply(NoRoute(), request_id=b"i")

    assert "retry-after" not in fields(head)
    assert "retry_after" not in json.loads(body)


def test_a_401_asks_for_a_key_and_a_405_names_the_methods() -> None:
    unauthorized, _ = error_reply(Unauthorized(), request_id=b"i")
    not_allowed, _ = error_reply(MethodNotAllowed(), request_id=b"i")

    assert fields(unauthorized)["www-authenticate"] == 'Bearer realm="activator"'
    assert "POST" in fields(not_allowed)["allow"].split(", ")


def test_whatever_a_cause_says_stays_inside_the_body() -> None:
    head, body = error_reply(StartFailed('exit 1: "\u20ac"\r\nX-Evil: 1'), request_id=b"i")

    assert b"X-Evil" not in head
    assert json.loads(body)["detail"] == 'exit 1: "\u20ac"\r\nX-Evil: 1'


def test_a_plain_answer_has_no_body() -> None:
    assert fields(plain_reply(200, request_id=b"i"))["content-length"] == "0"
    assert "content-length" not in fields(plain_reply(204, request_id=b"i"))
    assert plain_reply(299, request_id=b"i").startswith(b"HTTP/1.1 299 \r\n")


def test_a_preflight_is_granted_what_it_asks_for_and_no_credentials() -> None:
    head = asked(
        "OPTIONS / HTTP/1.1",
        "Origin: https://app.example",
        "Access-Control-Request-Method: PUT",
        "Access-Control-Request-Headers: x-a, x-b",
    )

    said = fields(preflight_reply(head, request_id=b"i"))

    assert said["access-control-allow-origin"] == "https://app.example"
    assert said["access-control-allow-methods"] == "PUT"
    assert said["access-control-allow-headers"] == "x-a, x-b"
    assert said["vary"] == "Origin"
    assert "access-control-allow-credentials" not in said


def test_a_preflight_that_asks_for_no_fields_is_granted_none() -> None:
    head = asked("OPTIONS / HTTP/1.1", "Origin: null", "Access-Control-Request-Method: GET")

    assert "access-control-allow-headers" not in fields(preflight_reply(head, request_id=b"i"))
