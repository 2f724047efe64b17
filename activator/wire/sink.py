"""Whom a connection to a replica tells what becomes of a request, and what it says of a loss.

Protocols and values only; `client` is what calls them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from activator.wire.heads import Field, ResponseHead


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection ended, or spoke no HTTP, before the answer was complete."""

    detail: str
    invalid: bool = False
    """It has begun to answer, but not with valid HTTP/1.1."""
    reset: bool = False
    """Its system broke the connection off, which an orderly ending does not do."""


class Moving(Protocol):
    moved_at: float
    """When it has shown progress last."""


class Sink(Protocol):
    """Whoever waits for one answer. After `ended` or `lost` nothing is called any more."""

    def interim(self, head: ResponseHead) -> None:
        """A 1xx that is not 101."""

    def answered(self, head: ResponseHead, *, followed: bool) -> None:
        """`followed`: `data` or `ended` is called as soon as this returns."""

    def upgraded(self, head: ResponseHead, rest: bytes) -> None:
        """101 to a request that asked for it; `rest` came behind it and belongs to the tunnel."""

    def data(self, data: bytes) -> None: ...

    def ended(self, trailers: list[Field]) -> None: ...

    takes_whole: bool
    """It would rather have `whole` than be told step by step, if all of an answer comes at once."""

    def whole(self, head: ResponseHead, body: bytes) -> None:
        """`answered`, `data` and `ended` in one."""

    def lost(self, lost: Lost) -> None: ...

    def upstream_writable(self, *, ok: bool) -> None: ...

    def on_deadline(self, now: float) -> None: ...


class Quick(Protocol):
    """Whoever has sent a whole request and wants its answer whole, or leaves it to another."""

    def whole(self, head: ResponseHead, body: bytes) -> None:
        """It came at once, after nothing else. Nothing is called any more."""

    def in_steps(self) -> Sink:
        """Anything else happens: who hears of it, and of all that follows."""
