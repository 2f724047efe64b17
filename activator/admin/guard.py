"""Who may talk to the admin port: which Host, which token or session, which origin.

A browser is the attacker's tool to think of: a page may point its own name at our address (DNS
rebinding: an unknown Host is 421), or post forms to it (calls that change something need a JSON
content type and the same Origin). What a caller may then do is the API's business.
"""

from __future__ import annotations

import hmac
import secrets
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

from activator.admin import dashboard
from activator.admin.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from aiohttp.typedefs import Handler, Middleware

COOKIE = "activator_session"
SESSION_SECONDS = 12 * 3600.0
"""A working day: a browser logs in again after it."""
MAX_SESSIONS = 100
"""Beyond it the oldest ends: nobody can fill the memory by logging in."""

OPEN = frozenset({"/livez", "/readyz", "/metrics", "/api/login"}) | dashboard.PATHS
"""Paths that need no token: probes and scrapers carry none, login is how one gets in, and the
dashboard's page holds no data."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Sessions:
    """Random session ids that stand for the token in browsers."""

    def __init__(self, token: str, *, clock: Callable[[], float]) -> None:
        self._token = token.encode()
        self._clock = clock
        self._ends: dict[str, float] = {}

    def is_token(self, presented: str) -> bool:
        """In constant time. What a client may have sent as undecodable bytes is just wrong."""
        return hmac.compare_digest(presented.encode("utf-8", "surrogateescape"), self._token)

    def open(self) -> str:
        """A new session's id, 256 random bits."""
        now = self._clock()
        self._ends = {one: end for one, end in self._ends.items() if end > now}
        while len(self._ends) >= MAX_SESSIONS:
            del self._ends[next(iter(self._ends))]
        session = secrets.token_urlsafe(32)
        self._ends[session] = now + SESSION_SECONDS
        return session

    def is_open(self, session: str) -> bool:
        return self._ends.get(session, 0.0) > self._clock()


class Hosts:
    """The names under which this port may be addressed.

    Always: loopback, and the address at which the connection arrived. Listening on every address
    (`0.0.0.0`, `::`) any IP literal goes, since a translated one cannot be known and a literal
    cannot be rebound; names only if they were given.
    """

    def __init__(self, listening: Collection[str]) -> None:
        names = {host_of(one) for one in listening}
        self._any_literal = any(_is_unspecified(one) for one in names)
        self._names = frozenset(name for name in names | _LOOPBACK if not _is_unspecified(name))

    def allow(self, host: str, *, arrived_at: str | None) -> bool:
        if host in self._names or host == arrived_at:
            return True
        return self._any_literal and _is_literal(host)

    def __str__(self) -> str:
        also = " and any IP address" if self._any_literal else ""
        return ", ".join(sorted(self._names)) + also


def host_of(authority: str) -> str:
    """The host of `host`, `host:port`, `[v6]:port` or a bare IPv6 address; lower case."""
    authority = authority.strip().lower()
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    if authority.count(":") > 1:
        return authority
    return authority.partition(":")[0].removesuffix(".")


def guard(*, hosts: Hosts, sessions: Sessions | None) -> Middleware:
    """Lets a request through, or raises the Problem that says what it lacks.

    Without `sessions` no token is asked for.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        _check_host(request, hosts)
        if request.method not in _SAFE:
            _check_origin(request)
        if sessions is not None and request.path not in OPEN:
            _check_credential(request, sessions)
        return await handler(request)

    return middleware


def _check_host(request: web.Request, hosts: Hosts) -> None:
    fields = request.headers.getall("Host", [])
    if len(fields) > 1 or (not fields and request.version >= (1, 1)):
        raise Problem(400, "a request carries exactly one Host (RFC 9112, section 3.2)")
    sockname = request.get_extra_info("sockname")
    arrived_at = sockname[0] if isinstance(sockname, tuple) else None
    if fields and not hosts.allow(host_of(request.host), arrived_at=arrived_at):
        raise Problem(
            421, f"this port does not answer to the Host {request.host!r}, but to {hosts}"
        )


def _check_origin(request: web.Request) -> None:
    if request.content_type != "application/json":
        raise Problem(415, "a call that changes something needs Content-Type: application/json")
    origin = request.headers.get("Origin")
    if origin is not None and not _same_origin(origin, request.host):
        raise Problem(403, f"pages of {origin!r} may not make changes here")


def _same_origin(origin: str, host: str) -> bool:
    """The scheme is left out of it: TLS may end in front of us."""
    try:
        parts = urlsplit(origin)
        default = {"http": 80, "https": 443}[parts.scheme]
        there = parts.hostname, parts.port or default
        ours = urlsplit(f"//{host}")
        return there == (ours.hostname, ours.port or default)
    except (ValueError, KeyError):  # `null`, an extension's scheme, no port at all
        return False


def _check_credential(request: web.Request, sessions: Sessions) -> None:
    scheme, _, presented = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and sessions.is_token(presented.strip()):
        return
    if sessions.is_open(request.cookies.get(COOKIE, "")):
        return
    raise Problem(
        401,
        "this needs Authorization: Bearer with the admin token, or a session of POST /api/login",
        headers={"WWW-Authenticate": 'Bearer realm="activator"'},
    )


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_unspecified(host: str) -> bool:
    return host == "" or (_is_literal(host) and ip_address(host).is_unspecified)
