"""The admin API's description (OpenAPI 3.1): one table of calls, the shapes of what they send.

The shapes are read off the dataclasses that are sent, so that they cannot say something else. A
test holds the table against the routes of `api`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

import activator
from activator.admin.costs import KEY_FIGURES
from activator.admin.guard import COOKIE, OPEN
from activator.admin.ports import ConfigStatus
from activator.core.held import HeldRequests
from activator.core.status import EndpointHistory, EndpointStatus
from activator.core.usage import FIGURES
from activator.telemetry.events import Event

_REF = "#/components/schemas/"

Json = dict[str, Any]


def _object(required: tuple[str, ...] = (), **properties: Json) -> Json:
    schema: Json = {"type": "object", "properties": properties, "additionalProperties": False}
    return schema | {"required": list(required)} if required else schema


def _reference(name: str) -> Json:
    return {"$ref": _REF + name}


def _list(name: str) -> Json:
    return {"type": "array", "items": _reference(name)}


@dataclass(frozen=True, slots=True)
class Call:
    """What the description says of one route."""

    summary: str
    answer: Json = field(default_factory=_object)
    """JSON Schema of the answer."""
    status: int = 200
    media_type: str = "application/json"
    problems: tuple[int, ...] = ()
    since: bool = False
    """Takes `?since=`."""
    query: tuple[str, ...] = ()
    """Other parameters of the query."""
    body: Json | None = None
    """JSON Schema of the request's body."""


_TEXT: Json = {"type": "string"}
_NO_TEXT: Json = {"type": ["string", "null"]}
_CHANGE: Json = {
    "answer": _reference("EndpointStatus"),
    "problems": (400, 403, 404, 409, 413, 415, 503),
}
_FORCE = _object(force={"type": "boolean", "default": False})
_LOGIN = _object(("token",), token=_TEXT)
_ENDPOINTS = _object(endpoints=_list("EndpointStatus"), configuration=_reference("ConfigStatus"))
_DAYS = _object(endpoints={"type": "object", "additionalProperties": _reference("Day")})
_CONFIG = _object(config={"type": "object"}, status=_reference("ConfigStatus"))
_COST_DAY = _object(
    ("endpoint", "day"),
    endpoint=_TEXT,
    day={"type": "string", "format": "date"},
    **{name: {"type": "number"} for name in FIGURES},
)
_COSTS = _object(
    (),
    **{name: {"type": "string", "format": "date"} for name in ("from", "to", "today")},
    days={"type": "array", "items": {"anyOf": [_COST_DAY, _reference("KeyCost")]}},
)
_ONE = "/api/endpoints/{name}"
_JOB = "/api/jobs/{id}"

CALLS: dict[tuple[str, str], Call] = {
    ("GET", "/livez"): Call("Is the process alive?", _TEXT, media_type="text/plain"),
    ("GET", "/readyz"): Call(
        "May clients be sent here?", _TEXT, media_type="text/plain", problems=(503,)
    ),
    ("GET", "/metrics"): Call(
        "For Prometheus; OpenMetrics if Accept lists it", _TEXT, media_type="text/plain"
    ),
    ("GET", "/openapi.json"): Call("This document", {"type": "object"}),
    ("POST", "/api/login"): Call(
        "Trade the token for a session cookie",
        status=204,
        body=_LOGIN,
        problems=(400, 401, 403, 409, 413, 415),
    ),
    ("GET", "/api/endpoints"): Call("All endpoints", _ENDPOINTS),
    ("GET", _ONE): Call("One endpoint", _reference("EndpointStatus"), problems=(404,)),
    ("GET", f"{_ONE}/history"): Call(
        "What it did in the last day, and its last cold starts, as this activator saw them",
        _reference("EndpointHistory"),
        problems=(404,),
    ),
    ("GET", f"{_ONE}/held"): Call(
        "Requests whose clients wait at this activator, who has waited longest first; `limit` of "
        "them, from number `first` (0)",
        _reference("HeldRequests"),
        problems=(400, 404),
        query=("first", "limit"),
    ),
    ("DELETE", f"{_ONE}/held/{{id}}"): Call(
        "Tell the client of this held request (its X-Request-Id) that an operator cancelled it",
        _object(("cancelled",), cancelled={"type": "integer"}),
        problems=(403, 404, 415),
    ),
    ("GET", "/api/history"): Call("The last day of every endpoint", _DAYS),
    ("POST", f"{_ONE}/activate"): Call("Start it, demand or none", body=_object(), **_CHANGE),
    ("POST", f"{_ONE}/deactivate"): Call(
        "Stop it; while there is demand only by force", body=_FORCE, **_CHANGE
    ),
    ("POST", f"{_ONE}/pause"): Call("Hold what comes, do not activate", body=_object(), **_CHANGE),
    ("POST", f"{_ONE}/resume"): Call("End the pause", body=_object(), **_CHANGE),
    ("GET", "/api/costs"): Call(
        "What each endpoint, or `endpoint`, used, cost and saved on each day (UTC) `from` … `to`, "
        "by default of this month; divided among API keys with `by=key`, each KeyCost then a day; "
        "with Accept: text/csv as CSV",
        _COSTS,
        problems=(400, 503),
        query=("endpoint", "from", "to", "by"),
    ),
    ("GET", "/api/events"): Call(
        "Follow what happens, endlessly; with Accept: application/json the events that are still "
        'kept, as {"events": […]}',
        _reference("Event"),
        media_type="text/event-stream",
        problems=(400, 503),
        since=True,
    ),
    ("GET", "/api/jobs"): Call(
        "Jobs, the latest first; `endpoint`, `state` (several) and `limit` choose",
        _object(jobs=_list("Job")),
        problems=(400, 404, 503),
        query=("endpoint", "state", "limit"),
    ),
    ("GET", _JOB): Call("One job", _reference("Job"), problems=(404, 503)),
    ("DELETE", _JOB): Call(
        "Cancel it: queued, it never runs; running, its model is left within a second",
        _reference("Job"),
        problems=(403, 404, 415, 503),
    ),
    ("POST", f"{_JOB}/retry"): Call(
        "Try a failed job again, with all its attempts",
        _reference("Job"),
        body=_object(),
        problems=(403, 404, 413, 415, 503),
    ),
    ("GET", "/api/config"): Call("The configuration in force, secrets masked", _CONFIG),
}


