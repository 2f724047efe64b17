"""How a host and a path are written once, so that comparing them is comparing text.

Decides what is the same host, what is the same path, and on which paths two readers could
disagree; those are refused, because whoever routes and whoever serves must see one thing. Where
a request goes is `routing`'s business; how a refusal is answered is the proxy's (400).
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address
from urllib.parse import quote, unquote_to_bytes

_HOST_BYTES = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"
"""RFC 3986 reg-name, less what no name in DNS has and readers disagree on: escapes, sub-delims."""
_LONGEST_HOST = 260
"""Bytes: 253 of a name in DNS (RFC 1035 §2.3.4), the root's dot, a colon and a port."""
_HEX = frozenset("0123456789abcdefABCDEF")
_REFUSED_ESCAPES = ("%2f", "%5c", "%00")
_PCHAR = "/:@!$&'()*+,;=~"
"""What needs no escape in a path besides letters, digits and `-._` (RFC 3986 §3.3)."""


def normal_host(raw: bytes) -> str:
    """The value of Host or the authority of an absolute-form target, for comparison.

    Lower case, without port and without the root's dot; an IPv6 literal is compressed and keeps
    its brackets; an empty Host is "" (RFC 9112 §3.2 allows it). Raises ValueError for what is no
    host: user information, escapes, spaces, empty labels, a port that is no number.
    """
    if len(raw) > _LONGEST_HOST:
        raise ValueError("the host is longer than a name can be")
    return _normal_host(raw)


@lru_cache(maxsize=1024)  # every request names one of a few hosts; the size above bounds it
def _normal_host(raw: bytes) -> str:
    if raw.startswith(b"["):
        return _ipv6_literal(raw)
    name, colon, port = raw.partition(b":")
    if colon and port:
        _check_port(port)
    if name.translate(None, _HOST_BYTES) or b".." in name or name.startswith(b"."):
        raise ValueError("the host is not a valid name")
    if name.endswith(b"."):
        name = name[:-1]
    return name.decode("ascii").lower()


def _ipv6_literal(raw: bytes) -> str:
    inner, bracket, rest = raw[1:].partition(b"]")
    if not bracket or b"%" in inner or rest[:1] not in (b"", b":"):
        raise ValueError("the host is not a valid IPv6 literal")
    if len(rest) > 1:
        _check_port(rest[1:])
    return f"[{IPv6Address(inner.decode('ascii')).compressed}]"


def _check_port(port: bytes) -> None:
    if not port.isdigit() or len(port) > 5 or int(port) > 65535:
        raise ValueError("the host's port is not a number from 0 to 65535")


def normal_path(raw: str) -> str:
    """The path of a request target (without `?query`) as it is compared with configured paths.

    Percent-decoded once, dot segments removed (RFC 3986 §5.2.4), runs of slashes collapsed; a
    slash at the end stays. Raises ValueError where servers are known to read one path in two
    ways: an escaped or plain backslash, an escaped slash, control characters, bad escapes, text
    that is not UTF-8, a fragment, dot segments above the root or with parameters (`..;x`).
    """
    if (
        raw.isascii()
        and raw.isprintable()
        and raw[:1] == "/"
        and "%" not in raw
        and "/." not in raw
        and "//" not in raw
        and "\\" not in raw
        and "#" not in raw
    ):
        return raw
    return _without_dots(_decoded(raw))


def _decoded(raw: str) -> str:
    if raw[:1] != "/":
        raise ValueError("the path does not begin with a slash")
    if not (raw.isascii() and raw.isprintable()) or "\\" in raw or "#" in raw:
        raise ValueError("the path has characters that must be escaped")
    if "%" not in raw:
        return raw
    lowered = raw.lower()
    for escape in _REFUSED_ESCAPES:
        if escape in lowered:
            raise ValueError(f"the path has an escaped character that is ambiguous: {escape}")
    for piece in raw.split("%")[1:]:
        if len(piece) < 2 or piece[0] not in _HEX or piece[1] not in _HEX:
            raise ValueError("the path has an incomplete escape")
    try:
        text = unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("the path is not UTF-8") from None
    if any(char < " " or "\x7f" <= char <= "\x9f" for char in text):
        raise ValueError("the path has an escaped control character")
    return text


def _without_dots(path: str) -> str:
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        name, parameter, _ = segment.partition(";")
        if parameter and name in (".", ".."):
            raise ValueError("the path has a dot segment with parameters")
        if segment == "..":
            if not kept:
                raise ValueError("the path leads above the root")
            if not kept.pop():
                raise ValueError("the path goes back over a double slash, which reads in two ways")
        elif segment != ".":
            kept.append(segment)
    ends_open = segments[-1] in ("", ".", "..")
    full = [segment for segment in kept if segment]
    return "/" + "/".join(full) + ("/" if ends_open and full else "")


def without_prefix(raw: str, prefix: str, *, path: str) -> str:
    """The raw path as it came, less `prefix`; `path` is its normal form, which has that prefix.

    What follows the prefix stays as it was written. Only where the prefix is not there literally,
    or dot segments or double slashes would mean something else without it, the rest of the
    normal form is escaped anew.
    """
    if not prefix:
        return raw
    rest = raw[len(prefix) :]
    literal = raw.startswith(prefix) and rest[:1] in ("", "/") and not rest.startswith("//")
    if literal and "/." not in raw and "%2e" not in raw.lower():
        return rest or "/"
    return quote(path[len(prefix) :], safe=_PCHAR) or "/"


def is_host_within(host: str, pattern: str) -> bool:
    """Whether a pattern covers a host, or every host that another pattern covers."""
    if pattern in ("*", host):
        return True
    return pattern.startswith("*.") and host.endswith(pattern[1:])


def is_under(path: str, prefix: str) -> bool:
    """On segment boundaries: `/a` and `/a/x` and `/a;x` are under `/a`, `/ab` is not."""
    return path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/", ";")
