"""Errors as OpenAI's API has them, and what its SDKs read to know whether to try again.

Decides `type`, `param` and `code` of each error of ours; which error it is, is said in `errors`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, cast

from activator.errors import NOT_JSON, NoRoute, Unauthorized

if TYPE_CHECKING:
    from activator.errors import ActivatorError

LONGEST_ERROR: Final = 64 << 10
"""Bytes of a replica's error that are read to be told anew."""
MOST_MS: Final = 60_000
"""The SDKs take a longer `retry-after-ms` for none, as with Retry-After."""


def openai_error(error: ActivatorError, *, request_id: bytes) -> bytes:
    """The whole body. `code` is the reason, save where OpenAI has a word that clients look for."""
    code, param = error.reason, None
    if isinstance(error, NoRoute):
        code, param = "model_not_found", "model"
    elif isinstance(error, Unauthorized):
        code = "invalid_api_key"
    said = {
        "message": error.detail,
        "type": "server_error" if error.status >= 500 else "invalid_request_error",
        "param": param,
        "code": code,
        "request_id": request_id.decode(),
    }
    return json.dumps({"error": said}).encode() + b"\n"


def sdk_fields(error: ActivatorError) -> list[str]:
    """What openai-python and openai-node obey before any rule of their own by status."""
    if error.retry_after is None:
        return ["x-should-retry: false"]
    milliseconds = max(1, min(MOST_MS, round(error.retry_after * 1000)))
    return ["x-should-retry: true", f"retry-after-ms: {milliseconds}"]


def replica_error(said: bytes, *, status: int) -> dict[str, Any]:
    """The error of a replica's answer, as it gave it where it has OpenAI's form."""
    try:
        fields: object = json.loads(said)
    except NOT_JSON:
        fields = None
    error: dict[str, Any] = {}
    if isinstance(fields, dict):
        given = cast("dict[str, Any]", fields)
        inner = given.get("error")
        error = cast("dict[str, Any]", inner) if isinstance(inner, dict) else given
    text = said.decode("utf-8", "replace").strip() or f"The replica answered {status}"
    message = error.get("message")
    return {
        **error,
        "message": message if isinstance(message, str) else text[:2000],
        "type": error.get("type") or ("server_error" if status >= 500 else "invalid_request_error"),
        "param": error.get("param"),
        "code": error.get("code") or status,
    }
