"""Where the store is: the address as written, taken apart.

Decides what an address may look like. How one connects to it is `redisio`'s business.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote

MEMORY: Final = "memory://"
LEASE: Final = "memory+lease://"
DEFAULT_PORT: Final = 6379
SENTINEL_PORT: Final = 26379


class Kind(Enum):
    MEMORY = "memory"
    LEASE = "memory+lease"
    """In the memory of whoever holds a Lease of a Kubernetes cluster."""
    SINGLE = "redis"
    SENTINEL = "redis+sentinel"
    CLUSTER = "redis+cluster"


@dataclass(frozen=True, slots=True)
class StoreTls:
    """How the store's certificate is checked, and what is shown to it. None: the system's."""

    ca_certs: Path | None = None
    certfile: Path | None = None
    keyfile: Path | None = None
    check_hostname: bool = True


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """One store. `addresses` are the server's, the Sentinels' or some of the cluster's nodes."""

    kind: Kind
    addresses: tuple[tuple[str, int], ...] = ()
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    db: int = 0
    service: str = ""
    """What the Sentinels call the master."""
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    tls: StoreTls | None = None
    lease: str = ""
    namespace: str = ""
    """Of the lease; empty: of the pod that this is."""


_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SCHEMES: Final = {
    "redis": Kind.SINGLE,
    "rediss": Kind.SINGLE,
    "redis+sentinel": Kind.SENTINEL,
    "redis+cluster": Kind.CLUSTER,
}
_TLS_KEYS: Final = ("ssl", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
_SENTINEL_KEYS: Final = ("sentinel_username", "sentinel_password")
_FLAGS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def parse_store_url(text: str, *, base: Path = Path()) -> StoreUrl:
    """Files in it are relative to `base`. Raises ValueError, whose words show nothing secret."""
    if text == MEMORY:
        return StoreUrl(Kind.MEMORY)
    if text.startswith(LEASE):
        return _lease(text.removeprefix(LEASE))
    scheme, separator, rest = text.partition("://")
    kind = _SCHEMES.get(scheme.lower())
    if not separator or kind is None:
        raise ValueError(
            "must be memory://, memory+lease://, redis://, rediss://, redis+sentinel:// or"
            " redis+cluster://"
        )
    rest, _, query = rest.partition("?")
    if "#" in rest or "#" in query:
        raise ValueError("has a `#`, which is written %23 in a user name or password")
    authority, _, path = rest.partition("/")
    userinfo, _, hosts = authority.rpartition("@")
    username, password = _userinfo(userinfo)
    service, db = _path(path, kind=kind)
    options = _options(query, allowed=_allowed(kind))
    db = _db(options["db"]) if "db" in options else db
    return StoreUrl(
        kind,
        addresses=_addresses(hosts, kind=kind),
        username=username,
        password=password,
        db=db,
        service=service,
        sentinel_username=options.get("sentinel_username"),
        sentinel_password=options.get("sentinel_password"),
        tls=_tls(options, always=scheme.lower() == "rediss", base=base),
    )


def _lease(text: str) -> StoreUrl:
    namespace, _, name = text.rpartition("/")
    for each in (name, namespace) if "/" in text else (name,):
        if not _LABEL.fullmatch(each):
            raise ValueError(
                "names no Lease, as in memory+lease://NAME (in the pod's own namespace) or"
                " memory+lease://NAMESPACE/NAME"
            )
    return StoreUrl(Kind.LEASE, lease=name, namespace=namespace)


def has_password(text: str) -> bool:
    """Whether anything in an address, well-formed or not, looks like a password."""
    rest = text.partition("://")[2]
    rest, _, query = rest.partition("?")
    userinfo = rest.rpartition("@")[0]
    return bool(userinfo.partition(":")[2]) or "password=" in query.lower()


def _userinfo(text: str) -> tuple[str | None, str | None]:
    username, _, password = text.partition(":")
    return unquote(username) or None, unquote(password) or None


def _addresses(text: str, *, kind: Kind) -> tuple[tuple[str, int], ...]:
    hosts = text.split(",")
    if kind is Kind.SINGLE and len(hosts) > 1:
        raise ValueError(
            "names several hosts, which redis+sentinel:// and redis+cluster:// can have"
        )
    default = SENTINEL_PORT if kind is Kind.SENTINEL else DEFAULT_PORT
    return tuple(_address(host, default=default) for host in hosts)


def _address(text: str, *, default: int) -> tuple[str, int]:
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise ValueError("has an IPv6 address that is not written like [::1]:6379")
        port = port[1:]
    else:
        host, _, port = text.partition(":")
        if ":" in port:
            raise ValueError("has an IPv6 address that is not written like [::1]:6379")
    if not host or any(letter.isspace() for letter in host):
        raise ValueError("names no host")
    if not port:
        return host, default
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(
            f"has a port that is none: {port!r} (a password's @ : / are written %40 …)"
        )
    return host, int(port)


def _path(path: str, *, kind: Kind) -> tuple[str, int]:
    """(service, database)."""
    path = path.rstrip("/")
    if kind is Kind.SENTINEL:
        service, _, path = path.partition("/")
        if not service:
            raise ValueError("names no service, as in redis+sentinel://HOST:PORT,HOST:PORT/SERVICE")
    else:
        service = ""
    db = _db(path) if path else 0
    if kind is Kind.CLUSTER and db:
        raise ValueError("has a database, of which a cluster has only 0")
    return unquote(service), db


def _db(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ValueError("has a database that is not a number")
    return int(text)


def _allowed(kind: Kind) -> tuple[str, ...]:
    match kind:
        case Kind.SENTINEL:
            return ("db", *_TLS_KEYS, *_SENTINEL_KEYS)
        case Kind.SINGLE:
            return ("db", *_TLS_KEYS)
    return _TLS_KEYS


def _options(query: str, *, allowed: tuple[str, ...]) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in allowed:
            raise ValueError(f"has an unknown parameter `{name}`; there are {', '.join(allowed)}")
        if name in options:
            raise ValueError(f"has the parameter `{name}` twice")
        options[name] = value
    return options


def _tls(options: dict[str, str], *, always: bool, base: Path) -> StoreTls | None:
    wanted = _flag(options, "ssl", default=always)
    if always and not wanted:
        raise ValueError("is rediss:// with ssl=false")
    if not wanted:
        if unused := [name for name in _TLS_KEYS if name in options and name != "ssl"]:
            raise ValueError(f"has `{unused[0]}` without ssl=true")
        return None
    files = {
        name: base / options[name]
        for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
        if options.get(name)
    }
    if "ssl_keyfile" in files and "ssl_certfile" not in files:
        raise ValueError("has `ssl_keyfile` without `ssl_certfile`")
    return StoreTls(
        ca_certs=files.get("ssl_ca_certs"),
        certfile=files.get("ssl_certfile"),
        keyfile=files.get("ssl_keyfile"),
        check_hostname=_flag(options, "ssl_check_hostname", default=True),
    )


def _flag(options: dict[str, str], name: str, *, default: bool) -> bool:
    if name not in options:
        return default
    try:
        return _FLAGS[options[name].lower()]
    except KeyError:
        raise ValueError(f"`{name}` must be true or false") from None
