"""What a call to the API can come to, one class a remedy; statuses are translated here.

The text of an error never holds a credential: it is the server's own message, or what the
connection came to.
"""

from __future__ import annotations

import json
from typing import Any, Final

LONGEST: Final = 500
"""Characters of a server's message that are kept."""


class KubeError(Exception):
    """A call was not answered as it should be."""


class Unreachable(KubeError):
    """No answer, or one that asks for patience: the same call may succeed later."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds, where the server named them."""


class Forbidden(KubeError):
    """What we are does not suffice for this: somebody has to mend that."""


class Unauthorized(Forbidden):
    """The credentials are not accepted: newer ones may be."""


class Missing(KubeError):
    """There is no such object, or no such kind."""


class Outdated(KubeError):
    """The object is not what the call took it for (or the call makes no sense): look again."""


class Expired(KubeError):
    """This far back the server remembers nothing: list again."""


class Rejected(KubeError):
    """The server will never take this call."""


def error_of(status: int, body: bytes, *, what: str, retry_after: str | None = None) -> KubeError:
    """The answer with this status, as the error it is. `what`: the call, for people."""
    return error_of_status(status, _decoded(body), what=what, retry_after=retry_after)


def error_of_status(
    code: int, status: dict[str, Any], *, what: str, retry_after: str | None = None
) -> KubeError:
    """`status`: a Status object (`meta/v1`), as a body or as an event of a watch."""
    told = str(status.get("message") or f"HTTP {code}")[:LONGEST]
    message = f"{what}: {told}"
    match code:
        case 401:
            return Unauthorized(message)
        case 403:
            return Forbidden(message)
        case 404 | 405:
            return Missing(message)
        case 409 | 422:
            return Outdated(message)
        case 410:
            return Expired(message)
        case 408 | 429:
            return Unreachable(message, retry_after=_seconds(retry_after, status))
        case _ if code >= 500:
            return Unreachable(message, retry_after=_seconds(retry_after, status))
        case _:
            return Rejected(message)


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        status = json.loads(body)
    except ValueError:
        return {"message": body.decode("utf-8", "replace").strip()}
    return status if isinstance(status, dict) else {}


def _seconds(header: str | None, status: dict[str, Any]) -> float | None:
    """Of Retry-After, or of the Status's details; the header's other form (a date) is not used."""
    details = status.get("details")
    told = header or (details.get("retryAfterSeconds") if isinstance(details, dict) else None)
    try:
        return max(0.0, float(told)) if told is not None else None
    except ValueError:
        return None
