"""Calls that tell of a job's end: who may be called, how a call is signed, when it is repeated.

Signatures follow Standard Webhooks (https://www.standardwebhooks.com), version v1. Making a call
is `control.hooks`'s.
"""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from activator.core.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Address

RETRY: Final = Backoff(first=5.0, factor=5.0, cap=3600.0)
MOST_TRIES: Final = 10
"""With the back-off some six hours: a receiver may be away for a night's maintenance."""
PREFIX: Final = "whsec_"
LONGEST: Final = 2048
"""Characters of a URL."""


@dataclass(frozen=True, slots=True)
class WebhookPolicy:
    """The section `webhooks`. `allow`: hosts, or `*.` and a domain."""

    allow: tuple[str, ...] = ()
    secret: str = ""
    private_addresses: bool = False


def checked_url(url: str, policy: WebhookPolicy) -> str:
    """The URL itself. Raises ValueError: it may not be called."""
    if len(url) > LONGEST or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"a URL has up to {LONGEST} printable ASCII characters")
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme not in ("https", "http") or not host:
        raise ValueError("only http:// and https:// URLs are called")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL with a name or password in it is not called")
    _ = parts.port  # raises ValueError if it is none
    if not any(_matches(host, pattern) for pattern in policy.allow):
        raise ValueError(f"webhooks.allow does not name {host}")
    literal = address_of(host)
    if literal is not None and not may_call(literal, policy):
        raise ValueError("a private address is not called (webhooks.privateAddresses)")
    return url


def _matches(host: str, pattern: str) -> bool:
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern


def address_of(host: str) -> IPv4Address | IPv6Address | None:
    """None: it is a name."""
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return None


def may_call(address: IPv4Address | IPv6Address, policy: WebhookPolicy) -> bool:
    """Everything that is not on the public internet is private: loopback, link-local, metadata
    services, carriers' networks."""
    if policy.private_addresses:
        return True
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            address = inner
    return address.is_global and not address.is_multicast


def may_call_all(addresses: Sequence[str], policy: WebhookPolicy) -> bool:
    """No address of a name may be private: it would be somebody's trick."""
    found = [address_of(one) for one in addresses]
    return bool(found) and all(one is not None and may_call(one, policy) for one in found)


def signature(secret: str, *, message_id: str, timestamp: int, body: bytes) -> str:
    """For the field `webhook-signature`."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + b64encode(hmac.digest(_key(secret), signed, sha256)).decode()


def _key(secret: str) -> bytes:
    """`whsec_` and base64, as receivers' libraries want it; or the text itself."""
    if secret.startswith(PREFIX):
        try:
            return b64decode(secret.removeprefix(PREFIX), validate=True)
        except NotBase64:
            pass
    return secret.encode()
