"""May this request come in, and whose is it? What is decided from its head, and from as much of
its body as that needs.

The order: what no server should serve, who asks, where it belongs, what is not served to clients.
Waiting, forwarding and answering are `handler`'s.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qsl

from activator.config.units import parse_duration
from activator.core.endpoint import Balance, Dialect
from activator.core.routing import (
    UNREAD,
    ModelNeeded,
    is_blocked,
    never_wake,
    normal_host,
    normal_path,
    replica_model,
    replica_path,
    without_prefix,
)
from activator.errors import (
    BadRequest,
    Forbidden,
    Loop,
    MethodNotAllowed,
    NoRoute,
)
from activator.proxy.admitted import PREFLIGHT, Admitted, Preflight
from activator.proxy.headers import is_loop
from activator.proxy.openai.responses import RESPONSES, job_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from activator.config.keys import Key
    from activator.core.endpoint import Endpoint, NeverWake
    from activator.core.routing import Routed, RouteTable
    from activator.proxy.body import Body
    from activator.proxy.door import Door
    from activator.proxy.openai.reading import Reading
    from activator.proxy.openai.toplevel import Value
    from activator.upstream.registry import LiveEndpoint, Registry
    from activator.wire.heads import RequestHead

_LIST: Final = "/v1/models"
_MODELS: Final = _LIST.encode()
DEFAULT_URGENCY = 3
"""RFC 9218 §4.1."""


NO_FIELDS: Final[frozenset[bytes]] = frozenset()


class OwnPath(Exception):
    """It is meant for the activator itself: a path of its own. `owner` as in Admitted."""

    def __init__(self, path: str, *, owner: str) -> None:
        super().__init__(path)
        self.path = path
        self.owner = owner


class Peeked(NamedTuple):
    """What a body has told so far, and the body."""

    model: str | None
    """None: it names none."""
    value: Value | None
    """Where `model` stands in it."""
    prompt: bytes | None
    """How its prompt begins."""
    body: Body
    reading: Reading | None
    """Where reading it has stopped; None: it was looked at as a whole, for its model only."""


class ModelsAsked(Exception):
    """It asks which models there are, or whether there is `model`."""

    def __init__(
        self,
        endpoints: Iterator[Endpoint],
        *,
        model: str | None,
        asked_for: Callable[[str], Endpoint | None],
    ) -> None:
        """`endpoints`: those that it may use, found one by one, for there may be thousands.
        `asked_for`: which of all would be asked for a model, if any."""
        super().__init__(model or "")
        self.endpoints = endpoints
        self.model = model
        self.asked_for = asked_for


class ResponseAsked(Exception):
    """It asks for a response that a client has had made in the background: a job. `page`: what of
    it, empty for itself; `owner` as in Admitted."""

    def __init__(self, job_id: str, *, page: str, owner: str) -> None:
        super().__init__(job_id)
        self.job_id = job_id
        self.page = page
        self.owner = owner


class BodyNeeded(Exception):
    """Where it belongs, or how it goes there, depends on its body. `prompt`: on how its prompt
    begins too; `whole`: on what may stand anywhere in it. `lasting`: not only while the endpoint is
    cold."""

    def __init__(self, *, prompt: bool, whole: bool, lasting: bool = True) -> None:
        super().__init__()
        self.prompt = prompt
        self.whole = whole
        self.lasting = lasting


def admit(
    head: RequestHead,
    *,
    door: Door,
    registry: Registry,
    via: bytes,
    default_model: str | None = None,
    peeked: Peeked | None = None,
) -> Admitted:
    """`default_model`: of requests that name none. `peeked`: what its body tells, None if nobody
    has looked. Raises OwnPath, ModelsAsked, ResponseAsked, BodyNeeded, or the ActivatorError that
    says why not."""
    if head.method in (b"CONNECT", b"TRACE"):
        raise MethodNotAllowed
    first = head.first
    if b"via" in first and is_loop(head, via):
        raise Loop(via=via)
    preflight = head.method == b"OPTIONS" and is_preflight(head)
    key, credentials = door.open(head, needed=not preflight) if door.keys else (None, NO_FIELDS)
    raw = head.target.partition(b"?")[0]
    if _MODELS in raw and head.method in (b"GET", b"HEAD"):
        _ask_for_models(head, raw, routes=registry.routes, key=key)
    path = _path(raw)
    if path == "/.activator" or path.startswith("/.activator/"):
        raise OwnPath(path, owner="" if key is None else key.name)
    routes, model = registry.routes, None
    owner = "" if key is None else key.name
    if RESPONSES + "/" in path:
        _ask_for_response(head, path, routes=routes, owner=owner)
    if routes.names_models:
        routed, model = _by_model(routes, head, path, peeked=peeked, default=default_model)
        if routed is None and preflight:  # it names no model, and any of them may answer it
            routed = next(routes.candidates(host=_host(head.host), path=path), None)
    else:
        routed = routes.match(host=_host(head.host), path=path, headers=head.text)
    if routed is None or not _may_use(key, routed.endpoint):
        raise NoRoute(_nothing_matches(head, path, model=model))
    endpoint = routed.endpoint
    if peeked is None and endpoint.dialect is Dialect.OPENAI and head.length:
        _need_body(registry[endpoint.name], head, path)
    shown = replica_path(routed, path)
    if endpoint.block_paths and is_blocked(endpoint, shown):
        raise Forbidden
    passive: NeverWake | Preflight | None = PREFLIGHT if preflight else None
    if endpoint.never_wake and passive is None:
        passive = never_wake(endpoint, shown)
    if endpoint.strip_prefix and routed.prefix:
        raw = without_prefix(raw.decode("ascii"), routed.prefix, path=path).encode("ascii")
    return Admitted(
        live=registry[endpoint.name],
        path=raw,
        urgency=_urgency(head, endpoint, key),
        affinity=_affinity(head, endpoint, peeked)
        if endpoint.affinity_header or peeked is not None
        else None,
        credentials=credentials,
        within=_within(head) if b"x-activator-deadline" in first else None,
        passive=passive,
        owner=owner,
        model=_other_model(endpoint, peeked),
        is_response=endpoint.dialect is Dialect.OPENAI and _creates_response(head, shown),
    )


def _ask_for_models(head: RequestHead, raw: bytes, *, routes: RouteTable, key: Key | None) -> None:
    """Raises ModelsAsked where clients of OpenAI's dialect would find the list: at the host and
    under the prefix of its endpoints, unless another endpoint comes before them there."""
    path, host = _path(_readable(raw)), _host(head.host)
    listing = _listing(head, path, routes.candidates(host=host, path=path))
    first = next(listing, None)
    if first is None:
        return

    def asked_for(model: str) -> Endpoint | None:
        routed = routes.match(host=host, path=path, headers=head.text, model=model)
        endpoint = None if routed is None else routed.endpoint
        if endpoint is None or endpoint.dialect is Dialect.PLAIN:
            return None
        return endpoint if _may_use(key, endpoint) else None

    shown = replica_path(first, path).rstrip("/")
    endpoints = (routed.endpoint for routed in chain((first,), listing))
    raise ModelsAsked(
        (endpoint for endpoint in endpoints if _may_use(key, endpoint)),
        model=shown[len(_LIST) + 1 :] or None,
        asked_for=asked_for,
    )


def _listing(head: RequestHead, path: str, candidates: Iterator[Routed]) -> Iterator[Routed]:
    """Those whose list would be found at this path."""
    for routed in candidates:
        endpoint = routed.endpoint
        if any(head.text(name) != value for name, value in endpoint.match.headers):
            continue
        if endpoint.dialect is Dialect.PLAIN:
            return
        shown = replica_path(routed, path).rstrip("/")
        if shown == _LIST or shown.startswith(_LIST + "/"):
            yield routed


def _ask_for_response(head: RequestHead, path: str, *, routes: RouteTable, owner: str) -> None:
    """Raises ResponseAsked where an endpoint of OpenAI's dialect would be asked for one that is a
    job here: its id says so."""
    if not any(map(job_of, path.split("/"))):
        return
    for routed in routes.candidates(host=_host(head.host), path=path):
        shown = replica_path(routed, path)
        if routed.endpoint.dialect is Dialect.OPENAI and shown.startswith(RESPONSES + "/"):
            name, _, page = shown.removeprefix(RESPONSES + "/").rstrip("/").partition("/")
            job_id = job_of(name)
            if job_id is not None:
                raise ResponseAsked(job_id, page=page, owner=owner)


def _creates_response(head: RequestHead, path: str) -> bool:
    """Under whichever prefix."""
    return head.method == b"POST" and path.rstrip("/").endswith(RESPONSES)


def _readable(raw: bytes) -> bytes:
    """SDKs escape the slashes of a model's name; here it is not forwarded, so that nobody can read
    it in another way."""
    return raw.replace(b"%2F", b"/").replace(b"%2f", b"/")


def _by_model(
    routes: RouteTable,
    head: RequestHead,
    path: str,
    *,
    peeked: Peeked | None,
    default: str | None,
) -> tuple[Routed | None, str | None]:
    """(where it belongs, the model that was asked for). A request without a body may name one in
    its query, as OpenAI's realtime API does."""
    model: str | None
    if peeked is not None:
        model = peeked.model or default
    elif head.length:
        model = UNREAD
    else:
        model = _of_query(head.query[1:]) or default
    try:
        found = routes.match(host=_host(head.host), path=path, headers=head.text, model=model)
    except ModelNeeded:
        prompt = routes.likes_prompts and not _is_form(head)
        raise BodyNeeded(prompt=prompt, whole=_creates_response(head, path)) from None
    return found, None if model is UNREAD else model


