"""Endpoints that objects of a cluster declare by annotation: who may claim what, and who wins.

Decides what an object says about itself, what its namespace may claim, and which of two that claim
the same gets it. What the words mean as an endpoint is `config.annotations`' business.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from activator.core.endpoint import KubernetesBackend
from activator.core.routing import combinations
from activator.core.targets import is_host_within

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from activator.core.endpoint import Endpoint
    from activator.core.routing import Combination

PREFIX: Final = "activator.dev/"
ENABLED: Final = "enabled"
EPOCH: Final = PREFIX + "epoch"
"""Changed by whoever revives an endpoint: orders that were prepared before are refused."""
REMEMBERED: Final = PREFIX + "replicas"
"""How many ran before the last order for none."""
_OURS = (EPOCH, REMEMBERED)

Said = tuple[tuple[str, str], ...]
"""Annotations without their prefix, in the order of their names."""


def said(annotations: Mapping[str, str]) -> Said:
    """What an object says about an endpoint; empty: it declares none."""
    found = {
        name.removeprefix(PREFIX): value
        for name, value in annotations.items()
        if name.startswith(PREFIX) and name not in _OURS
    }
    # a workload may be another's target and say no word of its own; `false` is for a while off
    if found.get(ENABLED, "false") == "false":
        return ()
    return tuple(sorted(found.items()))


@dataclass(frozen=True, slots=True)
class Declaration:
    """An object that says it is an endpoint, or names the workload of one."""

    group_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    created: str
    """As the cluster writes it, which sorts by age."""
    said: Said

    @property
    def endpoint(self) -> str:
        """How its endpoint is called: no namespace has a `.` in its name."""
        return f"{self.namespace}.{self.name}"

    def __str__(self) -> str:
        return f"{self.kind}/{self.name} in namespace {self.namespace}"


@dataclass(frozen=True, slots=True)
class Allowance:
    """What the objects of one namespace may claim; nothing said is nothing allowed."""

    hosts: tuple[str, ...] = ()
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    declaration: Declaration
    endpoint: Endpoint

    @property
    def age(self) -> tuple[str, str, str, str]:
        """Oldest first."""
        it = self.declaration
        return it.created, it.namespace, it.name, it.kind


@dataclass(slots=True)
class Settled:
    endpoints: list[Endpoint] = field(default_factory=list)
    """Oldest first."""
    refused: dict[Declaration, str] = field(default_factory=dict)
    """And why, for whoever made it."""


def settle(
    claims: Iterable[Claim],
    *,
    taken: Sequence[Endpoint],
    allowed: Mapping[str, Allowance],
) -> Settled:
    """`taken`: declared elsewhere, which always wins. `allowed` by namespace."""
    settled = Settled()
    for _ in settling(claims, settled, taken=taken, allowed=allowed):
        pass
    return settled


def settling(
    claims: Iterable[Claim],
    settled: Settled,
    *,
    taken: Sequence[Endpoint],
    allowed: Mapping[str, Allowance],
) -> Iterator[None]:
    """As `settle` in steps, of thousands of them."""
    owners = _Owners()
    oldest_first = sorted(claims, key=lambda each: each.age)
    for endpoint in taken if oldest_first else ():
        owners.give(endpoint)
        yield
    for claim in oldest_first:
        yield
        endpoint, of = claim.endpoint, claim.declaration
        excess = next(_beyond(endpoint, allowed.get(of.namespace, Allowance())), "")
        if excess:
            why = f"namespace {of.namespace} may not claim {excess} (`sources.kubernetes.allow`)"
        else:
            why = owners.why_not(endpoint)
        if why:
            settled.refused[of] = why
        else:
            owners.give(endpoint)
            settled.endpoints.append(endpoint)


class _Owners:
    """What each endpoint has that no other can have."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._combinations: dict[Combination, str] = {}
        self._workloads: dict[tuple[str, str, str, str], str] = {}

    def why_not(self, endpoint: Endpoint) -> str:
        """Empty: nobody has what it claims."""
        if endpoint.name in self._names:
            return f"`{endpoint.name}` is the name of another endpoint, which was there before"
        for combination in combinations(endpoint):
            owner = self._combinations.get(combination)
            if owner is not None:
                return f"{_in_words(combination)} is endpoint `{owner}`, which was there before"
        workload = _workload(endpoint)
        if workload in self._workloads:
            kind, name = workload[2:]
            return (
                f"{kind}/{name} is scaled for endpoint `{self._workloads[workload]}` already, which"
                " was there before"
            )
        return ""

    def give(self, endpoint: Endpoint) -> None:
        self._names.add(endpoint.name)
        for combination in combinations(endpoint):
            self._combinations.setdefault(combination, endpoint.name)
        workload = _workload(endpoint)
        if any(workload):
            self._workloads.setdefault(workload, endpoint.name)


def _workload(endpoint: Endpoint) -> tuple[str, str, str, str]:
    match endpoint.backend:
        case KubernetesBackend() as it:
            return it.namespace, it.group_version, it.kind, it.name
    return "", "", "", ""


def _in_words(combination: Combination) -> str:
    host, prefix, headers, model = combination
    words = [f"host {host}" if host != "*" else "any host"]
    words += [f"path {prefix}"] if prefix else []
    words += [f"header {name}: {value}" for name, value in headers]
    words += [f"model {model}"] if model is not None else []
    return ", ".join(words)


def _beyond(endpoint: Endpoint, allowance: Allowance) -> Iterator[str]:
    """What it claims and may not. One that names no host is there for all of them, and one that
    names no model takes whatever model is asked for where it is."""
    for host in endpoint.match.hosts or ("*",):
        if not any(is_host_within(host, pattern) for pattern in allowance.hosts):
            yield f"host {host}" if host != "*" else "every host"
    models = (*endpoint.match.models, *endpoint.aliases)
    for model in models if endpoint.match.models else ("*", *endpoint.aliases):
        if not any(_covers(pattern, model) for pattern in allowance.models):
            yield f"model {model}" if model != "*" else "every model"


def _covers(pattern: str, model: str) -> bool:
    """Whether every name that `model` (with `*` perhaps) stands for is one of `pattern`'s."""
    before, star, after = pattern.partition("*")
    if not star:
        return model == pattern
    if "*" in after:
        return model == pattern  # two stars: not compared any further
    long_enough = len(model.replace("*", "")) >= len(before) + len(after)
    return long_enough and model.startswith(before) and model.endswith(after)
