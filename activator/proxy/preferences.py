"""How a request wants to wait: `Prefer` (RFC 7240) and `Idempotency-Key`, read from its head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from activator.core.idempotency import scope
from activator.errors import BadRequest

if TYPE_CHECKING:
    from activator.wire.heads import RequestHead

LONGEST_KEY: Final = 255
LONGEST_WAIT: Final = 86400
"""Seconds; more is as good as this."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A job is wanted."""

    wait: float | None
    """Seconds until the client takes a 202 instead; 0: at once, None: it waits for the answer."""
    applied: bytes
    """For `Preference-Applied`."""
    key: bytes
    """Of idempotency; empty: none."""


def wanted(head: RequestHead) -> Wanted | None:
    """None: an ordinary request. Raises BadRequest for a key that cannot be one.

    A preference that is not understood is no preference (RFC 7240 §2). `respond-async` with
    `wait` is a wait: both come to a 202.
    """
    key = head.get(b"idempotency-key")
    if key is not None and not 0 < len(key) <= LONGEST_KEY:
        raise BadRequest(f"Idempotency-Key: 1 to {LONGEST_KEY} characters")
    wait: float | None = None
    applied = b""
    for preference in b",".join(head.get_all(b"prefer")).split(b","):
        name, _, value = preference.partition(b";")[0].strip(b" \t").partition(b"=")
        word, number = name.strip(b" \t").lower(), value.strip(b' \t"')
        if word == b"wait" and number.isdigit() and not applied.startswith(b"wait"):
            wait, applied = min(float(number), LONGEST_WAIT), b"wait=" + number
        elif word == b"respond-async" and not applied:
            wait, applied = 0.0, b"respond-async"
    if wait is None and key is None:
        return None
    return Wanted(wait, applied, key or b"")


def key_of(head: RequestHead, asked: Wanted, *, owner: str, target: bytes) -> str:
    """What the store knows the key by; empty: there is none."""
    if not asked.key:
        return ""
    caller = owner.encode() if owner else b"\0" + (head.get(b"authorization") or b"")
    return scope(asked.key, caller=caller, method=head.method, target=target)