def _of_query(query: bytes) -> str | None:
    if b"model=" not in query:
        return None
    return dict(parse_qsl(query.decode("latin-1"), encoding="utf-8")).get("model")


def _nothing_matches(head: RequestHead, path: str, *, model: str | None) -> str:
    where = f"{head.host.decode('latin-1') or 'this host'}{path}"
    if model is None:
        return f"No endpoint matches {where}"
    return f"The model {model[:200]!r} does not exist at {where}, or this key may not use it"


def _need_body(live: LiveEndpoint, head: RequestHead, path: str) -> None:
    """Raises BodyNeeded where its endpoint is known and wants to know more."""
    endpoint, fallback = live.endpoint, live.endpoint.fallback
    hashed = endpoint.balance is Balance.PREFIX_HASH and not _is_form(head)
    prompt = hashed and _affinity(head, endpoint, None) is None
    whole = _creates_response(head, path)
    if prompt or whole or endpoint.upstream_model is not None or endpoint.aliases:
        raise BodyNeeded(prompt=prompt, whole=whole)
    renames = fallback is not None and (fallback.model is not None or isinstance(fallback.to, str))
    if renames and live.cold:
        raise BodyNeeded(prompt=False, whole=False, lasting=False)


def _is_form(head: RequestHead) -> bool:
    """Its fields are few and its file is large: no prompt is waited for."""
    return (head.get(b"content-type") or b"").lower().startswith(b"multipart/")


