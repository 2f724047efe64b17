"""What can go wrong, as a client sees it: one class ⇒ one reason, one status, one hint to retry.

Everything the proxy refuses or fails is one of these. The `reason` is the value of the header
`X-Activator-Reason` and of the metric label; the status and the wording are decided here and
nowhere else. How an error is rendered (problem+json, OpenAI's shape) is the proxy's business.
"""

from __future__ import annotations

from typing import ClassVar, Final

NOT_JSON: Final = (ValueError, RecursionError)
"""What `json` raises for bytes of others: it is none, or is nested deeper than is read."""


class ActivatorError(Exception):
    """An answer made by the proxy, never by the model.

    `detail` is a sentence for the person who reads the body. `retry_after` is in seconds, None
    where retrying cannot help; it is rounded up and bounded to 1..60 when it is sent.
    """

    status: ClassVar[int]
    reason: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, detail: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.retry_after = retry_after


def fault_of_ours(bug: Exception) -> str:
    """A bug, in words for those who have to do with its consequences; what it says of itself is
    for the log alone."""
    return f"the activator met an error of its own ({type(bug).__name__})"


class NoRoute(ActivatorError):
    status, reason, title = 404, "no_route", "No endpoint matches this request"


class NotFound(ActivatorError):
    """A path under `/.activator/` that does not exist."""

    status, reason, title = 404, "no_route", "There is nothing at this path"


class Unauthorized(ActivatorError):
    status, reason, title = 401, "unauthorized", "A valid API key is needed"


class Forbidden(ActivatorError):
    status, reason, title = 403, "forbidden", "This path is not served to clients"


class BadRequest(ActivatorError):
    """A message that could be read in two ways, or in none (RFC 9112); the connection is closed."""

    status, reason, title = 400, "bad_request", "The request is malformed"


class MethodNotAllowed(ActivatorError):
    status, reason, title = 405, "method_not_allowed", "CONNECT and TRACE are not served"


class RequestTimeout(ActivatorError):
    status, reason, title = 408, "request_timeout", "The request did not arrive in time"


class BodyTooLarge(ActivatorError):
    status, reason, title = 413, "body_too_large", "The body is beyond what may be stored"


class HeadersTooLarge(ActivatorError):
    status, reason, title = 431, "headers_too_large", "The request's head is too large"


class Loop(ActivatorError):
    """Says that it is ours: on its way out it passes by us again, as if it were a model's."""

    status, reason, title = 508, "loop", "This request has been here before (Via)"

    def __init__(
        self, detail: str = "", *, retry_after: float | None = None, via: bytes = b""
    ) -> None:
        super().__init__(detail, retry_after=retry_after)
        self.via = via


class KeyReuse(ActivatorError):
    status, reason, title = 422, "key_reuse", "This Idempotency-Key stands for another body"


class JobRunning(ActivatorError):
    status, reason, title = 409, "job_running", "The job has no answer yet"


class JobGone(ActivatorError):
    status, reason, title = 410, "job_gone", "This job, or its answer, is no longer kept"


class QueueFull(ActivatorError):
    status, reason, title = 503, "queue_full", "The line in front of this endpoint is full"


class QueueTimeout(ActivatorError):
    status, reason, title = 504, "queue_timeout", "Waited as long as queue.timeout allows"


class DeadlineUnmeetable(ActivatorError):
    status, reason, title = 503, "deadline", "The deadline of this request cannot be met"


class Paused(ActivatorError):
    status, reason, title = 503, "paused", "An operator has paused this endpoint"


class StartFailed(ActivatorError):
    status, reason, title = 503, "start_failed", "The endpoint could not be started"


class Starting(ActivatorError):
    """Only browsers are told so, on a page that waits with them; every other client waits."""

    status, reason, title = 503, "starting", "The endpoint is being started"


class NoCapacity(ActivatorError):
    status, reason, title = 503, "no_capacity", "There was no capacity to start a replica"


class StoreUnavailable(ActivatorError):
    status, reason, title = 503, "store_unavailable", "The store is unavailable or full"


class UpstreamUnreachable(ActivatorError):
    status, reason, title = 502, "upstream_unreachable", "No replica gave a valid answer"


class UpstreamTimeout(ActivatorError):
    status, reason, title = 504, "upstream_timeout", "The replica did not begin to answer in time"


class Cancelled(ActivatorError):
    status, reason, title = 503, "cancelled", "An operator has cancelled this request"


class ShuttingDown(ActivatorError):
    status, reason, title = 503, "shutting_down", "This activator is shutting down"

    def __init__(self, detail: str = "", *, retry_after: float | None = 1.0) -> None:
        super().__init__(detail, retry_after=retry_after)


class ConfigError(Exception):
    """A configuration that cannot be used: every problem of it, a line each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class StartError(Exception):
    """The activator cannot start; the message is for the person who started it."""
