"""What is decided from a request's head alone."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, cast

import pytest

from activator.config.keys import Key, KeyRing
from activator.core.endpoint import Endpoint, Match, NeverWake, QueuePolicy, StaticBackend
from activator.core.routing import RouteTable
from activator.errors import (
    BadRequest,
    Forbidden,
    Loop,
    MethodNotAllowed,
    NoRoute,
    Unauthorized,
)
from activator.proxy.admission import OwnPath, admit, is_preflight
from activator.proxy.admitted import PREFLIGHT, Admitted
from activator.proxy.door import Door
from tests.unit.proxy.support import asked

if TYPE_CHECKING:
    from activator.upstream.registry import Registry
    from activator.wire.heads import RequestHead

VIA = b"activator-1"
PREFLIGHT_FIELDS = ("Origin: https://a", "Access-Control-Request-Method: POST")


class Endpoints:
    """As much of a registry as admission reads; a live endpoint is its own name."""

    def __init__(self, *endpoints: Endpoint) -> None:
        self.routes = RouteTable(endpoints)

    def __getitem__(self, name: str) -> str:
        return name


def endpoint(name: str = "m", **changed: Any) -> Endpoint:
    return Endpoint(name=name, backend=StaticBackend((("127.0.0.1", 1),)), **changed)


def door(*keys: Key) -> Door:
    """Opens for each key by its name."""
    if not keys:
        return Door()
    return Door(keys=KeyRing((sha256(key.name.encode()).digest(), key) for key in keys))


def enter(head: RequestHead, *endpoints: Endpoint, keys: tuple[Key, ...] = ()) -> Admitted:
    registry = cast("Registry", Endpoints(*(endpoints or (endpoint(),))))
    return admit(head, door=door(*keys), registry=registry, via=VIA)


def test_a_request_is_admitted_to_its_endpoint() -> None:
    a = endpoint("a", match=Match(hosts=("a.example",)))
    b = endpoint("b", match=Match(hosts=("b.example",), headers=(("x-team", "ml"),)))

    admitted = enter(asked("GET /x?y HTTP/1.1", "X-Team: ml", host="B.example:80"), a, b)

    assert cast("str", admitted.live) == "b"
    assert admitted.path == b"/x"
    assert admitted.credentials == frozenset()
    assert admitted.ticket(arrived=7.0).arrived == 7.0
    assert admitted.passive is None


@pytest.mark.parametrize(
    ("head", "error"),
    [
        (asked("TRACE / HTTP/1.1"), MethodNotAllowed),
        (asked("CONNECT m.example:1 HTTP/1.1"), MethodNotAllowed),
        (asked("GET / HTTP/1.1", "Via: 1.1 activator-1"), Loop),
        (asked("GET /.activator HTTP/1.1"), OwnPath),
        (asked("GET /.activator/jobs/1 HTTP/1.1"), OwnPath),
        (asked("GET /x/..//.activator/ HTTP/1.1"), OwnPath),
        (asked("GET / HTTP/1.1", host="other"), NoRoute),
        (asked("GET / HTTP/1.0", host=None), NoRoute),
        (asked("GET /a%2Fb HTTP/1.1"), BadRequest),
        (asked("GET /a%00 HTTP/1.1"), BadRequest),
        (asked("GET /% HTTP/1.1"), BadRequest),
        (asked("GET /blocked/x HTTP/1.1"), Forbidden),
    ],
)
def test_what_is_not_served_is_refused(head: RequestHead, error: type[Exception]) -> None:
    here = endpoint(match=Match(hosts=("m.example",)), block_paths=("/blocked",))

    with pytest.raises(error):
        enter(head, here)


def test_a_path_that_only_begins_like_ours_is_the_clients() -> None:
    assert enter(asked("GET /.activatorx HTTP/1.1")).path == b"/.activatorx"


def test_options_for_the_server_as_a_whole_is_routed_as_its_root() -> None:
    assert enter(asked("OPTIONS * HTTP/1.1")).path == b"*"


def test_the_prefix_is_stripped_and_the_query_kept() -> None:
    here = endpoint(match=Match(paths=("/llama",)), strip_prefix=True)

    for came, goes in ((b"/llama/v1?a=/llama", b"/v1?a=/llama"), (b"/llama?a", b"/?a")):
        head = asked(f"GET {came.decode()} HTTP/1.1")
        assert enter(head, here).target(head) == goes


# --- keys


def test_a_key_is_asked_for_before_anything_is_said_about_endpoints() -> None:
    with pytest.raises(Unauthorized):
        enter(asked(host="no.such.host"), endpoint(match=Match(hosts=("x",))), keys=(Key("k"),))


def test_what_a_key_may_not_use_looks_like_nothing() -> None:
    head = asked("GET / HTTP/1.1", "X-Api-Key: k")

    with pytest.raises(NoRoute) as hidden:
        enter(head, keys=(Key("k", frozenset({"other"})),))
    with pytest.raises(NoRoute) as absent:
        enter(head, endpoint(match=Match(hosts=("x",))), keys=(Key("k"),))

    assert hidden.value.detail == absent.value.detail


def test_the_credential_that_opened_the_door_is_named() -> None:
    admitted = enter(asked("GET / HTTP/1.1", "X-Api-Key: k"), keys=(Key("k"),))

    assert admitted.credentials == {b"x-api-key"}


# --- the line


@pytest.mark.parametrize(
    ("given", "urgency"),
    [
        (None, 3), ("u=0", 0), ("u=7", 7), ("i, u=5", 5), ("u=5,i", 5), ("u=2;x", 3), ("u=8", 3),
        ("u=", 3), ("u=10", 3), ("u", 3), ("U=1", 3), ("urgency=1", 3), ("u=1, u=4", 4),
    ],
)  # fmt: skip
def test_priority_is_read_as_rfc_9218_has_it(given: str | None, urgency: int) -> None:
    fields = [f"Priority: {given}"] if given is not None else []
    here = endpoint(queue=QueuePolicy(best_urgency=0))

    assert enter(asked("GET / HTTP/1.1", *fields), here).urgency == urgency


@pytest.mark.parametrize(
    ("best", "key_best", "urgency"),
    [(3, None, 3), (1, None, 1), (3, 0, 0), (3, 2, 2), (1, 5, 5)],
)
def test_nobody_is_better_than_the_endpoint_allows_or_else_the_key(
    best: int, key_best: int | None, urgency: int
) -> None:
    head = asked("GET / HTTP/1.1", "Priority: u=0", "X-Api-Key: k")
    here = endpoint(queue=QueuePolicy(best_urgency=best))

    admitted = enter(head, here, keys=(Key("k", None, key_best),))

    assert admitted.urgency == urgency


def test_requests_with_the_same_affinity_like_the_same_replica() -> None:
    here = endpoint(affinity_header="x-session")

    assert enter(asked("GET / HTTP/1.1", "X-Session: s1"), here).affinity == b"s1"
    assert enter(asked(), here).affinity is None
    assert enter(asked("GET / HTTP/1.1", "X-Session: s1")).affinity is None


# --- what is no demand


def test_a_preflight_needs_no_key_and_is_no_demand() -> None:
    admitted = enter(asked("OPTIONS / HTTP/1.1", *PREFLIGHT_FIELDS), keys=(Key("k"),))

    assert admitted.passive is PREFLIGHT
    assert admitted.ticket(arrived=7.0).passive


def test_a_preflight_that_carries_a_key_of_ours_does_not_carry_it_on() -> None:
    head = asked("OPTIONS / HTTP/1.1", *PREFLIGHT_FIELDS, "X-Api-Key: k")

    assert enter(head, keys=(Key("k"),)).credentials == {b"x-api-key"}


@pytest.mark.parametrize(
    "head",
    [
        asked("GET / HTTP/1.1", *PREFLIGHT_FIELDS),
        asked("OPTIONS / HTTP/1.1", PREFLIGHT_FIELDS[0]),
        asked("OPTIONS / HTTP/1.1", PREFLIGHT_FIELDS[1]),
        asked("OPTIONS / HTTP/1.1", *PREFLIGHT_FIELDS, "Content-Length: 1"),
        asked("OPTIONS / HTTP/1.1", *PREFLIGHT_FIELDS, "Transfer-Encoding: chunked"),
    ],
)
def test_what_only_looks_like_a_preflight_is_none(head: RequestHead) -> None:
    assert not is_preflight(head)


def test_a_path_that_never_wakes_is_no_demand() -> None:
    health = NeverWake("/health", 200)
    here = endpoint(match=Match(paths=("/llama",)), strip_prefix=True, never_wake=(health,))

    assert enter(asked("GET /llama/health HTTP/1.1"), here).passive == health
    assert enter(asked("GET /llama/other HTTP/1.1"), here).passive is None


@pytest.mark.parametrize(("given", "seconds"), [("30s", 30.0), ("250ms", 0.25), ("5", 5.0)])
def test_a_deadline_is_a_duration(given: str, seconds: float) -> None:
    assert enter(asked("GET / HTTP/1.1", f"X-Activator-Deadline: {given}")).within == seconds


def test_no_deadline_is_none() -> None:
    assert enter(asked()).within is None


@pytest.mark.parametrize("given", ["", "soon", "-1", "1e9999", "\xe9"])
def test_a_deadline_that_is_no_duration_is_a_bad_request(given: str) -> None:
    with pytest.raises(BadRequest):
        enter(asked("GET / HTTP/1.1", f"X-Activator-Deadline: {given}"))
