"""Who may claim what by annotation, and who gets what two claim."""

from __future__ import annotations

import pytest

from activator.core.declarations import Allowance, Claim, Declaration, said, settle
from activator.core.endpoint import Endpoint, KubernetesBackend, Match, StaticBackend

EVERYTHING = Allowance(("*",), ("*",))
EVERYWHERE = {"models": EVERYTHING, "others": EVERYTHING}


def claim(
    name: str,
    *,
    created: str = "2026-01-01T00:00:00Z",
    namespace: str = "models",
    hosts: tuple[str, ...] | None = None,
    models: tuple[str, ...] = (),
    aliases: tuple[str, ...] = (),
    target: str = "",
    kind: str = "Deployment",
) -> Claim:
    of = Declaration("apps/v1", kind, namespace, name, f"{namespace}/{name}", created, ())
    backend = KubernetesBackend(namespace, "apps/v1", "Deployment", target or name, 8000)
    match = Match(hosts=(f"{name}.example",) if hosts is None else hosts, models=models)
    return Claim(of, Endpoint(of.endpoint, backend, match, aliases=aliases))


def refusal(*claims: Claim, allowance: Allowance = EVERYTHING) -> str:
    """Of the only one that is refused; empty: none is."""
    settled = settle(claims, taken=(), allowed={"models": allowance})
    return next(iter(settled.refused.values()), "")


def test_an_object_says_nothing_unless_it_is_enabled() -> None:
    assert said({"activator.dev/port": "80", "other.dev/enabled": "true"}) == ()
    assert said({"activator.dev/enabled": "false", "activator.dev/port": "80"}) == ()
    assert said({"activator.dev/enabled": "true", "x": "y", "activator.dev/port": "80"}) == (
        ("enabled", "true"),
        ("port", "80"),
    )


def test_the_marks_that_are_left_on_a_workload_are_not_what_it_says() -> None:
    marks = {"activator.dev/epoch": "7", "activator.dev/replicas": "2"}
    assert said({"activator.dev/enabled": "true", **marks}) == (("enabled", "true"),)


@pytest.mark.parametrize(
    ("hosts", "allowed"),
    [
        (("a.llm.example",), ("*.llm.example",)),
        (("*.team.llm.example",), ("*.llm.example",)),
        (("*.llm.example",), ("*.llm.example",)),
        (("x.example",), ("a.example", "x.example")),
        ((), ("*",)),
    ],
)
def test_hosts_within_the_allowance_may_be_claimed(
    hosts: tuple[str, ...], allowed: tuple[str, ...]
) -> None:
    assert not refusal(claim("a", hosts=hosts), allowance=Allowance(allowed, ("*",)))


@pytest.mark.parametrize(
    ("hosts", "allowed", "word"),
    [
        (("llm.example",), ("*.llm.example",), "host llm.example"),
        (("*.example",), ("*.llm.example",), "host *.example"),
        (("xllm.example",), ("*.llm.example",), "host xllm.example"),
        (("a.llm.example", "b.example"), ("*.llm.example",), "host b.example"),
        ((), ("*.llm.example",), "every host"),
        (("a.example",), (), "host a.example"),
    ],
)
def test_hosts_beyond_the_allowance_are_refused_by_name(
    hosts: tuple[str, ...], allowed: tuple[str, ...], word: str
) -> None:
    assert refusal(claim("a", hosts=hosts), allowance=Allowance(allowed, ("*",))) == (
        f"namespace models may not claim {word} (`sources.kubernetes.allow`)"
    )


@pytest.mark.parametrize(
    ("models", "aliases", "allowed", "word"),
    [
        (("team-a",), (), ("team-*",), ""),
        (("team-a-*",), (), ("team-*",), ""),
        (("team-a-x",), (), ("team-*-x",), ""),
        (("team-x",), (), ("team-*-x",), "model team-x"),
        (("te*",), (), ("team-*",), "model te*"),
        (("*",), (), ("team-*",), "every model"),
        (("team-a",), ("gpt-4",), ("team-*",), "model gpt-4"),
        ((), (), ("team-*",), "every model"),
        ((), (), ("*",), ""),
    ],
)
def test_models_and_aliases_may_be_claimed_as_far_as_they_are_allowed(
    models: tuple[str, ...], aliases: tuple[str, ...], allowed: tuple[str, ...], word: str
) -> None:
    told = refusal(claim("a", models=models, aliases=aliases), allowance=Allowance(("*",), allowed))
    assert word in told if word else not told


def test_a_namespace_of_which_nothing_is_said_may_claim_nothing() -> None:
    settled = settle([claim("a", namespace="others")], taken=(), allowed={"models": EVERYTHING})
    assert settled.endpoints == []
    assert "namespace others may not claim" in next(iter(settled.refused.values()))


def test_of_two_that_claim_the_same_the_oldest_wins_whatever_the_order() -> None:
    older = claim("b", hosts=("x.example",), created="2025-12-31T23:59:59Z")
    younger = claim("a", hosts=("x.example",))
    for claims in ([older, younger], [younger, older]):
        settled = settle(claims, taken=(), allowed=EVERYWHERE)
        assert settled.endpoints == [older.endpoint]
        assert settled.refused == {
            younger.declaration: "host x.example is endpoint `models.b`, which was there before"
        }


def test_of_the_same_age_namespace_and_name_decide() -> None:
    one, other = (
        claim("z", hosts=("x.example",)),
        claim("a", hosts=("x.example",), namespace="others"),
    )
    assert settle([other, one], taken=(), allowed=EVERYWHERE).endpoints == [one.endpoint]


def test_who_lost_takes_nothing_from_those_after_it() -> None:
    first = claim("a", hosts=("x.example",), created="1")
    loser = claim("b", hosts=("x.example", "y.example"), created="2")
    third = claim("c", hosts=("y.example",), created="3")
    settled = settle([first, loser, third], taken=(), allowed=EVERYWHERE)
    assert settled.endpoints == [first.endpoint, third.endpoint]


def test_the_file_wins_over_the_oldest() -> None:
    mine = Endpoint("mine", StaticBackend((("127.0.0.1", 1),)), Match(hosts=("a.example",)))
    settled = settle([claim("a", created="0")], taken=[mine], allowed=EVERYWHERE)
    assert settled.endpoints == []
    assert "endpoint `mine`" in next(iter(settled.refused.values()))


def test_one_workload_is_not_scaled_for_two() -> None:
    told = refusal(claim("a"), claim("svc", target="a", created="2026-02", kind="Service"))
    assert told == "Deployment/a is scaled for endpoint `models.a` already, which was there before"


def test_two_kinds_of_one_name_are_one_endpoint() -> None:
    told = refusal(
        claim("a"),
        claim("a", kind="StatefulSet", created="2026-02", hosts=("o.example",), target="o"),
    )
    assert told == "`models.a` is the name of another endpoint, which was there before"
