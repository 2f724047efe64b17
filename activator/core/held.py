"""Requests whose clients wait, as operators see them: what is worth showing, and nothing secret."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SHOWN: Final = 200
"""Characters of a path that are shown."""


@dataclass(frozen=True, slots=True)
class HeldRequest:
    """One request whose client waits on its socket."""

    id: str
    """Its `X-Request-Id`, which is the client's if it has sent one."""
    place: int | None
    """In line at the activator that holds it, 1 is next; None: its body still arrives."""
    seconds: float
    """Since it came."""
    key: str
    """The name of the API key it came with; empty: without."""
    method: str
    path: str
    """Without query, which is where secrets are; not more than is worth reading."""
    urgency: int
    held_bytes: int
    """Of its body, at the activator or in the store."""
    job: str = ""
    """The id of the job that it waits for; empty: it waits for itself."""


@dataclass(frozen=True, slots=True)
class HeldRequests:
    """Some of those that wait for an endpoint, who has waited longest first."""

    name: str
    requests: tuple[HeldRequest, ...]
    held: int
    """All of this activator."""
    held_elsewhere: int
    """At other activators, which list them."""


def shown_path(target: bytes) -> str:
    """Of a request's target: without query and, of a proxy's request, without the authority; the
    beginning of one that is long."""
    path = target.partition(b"?")[0]
    if not path.startswith(b"/") and b"://" in path:
        path = b"/" + path.partition(b"://")[2].partition(b"/")[2]
    text = path.decode("latin-1")
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
