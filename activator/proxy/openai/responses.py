"""Responses that are made in the background: how a job looks as an object of OpenAI's API.

Until the model has answered, and where it has not, the object is ours; otherwise it is the model's
with two values exchanged: its id, which is the job's here, and `background`, which the model was
not told. Nothing of it is written anew.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from activator.core.job_ids import endpoint_of
from activator.core.jobs import JobState
from activator.errors import NOT_JSON, BadRequest
from activator.proxy.edits import Edit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from activator.core.jobs import Job
    from activator.proxy.openai.toplevel import Value

RESPONSES: Final = "/v1/responses"
PREFIX: Final = "resp_"
"""Of an id; the job's follows."""
TOLD: Final = {"id": 1 << 10, "background": 16}
"""What of a model's response is exchanged."""

_STATUS: Final = {
    JobState.QUEUED: "queued",
    JobState.ACTIVATING: "queued",
    JobState.RUNNING: "in_progress",
    JobState.CANCELLED: "cancelled",
}


@dataclass(frozen=True, slots=True)
class Background:
    """What of a request's body makes it one of these."""

    edit: Edit
    """The model is to answer at once."""
    is_stream: bool
    shown: bytes
    """What its response repeats of it while the model has not answered, for the record."""


def background_of(found: Mapping[str, Value]) -> Background | None:
    """`found` in the body; None: its client waits for the answer. Raises BadRequest."""
    value = found.get("background")
    if value is None or value.raw != b"true" or value.is_text:
        return None
    if _is(found.get("store"), b"false"):
        raise BadRequest("`background` needs `store`: the response is kept until it is fetched")
    is_stream = _is(found.get("stream"), b"true")
    said = {
        "model": _json(found.get("model")),
        "metadata": _json(found.get("metadata")) or {},
        "stream": is_stream,
    }
    return Background(Edit(value.start, value.end, b"false"), is_stream, json.dumps(said).encode())


def _is(value: Value | None, raw: bytes) -> bool:
    return value is not None and value.raw == raw


def _json(value: Value | None) -> object:
    """None for what is too long to be kept."""
    if value is None or not value.whole:
        return None
    try:
        return json.loads(value.raw)
    except NOT_JSON:
        return None


def response_id(job_id: str) -> str:
    return PREFIX + job_id


def job_of(name: str) -> str | None:
    """None: it is not ours, but may be a model's."""
    job_id = name.removeprefix(PREFIX)
    ours = name.startswith(PREFIX) and endpoint_of(job_id) is not None
    return job_id if ours else None


def is_stream(shown: bytes) -> bool:
    return bool(json.loads(shown)["stream"])


def described(
    job: Job, shown: bytes, *, status: str | None = None, error: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The object as long as it is ours. `shown`: of the record. `status`: another one than the
    job's; `error`: why there is no answer, if the job does not say it."""
    asked = json.loads(shown)
    status = status or ("failed" if error is not None else _STATUS.get(job.state, "failed"))
    if status == "failed" and error is None:
        error = {"code": job.reason or "server_error", "message": job.detail or "It has failed"}
    return {
        "id": response_id(job.id),
        "object": "response",
        "created_at": int(job.created),
        "status": status,
        "background": True,
        "error": error,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "metadata": asked["metadata"],
        "model": asked["model"],
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "store": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": None,
    }


def exchanged(found: Mapping[str, Value], job_id: str, *, at: int = 0) -> list[Edit]:
    """In a model's response, which begins at this offset, where TOLD was `found`."""
    edits: list[Edit] = []
    for name, new in (("id", json.dumps(response_id(job_id)).encode()), ("background", b"true")):
        value = found.get(name)
        if value is not None and value.whole:
            edits.append(Edit(at + value.start, at + value.end, new))
    return edits