def describe() -> Json:
    """The whole document."""
    paths: dict[str, Json] = {}
    for (method, path), call in CALLS.items():
        paths.setdefault(path, {})[method.lower()] = _operation(call, path)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "activator admin API",
            "version": activator.__version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
            },
        },
        "security": [{"token": []}, {"session": []}],
    }


def _operation(call: Call, path: str) -> Json:
    answer: Json = {"description": "done"}
    if call.status != 204:
        answer["content"] = {call.media_type: {"schema": call.answer}}
    refused: Json = {
        "description": "refused",
        "content": {"application/problem+json": {"schema": _reference("Problem")}},
    }
    statuses = {*call.problems, 421} | (set() if path in OPEN else {401})
    operation: Json = {
        "summary": call.summary,
        "responses": {str(call.status): answer} | {str(one): refused for one in sorted(statuses)},
    }
    parameters = []
    for name in ("name", "id"):
        if f"{{{name}}}" in path:
            parameters.append({"name": name, "in": "path", "required": True, "schema": _TEXT})
    for name in call.query:
        parameters.append({"name": name, "in": "query", "schema": _TEXT})
    if call.since:
        number = {"type": "integer", "minimum": 0}
        parameters.append({"name": "since", "in": "query", "schema": number})
        parameters.append({"name": "Last-Event-ID", "in": "header", "schema": number})
    if parameters:
        operation["parameters"] = parameters
    if call.body is not None:
        operation["requestBody"] = {"content": {"application/json": {"schema": call.body}}}
    if path in OPEN:
        operation["security"] = []
    return operation


def _schemas() -> Json:
    number = {"type": "integer"}
    schemas: Json = {
        "Problem": _object(
            ("type", "title", "status", "detail"),
            type=_TEXT,
            title=_TEXT,
            status=number,
            detail=_TEXT,
        )
    }
    schemas["Job"] = {
        "type": "object",
        "description": "As clients see it; moments are ISO 8601",
        "properties": {
            **{name: _TEXT for name in ("id", "endpoint", "state", "created", "expires")},
            **{name: _NO_TEXT for name in ("began", "ended", "reason", "detail")},
            "attempt": number,
            "urgency": number,
            "status": {"type": ["integer", "null"]},
            "place": {"type": ["integer", "null"]},
            "eta": {"type": ["number", "null"]},
            "links": {"type": "object"},
        },
    }
    schemas["KeyCost"] = _object(
        ("endpoint", "day", "key"),
        endpoint=_TEXT,
        day={"type": "string", "format": "date"},
        key=_TEXT,
        **{name: {"type": "number"} for name in KEY_FIGURES},
    )
    for shape in (EndpointStatus, EndpointHistory, HeldRequests, ConfigStatus, Event):
        schema = TypeAdapter(shape).json_schema(ref_template=_REF + "{model}")
        schemas |= schema.pop("$defs", {})
        schemas[shape.__name__] = schema
    return schemas
