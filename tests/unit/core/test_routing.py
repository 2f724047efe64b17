"""Precedence over hosts, paths, headers and models; the property is a naive reference matcher."""

from __future__ import annotations

import time
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activator.core.endpoint import Endpoint, Match, NeverWake, StaticBackend
from activator.core.routing import (
    UNREAD,
    ModelNeeded,
    Routed,
    RouteTable,
    duplicates,
    is_blocked,
    never_wake,
    replica_model,
    replica_path,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


def endpoint(name: str, **match: Any) -> Endpoint:
    return Endpoint(name, StaticBackend((("127.0.0.1", 1),)), match=Match(**match))


def found(
    endpoints: Sequence[Endpoint],
    *,
    host: str = "x.test",
    path: str = "/",
    headers: dict[str, str] | None = None,
    model: str | None = None,
) -> str | None:
    table = RouteTable(endpoints)
    routed = table.match(host=host, path=path, headers=(headers or {}).get, model=model)
    return routed.endpoint.name if routed else None


def no_headers(_name: str) -> str | None:
    return None


ANY = endpoint("any")


def test_nothing_matches_an_empty_table() -> None:
    assert found([]) is None


def test_an_endpoint_without_a_match_gets_everything() -> None:
    assert found([ANY], host="", path="/deep/down", model="m") == "any"


def test_an_exact_host_comes_before_wildcards_and_those_before_any() -> None:
    table = [
        ANY,
        endpoint("short", hosts=("*.test",)),
        endpoint("long", hosts=("*.b.test",)),
        endpoint("exact", hosts=("a.b.test",)),
    ]
    assert found(table, host="a.b.test") == "exact"
    assert found(table, host="c.b.test") == "long"
    assert found(table, host="d.c.b.test") == "long"
    assert found(table, host="c.test") == "short"
    assert found(table, host="test") == "any"
    assert found(table, host="ab.tests") == "any"


def test_a_wildcard_does_not_match_the_name_itself() -> None:
    assert found([endpoint("w", hosts=("*.b.test",))], host="b.test") is None
    assert found([endpoint("w", hosts=("*.b.test",))], host="xb.test") is None


def test_the_longest_path_prefix_wins_on_segment_boundaries() -> None:
    table = [endpoint("v1", paths=("/v1",)), endpoint("chat", paths=("/v1/chat",)), ANY]
    assert found(table, path="/v1/chat") == "chat"
    assert found(table, path="/v1/chat/completions") == "chat"
    assert found(table, path="/v1/chatter") == "v1"
    assert found(table, path="/v1") == "v1"
    assert found(table, path="/v10") == "any"


def test_the_matched_prefix_is_told() -> None:
    table = RouteTable([endpoint("a", paths=("/a/",)), ANY])
    under_a = table.match(host="x", path="/a/b", headers=no_headers)
    assert under_a == Routed(endpoint("a", paths=("/a/",)), "/a")
    assert table.match(host="x", path="/b", headers=no_headers) == Routed(ANY, "")


def test_most_headers_win_and_all_of_them_must_be_there() -> None:
    table = [
        endpoint("none"),
        endpoint("one", headers=(("x-team", "ml"),)),
        endpoint("two", headers=(("x-team", "ml"), ("x-env", "prod"))),
    ]
    assert found(table, headers={"x-team": "ml", "x-env": "prod"}) == "two"
    assert found(table, headers={"x-team": "ml", "x-env": "dev"}) == "one"
    assert found(table, headers={"x-team": "ML"}) == "none"


def test_without_the_headers_of_the_longest_prefix_the_next_shorter_one_matches() -> None:
    table = [
        endpoint("deep", paths=("/v1/chat",), headers=(("x-team", "ml"),)),
        endpoint("shallow", paths=("/v1",)),
    ]
    assert found(table, path="/v1/chat/x") == "shallow"
    assert found(table, path="/v1/chat/x", headers={"x-team": "ml"}) == "deep"


def test_without_a_fitting_path_under_its_host_the_less_specific_host_matches() -> None:
    table = [
        endpoint("api", hosts=("a.test",), paths=("/api",)),
        endpoint("wild", hosts=("*.test",), paths=("/w",)),
        ANY,
    ]
    assert found(table, host="a.test", path="/w") == "wild"
    assert found(table, host="a.test", path="/other") == "any"


def test_a_model_named_exactly_comes_before_the_wildcard_with_most_letters() -> None:
    table = [
        endpoint("rest"),
        endpoint("family", models=("llama-*",)),
        endpoint("lora", models=("llama-8b-lora-*",)),
        endpoint("inner", models=("llama-*-instruct",)),
        endpoint("exact", models=("llama-8b-lora-1",)),
    ]
    assert found(table, model="llama-8b-lora-1") == "exact"
    assert found(table, model="llama-8b-lora-2") == "lora"
    assert found(table, model="llama-8b-instruct") == "inner"
    assert found(table, model="llama-70b") == "family"
    assert found(table, model="mistral") == "rest"
    assert found(table, model=None) == "rest"


def test_headers_weigh_more_than_the_model() -> None:
    table = [
        endpoint("model", models=("m",)),
        endpoint("header", headers=(("x-team", "ml"),)),
    ]
    assert found(table, headers={"x-team": "ml"}, model="m") == "header"


def test_among_equals_the_one_declared_first_wins() -> None:
    table = [
        endpoint("first", headers=(("x-b", "1"),)),
        endpoint("second", headers=(("x-a", "1"),)),
    ]
    both = {"x-a": "1", "x-b": "1"}
    assert found(table, headers=both) == "first"
    assert found(table[::-1], headers=both) == "second"


def test_endpoints_with_the_same_match_are_told_as_pairs() -> None:
    a = endpoint("a", hosts=("x.test", "y.test"), paths=("/v1/",))
    b = endpoint("b", hosts=("y.test", "z.test"), paths=("/v1",))
    c = endpoint("c", hosts=("z.test",), paths=("/v1",), headers=(("x-team", "ml"),))
    d = endpoint("d")
    e = endpoint("e", hosts=("*",), paths=("/",))
    assert duplicates([a, b, c, d, e]) == [(a, b), (d, e)]


def test_the_order_in_which_headers_are_written_makes_no_difference() -> None:
    a = endpoint("a", headers=(("x-a", "1"), ("x-b", "2")))
    b = endpoint("b", headers=(("x-b", "2"), ("x-a", "1")))
    assert duplicates([a, b]) == [(a, b)]


def test_a_stripped_prefix_is_gone_from_what_the_replica_sees() -> None:
    backend = StaticBackend((("127.0.0.1", 1),))
    stripping = Endpoint("a", backend, strip_prefix=True)
    assert replica_path(Routed(stripping, "/a"), "/a/health") == "/health"
    assert replica_path(Routed(stripping, "/a"), "/a") == "/"
    assert replica_path(Routed(Endpoint("a", backend), "/a"), "/a/health") == "/a/health"


def test_blocked_paths_cover_everything_below_them() -> None:
    guarded = Endpoint("a", StaticBackend(()), block_paths=("/sleep", "/collective_rpc"))
    assert is_blocked(guarded, "/sleep/")
    assert is_blocked(guarded, "/collective_rpc/x")
    assert not is_blocked(guarded, "/sleepy")
    assert not is_blocked(ANY, "/sleep")


def test_never_wake_paths_are_exact() -> None:
    quiet = NeverWake("/health", 204)
    guarded = Endpoint("a", StaticBackend(()), never_wake=(quiet,))
    assert never_wake(guarded, "/health") is quiet
    assert never_wake(guarded, "/health/x") is None


_hosts = st.lists(
    st.sampled_from(["a.test", "b.a.test", "*.test", "*.a.test", "*"]), max_size=2, unique=True
)
_paths = st.lists(st.sampled_from(["/", "/v1", "/v1/chat", "/v10"]), max_size=2, unique=True)
_headers = st.dictionaries(st.sampled_from(["x-a", "x-b"]), st.sampled_from(["1", "2"]))
_models = st.lists(
    st.sampled_from(["m", "m1", "*", "m*", "*1", "m*1", "mm*", "*m*"]), max_size=2, unique=True
)
_matches = st.builds(
    Match,
    hosts=_hosts.map(tuple),
    paths=_paths.map(tuple),
    headers=_headers.map(lambda it: tuple(it.items())),
    models=_models.map(tuple),
)


def _host_score(pattern: str, host: str) -> tuple[int, int] | None:
    if pattern == "*":
        return (0, 0)
    if pattern.startswith("*."):
        fits = host.endswith(pattern[1:]) and host != pattern[1:]
        return (1, len(pattern)) if fits else None
    return (2, 0) if host == pattern else None


def _path_score(prefix: str, path: str) -> int | None:
    wanted = [part for part in prefix.split("/") if part]
    given_parts = [part for part in path.split("/") if part]
    return len(prefix.rstrip("/")) if given_parts[: len(wanted)] == wanted else None


def _model_score(pattern: str | None, model: str | None) -> int | None:
    if pattern is None:
        return 0
    if model is None:
        return None
    if "*" not in pattern:
        return 1000 if pattern == model else None
    return 1 + len(pattern.replace("*", "")) if fnmatchcase(model, pattern) else None


def _naive(
    endpoints: Sequence[Endpoint],
    *,
    host: str,
    path: str,
    headers: dict[str, str],
    model: str | None,
) -> str | None:
    """Score every combination of every endpoint, take the best."""
    best: tuple[Any, str] | None = None
    for order, candidate in enumerate(endpoints):
        match = candidate.match
        if not set(match.headers) <= set(headers.items()):
            continue
        for pattern in match.hosts or ("*",):
            for prefix in match.paths or ("",):
                for wanted in match.models or (None,):
                    scores = (
                        _host_score(pattern, host),
                        _path_score(prefix, path),
                        len(match.headers),
                        _model_score(wanted, model),
                        -order,
                    )
                    if None not in scores and (best is None or scores > best[0]):
                        best = (scores, candidate.name)
    return best[1] if best else None


@settings(max_examples=400)
@given(
    st.lists(_matches, max_size=8),
    st.sampled_from(["a.test", "b.a.test", "c.b.a.test", "x.test", "test", "other", ""]),
    st.sampled_from(["/", "/v1", "/v1/", "/v1/chat", "/v1/chat/x", "/v1/chats", "/v10/x"]),
    _headers,
    st.sampled_from([None, "m", "m1", "m2", "mm1", "z", ""]),
)
def test_agrees_with_a_naive_matcher(
    matches: list[Match], host: str, path: str, headers: dict[str, str], model: str | None
) -> None:
    backend = StaticBackend((("127.0.0.1", 1),))
    table = [Endpoint(f"e{i}", backend, match=match) for i, match in enumerate(matches)]
    expected = _naive(table, host=host, path=path, headers=headers, model=model)
    assert found(table, host=host, path=path, headers=headers, model=model) == expected


@pytest.mark.parametrize(
    ("match", "request_"),
    [
        (lambda i: {"hosts": (f"h{i}.test",)}, {"host": "h9999.test"}),
        (lambda i: {"hosts": (f"*.h{i}.test",)}, {"host": "x.h9999.test"}),
        (lambda i: {"paths": (f"/models/{i}",)}, {"path": "/models/9999/v1"}),
        (lambda i: {"headers": (("x-tenant", str(i)),)}, {"tenant": "9999"}),
        (lambda i: {"models": (f"m{i}",)}, {"model": "m9999"}),
        (lambda i: {"models": (f"m-{i}-*",)}, {"model": "m-9999-x"}),
    ],
    ids=["hosts", "wildcards", "paths", "headers", "models", "model wildcards"],
)
def test_ten_thousand_endpoints_cost_no_search(match: Any, request_: dict[str, str]) -> None:
    table = RouteTable([endpoint(f"e{i}", **match(i)) for i in range(10_000)])
    headers = {"x-tenant": request_.get("tenant", "")}.get

    def once() -> Routed | None:
        return table.match(
            host=request_.get("host", "x.test"),
            path=request_.get("path", "/"),
            headers=headers,
            model=request_.get("model"),
        )

    took = []
    for _ in range(20):
        began = time.perf_counter()
        routed = once()
        took.append(time.perf_counter() - began)
        assert routed is not None
        assert routed.endpoint.name == "e9999"
    assert min(took) < 100e-6  # a search over 10 000 would take a millisecond and more


def test_candidates_are_all_that_could_match_a_host_and_path_best_first() -> None:
    table = RouteTable(
        [
            Endpoint("any", StaticBackend(())),
            Endpoint("wild", StaticBackend(()), match=Match(hosts=("*.example",))),
            Endpoint("model", StaticBackend(()), match=Match(hosts=("a.example",), models=("x",))),
            Endpoint(
                "headers",
                StaticBackend(()),
                match=Match(hosts=("a.example",), headers=(("x-team", "ml"),)),
            ),
            Endpoint("under", StaticBackend(()), match=Match(hosts=("a.example",), paths=("/p",))),
            Endpoint("elsewhere", StaticBackend(()), match=Match(hosts=("b.example",))),
        ]
    )

    def names(path: str) -> list[str]:
        return [each.endpoint.name for each in table.candidates(host="a.example", path=path)]

    assert names("/p/x") == ["under", "headers", "model", "wild", "any"]
    assert names("/px") == ["headers", "model", "wild", "any"]


def test_a_model_is_needed_only_where_it_makes_a_difference() -> None:
    named = Endpoint("named", StaticBackend(()), match=Match(hosts=("a.example",), models=("x",)))
    known = Endpoint("known", StaticBackend(()), match=Match(hosts=("b.example",)))
    table = RouteTable([named, known])

    def unread(host: str) -> Routed | None:
        return table.match(host=host, path="/", headers=no_headers, model=UNREAD)

    assert table.names_models
    assert not RouteTable([known]).names_models
    decided = unread("b.example")
    assert decided is not None
    assert decided.endpoint is known
    assert unread("c.example") is None
    with pytest.raises(ModelNeeded):
        unread("a.example")


@pytest.mark.parametrize(
    ("asked", "upstream", "name"),
    [
        ("llama-8b", None, "llama-8b"),
        ("lora-x", None, "lora-x"),
        ("gpt-4", None, "llama-8b"),
        ("gpt-4", "other", "other"),
        ("lora-x", "other", "other"),
    ],
)
def test_a_replica_is_asked_by_the_name_it_knows(
    asked: str, upstream: str | None, name: str
) -> None:
    endpoint = Endpoint(
        "e",
        StaticBackend(()),
        match=Match(models=("lora-*", "llama-8b")),
        aliases=("gpt-4",),
        upstream_model=upstream,
    )

    assert replica_model(endpoint, asked) == name


def test_an_alias_is_a_name_like_the_others() -> None:
    aliased = Endpoint("e", StaticBackend(()), match=Match(models=("m",)), aliases=("gpt-4",))
    table = RouteTable([aliased, Endpoint("any", StaticBackend(()), match=Match(models=("*",)))])

    for model, owner in (("m", "e"), ("gpt-4", "e"), ("gpt-5", "any")):
        routed = table.match(host="", path="/", headers=no_headers, model=model)
        assert routed is not None
        assert routed.endpoint.name == owner


def test_a_table_that_is_filled_in_steps_is_as_one_that_is_made_at_once() -> None:
    many = [
        *(endpoint(f"h{number}", hosts=(f"h{number}.test", "*.w.test")) for number in range(50)),
        *(endpoint(f"p{number}", paths=(f"/{number}",)) for number in range(50)),
        *(endpoint(f"m{number}", models=(f"m{number}", f"{number}-*")) for number in range(50)),
        endpoint("named", headers=(("x-a", "1"),)),
    ]
    table = RouteTable()
    steps = sum(1 for _ in table.fill(many))

    assert steps > 3 * len(many)
    assert table.names_models
    assert table.header_names == {"x-a"}
    for host, path, model in (
        ("h7.test", "/", None), ("a.w.test", "/", None), ("x.test", "/8/x", None),
        ("x.test", "/", "m9"), ("x.test", "/", "11-b"), ("x.test", "/", "other"),
    ):  # fmt: skip
        asked: dict[str, Any] = {"host": host, "path": path, "headers": no_headers}
        assert table.match(**asked, model=model) == RouteTable(many).match(**asked, model=model)
        candidates = list(table.candidates(host=host, path=path))
        assert candidates == list(RouteTable(many).candidates(host=host, path=path))
