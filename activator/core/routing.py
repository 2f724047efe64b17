"""Which endpoint a request belongs to: precedence over hosts, paths, headers and models.

Decides by looking up, never by searching: the cost of a match does not grow with the number of
endpoints. Reads normal forms (`targets`); reading them off a request is the proxy's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Final

from activator.core.endpoint import Balance
from activator.core.targets import is_under, normal_host, normal_path, without_prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from activator.core.endpoint import Endpoint, NeverWake

__all__ = [
    "UNREAD",
    "Combination",
    "ModelNeeded",
    "RouteTable",
    "Routed",
    "combinations",
    "duplicates",
    "fits",
    "is_blocked",
    "never_wake",
    "normal_host",
    "normal_path",
    "replica_model",
    "replica_path",
    "without_prefix",
]

UNREAD: Final = "\0unread"
"""A model: which one is asked for has not been read yet."""
_ANY_HOST = "*"
_EXACT_MODEL = 1 << 40
_Headers = tuple[tuple[str, str], ...]
Combination = tuple[str, str, _Headers, str | None]
"""Host, path prefix, headers and model: of two endpoints only one can have it."""


@dataclass(frozen=True, slots=True)
class Routed:
    """An endpoint, and the path prefix by which it was found ("" for any path)."""

    endpoint: Endpoint
    prefix: str


class ModelNeeded(Exception):
    """It depends on the model (`UNREAD`) which endpoint a request belongs to, or whether any."""


class RouteTable:
    """Finds the endpoint of a request.

    Precedence: exact host, then wildcards (`*.b.c` before `*.c`; any depth below, not the name
    itself), then any host; within a host the longest path prefix on segment boundaries; within a
    prefix most headers; then the model named exactly, then the wildcard with most literal
    characters, then endpoints that name no model; then whoever was declared first.

    Each level falls back to the next: no fitting headers or model under the longest prefix leads
    to the next shorter one, and no fitting prefix under an exact host leads to its wildcards and
    to any host. So precedence only orders the endpoints that match: adding an endpoint takes
    away the requests that fit it better, and never turns the others into 404 (as in Gateway API
    and KEDA's HTTP add-on; nginx, which stops at the host, makes one path claim a whole host).
    """

    def __init__(self, endpoints: Sequence[Endpoint] = ()) -> None:
        self._exact: dict[str, _Host] = {}
        self._wild: dict[str, _Host] = {}
        self._suffix_sizes: list[int] = []
        self._everywhere = _Host()
        self.names_models = False
        """Whether a request's model can matter at all."""
        self.likes_prompts = False
        """Whether it can matter how a prompt begins."""
        self.header_names: frozenset[str] = frozenset()
        """Of headers that can matter, by route or affinity."""
        for _ in self.fill(endpoints):
            pass

    def fill(self, endpoints: Sequence[Endpoint]) -> Iterator[None]:
        """The same of an empty one, in steps: thousands of endpoints take a while. Nothing can be
        found before the last."""
        hosts: dict[str, list[_Rule]] = {_ANY_HOST: []}
        for rule in _rules(endpoints):
            hosts.setdefault(rule.host, []).append(rule)
            yield
        header_names: set[str] = set()
        for each in endpoints:
            self.names_models |= bool(each.match.models or each.aliases)
            self.likes_prompts |= each.balance is Balance.PREFIX_HASH
            header_names.update(name for name, _ in each.match.headers)
            if each.affinity_header is not None:
                header_names.add(each.affinity_header)
            yield
        self.header_names = frozenset(header_names)
        for host, rules in hosts.items():
            if host == _ANY_HOST:
                made = self._everywhere
            elif host.startswith("*."):
                made = self._wild[host[1:]] = _Host()
            else:
                made = self._exact[host] = _Host()
            yield from made.fill(rules)
        self._suffix_sizes = sorted({len(suffix) for suffix in self._wild}, reverse=True)

    def match(
        self,
        *,
        host: str,
        path: str,
        headers: Callable[[str], str | None],
        model: str | None = None,
    ) -> Routed | None:
        """`host` and `path` in normal form; `headers` tells a value by its lower-case name.

        Without a `model`, endpoints that ask for one do not match. None: nothing matches.
        Raises ModelNeeded if it is UNREAD and makes a difference.
        """
        known = self._exact.get(host)
        if known is not None:
            found = known.find(path, headers, model)
            if found is not None:
                return found
        for size in self._suffix_sizes:
            if size < len(host):
                known = self._wild.get(host[-size:])
                if known is not None:
                    found = known.find(path, headers, model)
                    if found is not None:
                        return found
        return self._everywhere.find(path, headers, model)

    def candidates(self, *, host: str, path: str) -> Iterator[Routed]:
        """Whatever could match this host and path, were the headers and the model right; in order
        of precedence, an endpoint once for each of its prefixes."""
        hosts = [self._exact.get(host)]
        hosts += (self._wild.get(host[-size:]) for size in self._suffix_sizes if size < len(host))
        for known in (*hosts, self._everywhere):
            if known is not None:
                yield from known.candidates(path)


def duplicates(endpoints: Iterable[Endpoint]) -> list[tuple[Endpoint, Endpoint]]:
    """Pairs that claim one and the same combination of host, prefix, headers and model.

    The first of a pair was declared first; a pair is told once, however much it shares.
    """
    owners: dict[Combination, Endpoint] = {}
    pairs: dict[tuple[str, str], tuple[Endpoint, Endpoint]] = {}
    for endpoint in endpoints:
        for key in combinations(endpoint):
            owner = owners.setdefault(key, endpoint)
            if owner is not endpoint:
                pairs.setdefault((owner.name, endpoint.name), (owner, endpoint))
    return list(pairs.values())


def combinations(endpoint: Endpoint) -> Iterator[Combination]:
    """Every one that it claims."""
    for rule in _rules([endpoint]):
        yield rule.host, rule.prefix, rule.headers, rule.model


def replica_path(routed: Routed, path: str) -> str:
    """The normal path as the replica will see it: less the prefix where that is stripped."""
    if routed.prefix and routed.endpoint.strip_prefix:
        return path[len(routed.prefix) :] or "/"
    return path


def replica_model(endpoint: Endpoint, model: str) -> str:
    """What the endpoint's replicas call the model that was asked for: an alias stands for the
    first name that `match.models` spells out."""
    if endpoint.upstream_model is not None:
        return endpoint.upstream_model
    if model in endpoint.aliases:
        return next((name for name in endpoint.match.models if "*" not in name), model)
    return model


def fits(model: str, pattern: str) -> bool:
    """Whether a name of `match.models` covers this model."""
    parts = pattern.split("*")
    return _fits(model, parts) if len(parts) > 1 else model == pattern


def is_blocked(endpoint: Endpoint, path: str) -> bool:
    """Whether `path` (`replica_path`) or one above it is not served to clients."""
    blocked_paths = endpoint.block_paths
    return path.startswith(blocked_paths) and any(
        is_under(path, blocked) for blocked in blocked_paths
    )


def never_wake(endpoint: Endpoint, path: str) -> NeverWake | None:
    """What answers exactly this `path` (`replica_path`) while nothing is ready, if anything."""
    for quiet in endpoint.never_wake:
        if quiet.path == path:
            return quiet
    return None


@dataclass(frozen=True, slots=True)
class _Rule:
    """One combination that an endpoint claims."""

    host: str
    prefix: str
    headers: _Headers
    model: str | None
    endpoint: Endpoint
    order: int


def _rules(endpoints: Iterable[Endpoint]) -> Iterator[_Rule]:
    for order, endpoint in enumerate(endpoints):
        match = endpoint.match
        headers = tuple(sorted(match.headers))
        prefixes = dict.fromkeys(path.rstrip("/") for path in match.paths or ("",))
        hosts = match.hosts or (_ANY_HOST,)
        models = dict.fromkeys((*(match.models or (None,)), *endpoint.aliases))
        for host, prefix, model in product(hosts, prefixes, models):
            yield _Rule(host, prefix, headers, model, endpoint, order)


@dataclass(frozen=True, slots=True)
class _Hit:
    routed: Routed
    headers: int
    rank: int
    """How exactly the model was named; 0: the endpoint names none."""
    order: int

    @classmethod
    def of(cls, rule: _Rule, rank: int) -> _Hit:
        return cls(Routed(rule.endpoint, rule.prefix), len(rule.headers), rank, rule.order)

    def beats(self, other: _Hit) -> bool:
        return (self.rank, -self.order) > (other.rank, -other.order)


class _Host:
    """The prefixes under one host, found by their lengths, longest first."""

    __slots__ = ("_by_prefix", "_sizes", "_whole")

    def __init__(self) -> None:
        self._whole = _Prefix()
        self._by_prefix: dict[str, _Prefix] = {}
        self._sizes: tuple[int, ...] = ()

    def fill(self, rules: Sequence[_Rule]) -> Iterator[None]:
        grouped: dict[str, list[_Rule]] = {}
        for rule in rules:
            grouped.setdefault(rule.prefix, []).append(rule)
            yield
        yield from self._whole.fill(grouped.pop("", ()))
        for prefix, group in grouped.items():
            made = self._by_prefix[prefix] = _Prefix()
            yield from made.fill(group)
        self._sizes = tuple(sorted({len(prefix) for prefix in grouped}, reverse=True))

    def find(
        self, path: str, headers: Callable[[str], str | None], model: str | None
    ) -> Routed | None:
        end = len(path)
        for size in self._sizes:
            if size == end or (size < end and path[size] == "/"):
                known = self._by_prefix.get(path[:size])
                if known is not None:
                    found = known.find(headers, model)
                    if found is not None:
                        return found
        return self._whole.find(headers, model)

    def candidates(self, path: str) -> Iterator[Routed]:
        end = len(path)
        for size in self._sizes:
            if size == end or (size < end and path[size] == "/"):
                known = self._by_prefix.get(path[:size])
                if known is not None:
                    yield from known.candidates
        yield from self._whole.candidates


class _Prefix:
    """What is declared for one prefix of one host: by header names, then by their values."""

    __slots__ = ("_by_names", "_only", "candidates")

    def __init__(self) -> None:
        self._only: Routed | None = None
        self._by_names: tuple[
            tuple[tuple[str, ...], dict[tuple[str | None, ...], _Models]], ...
        ] = ()
        self.candidates: tuple[Routed, ...] = ()

    def fill(self, rules: Sequence[_Rule]) -> Iterator[None]:
        if len(rules) == 1 and not rules[0].headers and rules[0].model is None:
            # as nearly all of thousands of endpoints
            self._only = Routed(rules[0].endpoint, rules[0].prefix)
            self.candidates = (self._only,)
        elif rules:
            yield from self._sort(rules)
        yield

    def _sort(self, rules: Sequence[_Rule]) -> Iterator[None]:
        # they come in order: only who asks for more headers comes before
        ordered = sorted(rules, key=lambda rule: -len(rule.headers))
        candidates: dict[str, Routed] = {}
        grouped: dict[tuple[str, ...], dict[tuple[str | None, ...], list[_Rule]]] = {}
        for rule in ordered:
            candidates[rule.endpoint.name] = Routed(rule.endpoint, rule.prefix)
            names = tuple(name for name, _ in rule.headers)
            values = tuple(value for _, value in rule.headers)
            grouped.setdefault(names, {}).setdefault(values, []).append(rule)
            yield
        self.candidates = tuple(candidates.values())
        by_names: list[tuple[tuple[str, ...], dict[tuple[str | None, ...], _Models]]] = []
        for names, by_values in grouped.items():
            models: dict[tuple[str | None, ...], _Models] = {}
            for asked, group in by_values.items():
                models[asked] = _Models()
                yield from models[asked].fill(group)
            by_names.append((names, models))
        self._by_names = tuple(by_names)

    def find(self, headers: Callable[[str], str | None], model: str | None) -> Routed | None:
        if self._only is not None:
            return self._only
        best: _Hit | None = None
        for names, by_values in self._by_names:
            if best is not None and len(names) < best.headers:
                break
            known = by_values.get(tuple(map(headers, names)))
            hit = known.find(model) if known is not None else None
            if hit is not None and (best is None or hit.beats(best)):
                best = hit
        return best.routed if best is not None else None


class _Models:
    """The endpoints that differ in nothing but the model they are asked for by."""

    __slots__ = ("_any", "_by_start", "_exact", "_named", "_patterns", "_sizes")

    def __init__(self) -> None:
        self._any: _Hit | None = None
        self._exact: dict[str, _Hit] = {}
        self._by_start: dict[str, _Hit] = {}
        self._sizes: tuple[int, ...] = ()
        self._patterns: tuple[tuple[list[str], _Hit], ...] = ()
        self._named = False

    def fill(self, rules: Sequence[_Rule]) -> Iterator[None]:
        patterns: list[tuple[list[str], _Hit]] = []
        for rule in rules:
            yield
            if rule.model is None:
                self._any = self._any or _Hit.of(rule, 0)
                continue
            parts = rule.model.split("*")
            literal = sum(map(len, parts)) + 1
            if len(parts) == 1:
                self._exact.setdefault(rule.model, _Hit.of(rule, _EXACT_MODEL))
            elif len(parts) == 2 and not parts[1]:
                self._by_start.setdefault(parts[0], _Hit.of(rule, literal))
            else:
                patterns.append((parts, _Hit.of(rule, literal)))
        self._sizes = tuple(sorted({len(start) for start in self._by_start}, reverse=True))
        self._patterns = tuple(sorted(patterns, key=lambda item: -item[1].rank))
        self._named = any(rule.model is not None for rule in rules)

    def find(self, model: str | None) -> _Hit | None:
        if model is None or not self._named:
            return self._any
        if model is UNREAD:
            raise ModelNeeded
        exact = self._exact.get(model)
        if exact is not None:
            return exact
        best = self._longest_start(model)
        for parts, hit in self._patterns:
            if best is not None and hit.rank < best.rank:
                break
            if _fits(model, parts) and (best is None or hit.beats(best)):
                best = hit
        return best or self._any

    def _longest_start(self, model: str) -> _Hit | None:
        for size in self._sizes:
            if size <= len(model):
                hit = self._by_start.get(model[:size])
                if hit is not None:
                    return hit
        return None


def _fits(text: str, parts: Sequence[str]) -> bool:
    """Whether `text` is the parts in this order with anything between them."""
    first, *middle, last = parts
    if len(text) < len(first) + len(last) or not text.startswith(first):
        return False
    if not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in middle:
        at = text.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True