def _other_model(endpoint: Endpoint, peeked: Peeked | None) -> str | None:
    if peeked is None or peeked.model is None:
        return None
    model = replica_model(endpoint, peeked.model)
    return None if model == peeked.model else model


def dialect_at(head: RequestHead, *, registry: Registry) -> Dialect:
    """In which a request that belongs to no endpoint is answered: OpenAI's if one of those at its
    host and path speaks it."""
    raw = head.target.partition(b"?")[0]
    try:
        host, path = _host(head.host), _path(_readable(raw) if _MODELS in raw else raw)
    except BadRequest:
        return Dialect.PLAIN
    candidates = registry.routes.candidates(host=host, path=path)
    speaks = any(routed.endpoint.dialect is Dialect.OPENAI for routed in candidates)
    return Dialect.OPENAI if speaks else Dialect.PLAIN


def is_preflight(head: RequestHead) -> bool:
    """Fetch standard, "CORS-preflight request". One with a body is none: it would hold a slot
    for as long as it likes, and needs no key."""
    return (
        head.method == b"OPTIONS"
        and head.length == 0
        and head.get(b"origin") is not None
        and head.get(b"access-control-request-method") is not None
    )


def _within(head: RequestHead) -> float:
    given = head.get(b"x-activator-deadline") or b""
    try:
        return parse_duration(given.decode("ascii"))
    except ValueError as error:
        raise BadRequest(f"X-Activator-Deadline: {error}") from error


def _path(raw: bytes) -> str:
    if raw == b"*":
        return "/"
    try:
        return normal_path(raw.decode("ascii"))
    except ValueError as error:
        raise BadRequest(f"The path can be read in two ways: {error}") from error


def _host(raw: bytes) -> str:
    try:
        return normal_host(raw)
    except ValueError as error:
        raise BadRequest(f"Host: {error}") from error


def _may_use(key: Key | None, endpoint: Endpoint) -> bool:
    return key is None or key.endpoints is None or endpoint.name in key.endpoints


def _urgency(head: RequestHead, endpoint: Endpoint, key: Key | None) -> int:
    """`Priority: u=N` (RFC 9218), not better than the endpoint or the key allows."""
    asked, given = DEFAULT_URGENCY, head.get(b"priority")
    if given is not None:
        for parameter in given.split(b","):
            name, _, value = parameter.strip(b" \t").partition(b"=")
            if name == b"u" and len(value) == 1 and b"0" <= value <= b"7":
                asked = int(value)
    best = endpoint.queue.best_urgency
    if key is not None and key.best_urgency is not None:
        best = key.best_urgency
    return max(asked, best)


def _affinity(head: RequestHead, endpoint: Endpoint, peeked: Peeked | None) -> bytes | None:
    """The header's value, otherwise how its prompt begins."""
    if endpoint.affinity_header is not None:
        given = head.get(endpoint.affinity_header.encode("latin-1"))
        if given is not None:
            return given
    if peeked is not None and endpoint.balance is Balance.PREFIX_HASH:
        return peeked.prompt
    return None
