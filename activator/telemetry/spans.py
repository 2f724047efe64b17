"""What the proxy and the workers tell of a request while it is traced: the protocol, and nothing
of who records it.

Where tracing is off there is no `Tracer`; where a request is not sampled there is no `Trace`.
Either costs a comparison with None.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from activator.core.endpoint import Replica
    from activator.core.tokens import Tokens

_TRACEPARENT: Final = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?"
)


def valid_traceparent(given: bytes | None) -> bytes | None:
    """W3C Trace Context: what is not valid is as good as absent."""
    return given if given is not None and _TRACEPARENT.fullmatch(given) else None


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, as it came. Texts of the message are bytes."""

    method: bytes
    target: bytes
    host: bytes
    minor: int
    tls: bool
    remote: str
    """The client's address."""
    parent: bytes | None
    """Its `traceparent`, as it came."""
    request_id: bytes
    arrived: float
    """When its head came, monotonic seconds."""


@dataclass(frozen=True, slots=True)
class JobAttempt:
    """An attempt at a recorded request."""

    id: str
    endpoint: str
    attempt: int
    asked_by: bytes | None
    """The `traceparent` of the request that made it."""
    method: bytes
    target: bytes
    request_id: bytes
    began: float
    """When its turn was waited for, monotonic seconds."""


class Trace(Protocol):
    """One request, or one attempt at a job. `ended` comes last, and once."""

    @property
    def traceparent(self) -> bytes:
        """Of whoever follows from it."""

    def routed(self, endpoint: str, *, model: str | None = None, key: str = "") -> None:
        """It is known now where it belongs. `key`: the API key's name."""

    def held(self, *, waited: float, woken_after: float, is_cold: bool) -> None:
        """Until now it has spent so many seconds in line, in all; of these so many before a
        replica was ready. As often as it has waited."""

    def forward(self, replica: Replica) -> bytes:
        """It goes there now; returns the `traceparent` that the replica gets."""

    def answered(self, status: int) -> None:
        """The head of the replica's answer has come."""

    def failed(self, detail: str) -> None:
        """The replica has not answered, or its answer broke off."""

    def used(self, tokens: Tokens) -> None:
        """By the replica's answer."""

    def ended(self, *, status: int, reason: str, received: int = 0, sent: int = 0) -> None:
        """`reason` as in the metrics; bytes of the bodies."""


class Tracer(Protocol):
    def wants(self, parent: bytes | None) -> bool:
        """Whether a request with this `traceparent` is sampled, and what follows from it; to be
        asked once, before its facts are collected."""

    def request(self, asked: Asked) -> Trace:
        """One that it `wants`."""

    def job(self, attempt: JobAttempt) -> Trace | None:
        """It belongs to a trace of its own, which names the one of the request. None: it is not
        sampled."""
