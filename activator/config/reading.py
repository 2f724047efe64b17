"""One document → checked sections and the core's endpoints, collecting everything that is wrong.

Decides the order: keys and values first, then what they mean together, then what they name
outside the file. The steps themselves live in `schema`, `rules`, `build`.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from activator.config import rules
from activator.config.build import build_endpoint
from activator.config.endpoint_schema import EndpointSection, Policy
from activator.config.fields import Section
from activator.config.references import is_reference, read_secret, resolve
from activator.config.schema import Document, RootKeys
from activator.config.store_url import Kind, StoreUrl, has_password, parse_store_url
from activator.config.templates import read_template
from activator.config.tree import Items, Table, merged, without
from activator.config.unhurried import empty, unhurried
from activator.core.routing import duplicates

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from activator.config.problems import Loc, Problems
    from activator.config.unhurried import Breathe
    from activator.core.endpoint import Endpoint

_S = TypeVar("_S", bound=Section)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Declared:
    """An endpoint as far as its keys are well-formed, and where they stand."""

    index: int
    keys: EndpointSection
    tree: Table
    """With the defaults merged in."""
    whole: bool
    """False: keys that were wrong have been left out, to find what else is wrong."""
    mark: bytes = b""
    """The same for whatever says the same."""

    @property
    def loc(self) -> Loc:
        return ("endpoints", self.index)


@dataclass(frozen=True, slots=True)
class Reading:
    """A document in which nothing is wrong."""

    root: RootKeys
    store_url: StoreUrl
    webhook_secret: str
    """Empty: there is none."""
    declared: list[Declared]
    endpoints: list[Endpoint]
    defaults: Table
    """What is merged under each endpoint."""
    templates: Mapping[Path, str]
    """Files of waiting pages that are named anywhere, with what they hold."""


class Reader:
    """Goes through one document; paths in it are relative to `base`."""

    def __init__(
        self,
        tree: Table,
        *,
        base: Path,
        environ: Mapping[str, str],
        problems: Problems,
        known: Mapping[bytes, EndpointSection] | None = None,
        breathe: Breathe | None = None,
    ) -> None:
        """`known`: endpoints in which nothing is wrong, by `Declared.mark`."""
        self._known = known or {}
        self._breathe = breathe
        self._tree = tree
        self._base = base
        self._environ = environ
        self._problems = problems

    def read(self) -> Reading:
        """Raises ConfigError with every problem that was found on the whole way."""
        root = self._root()
        defaults = self._defaults()
        declared = list(self._declared(defaults))
        whole = [each for each in declared if each.whole]
        built = [(each, made) for each in self._unhurried(whole) if (made := self._built(each))]
        self._check_names(declared)
        self._check_fallbacks(declared)
        self._check_matches(built)
        store_url = self._store_url(root) if root else None
        if store_url is not None and store_url.kind is Kind.LEASE:
            for each in declared:
                self._tell(each.tree, rules.lease_problems(each.keys), under=each.loc)
        secret = self._webhook_secret(root) if root else ""
        templates = self._templates(built, defaults)
        self._problems.raise_any()
        assert root is not None  # else there was a problem
        assert store_url is not None
        endpoints = [endpoint for _, endpoint in built]
        empty(built, self._breathe)
        return Reading(root, store_url, secret, declared, endpoints, defaults, templates)

    def read_endpoint(self, declaration: Table, *, defaults: Table) -> Endpoint:
        """One that is declared elsewhere than in a document. Raises ConfigError."""
        tree = merged(defaults, declaration)
        keys, wrong = self._validated(EndpointSection, tree)
        endpoint = None
        if keys is not None:
            self._tell(tree, rules.endpoint_problems(keys), wrong=wrong)
            endpoint = self._built(Declared(0, keys, tree, whole=not wrong))
        self._problems.raise_any()
        assert endpoint is not None  # else there was a problem
        return endpoint

    def _root(self) -> RootKeys | None:
        tree = Table(self._tree.line)
        for key, value in self._tree.items():
            if key not in ("defaults", "endpoints"):
                tree.put(key, value, self._tree.lines[key])
        root, wrong = self._validated(RootKeys, tree, suggest_from=Document)
        if root is not None:
            self._tell(tree, rules.root_problems(root), wrong=wrong)
            self._check_files(root)
        return root

    def _declared(self, defaults: Table) -> Iterator[Declared]:
        declarations = self._tree.get("endpoints")
        if not isinstance(declarations, Items):
            said = "is required" if declarations is None else "must be a list of endpoints"
            self._problems.at(self._tree, ("endpoints",), said)
            return
        for index, declaration in enumerate(self._unhurried(declarations)):
            under = ("endpoints", index)
            if not isinstance(declaration, Table):
                self._problems.at(self._tree, under, "must be a mapping of keys to values")
                continue
            tree = merged(defaults, declaration)
            mark = _mark(tree)
            known = self._known.get(mark)
            if known is not None:
                yield Declared(index, known, tree, whole=True, mark=mark)
                continue
            keys, wrong = self._validated(EndpointSection, tree, under=under)
            if keys is not None:
                self._tell(tree, rules.endpoint_problems(keys), under=under, wrong=wrong)
                yield Declared(index, keys, tree, whole=not wrong, mark=mark)

    def _defaults(self) -> Table:
        """What is merged under each endpoint: only keys that may stand there."""
        usable = Table(self._tree.line)
        defaults = self._tree.get("defaults")
        if defaults is None:
            return usable
        if not isinstance(defaults, Table):
            self._problems.at(self._tree, ("defaults",), "must be a mapping of keys to values")
            return usable
        under = ("defaults",)
        policy, wrong = self._validated(Policy, defaults, under=under)
        if policy is not None:
            self._tell(defaults, rules.policy_problems(policy), under=under, wrong=wrong)
        known = {field.alias for field in Policy.model_fields.values()}
        for key, value in defaults.items():
            if key in known:
                usable.put(key, value, defaults.lines[key])
        return usable

    def _built(self, declared: Declared) -> Endpoint | None:
        def problem(loc: Loc, said: str) -> None:
            self._problems.at(declared.tree, loc, said, under=declared.loc)

        return build_endpoint(
            declared.keys, base=self._base, environ=self._environ, problem=problem
        )

    def _check_names(self, declared: Iterable[Declared]) -> None:
        owners: dict[str, Declared] = {}
        for each in self._unhurried(declared):
            owner = owners.setdefault(each.keys.name, each)
            if owner is not each:
                line = owner.tree.lines["name"]
                said = f"`{each.keys.name}` is the endpoint on line {line} already"
                self._problems.at(each.tree, ("name",), said, under=each.loc)

    def _check_fallbacks(self, declared: Iterable[Declared]) -> None:
        others = {each.keys.name: each.keys for each in self._unhurried(declared)}
        for each in self._unhurried(declared):
            found = rules.fallback_problem(each.keys, others)
            if found is not None:
                self._problems.at(each.tree, found[0], found[1], under=each.loc)

    def _check_matches(self, built: Iterable[tuple[Declared, Endpoint]]) -> None:
        places = {id(endpoint): declared for declared, endpoint in self._unhurried(built)}
        for one, other in duplicates(self._unhurried([endpoint for _, endpoint in built])):
            first, second = places[id(one)], places[id(other)]
            said = f"the same match as `{one.name}` on line {first.tree.line}"
            self._problems.at(second.tree, ("match",), said, under=second.loc)

    def _unhurried(self, these: Iterable[_T]) -> Iterable[_T]:
        return unhurried(these, self._breathe)

    def _templates(
        self, built: Iterable[tuple[Declared, Endpoint]], defaults: Table
    ) -> dict[Path, str]:
        """Those of the defaults too: endpoints that are declared elsewhere have them."""
        found = {
            self._base / declared.keys.waiting_page_template: endpoint.page_template
            for declared, endpoint in self._unhurried(built)
            if declared.keys.waiting_page_template is not None
        }
        named = defaults.get("waitingPageTemplate")
        if isinstance(named, str) and self._base / named not in found:
            try:
                found[self._base / named] = read_template(self._base / named)
            except ValueError as error:
                loc = ("defaults", "waitingPageTemplate")
                self._problems.at(self._tree, loc, str(error))
        return found

    def _store_url(self, root: RootKeys) -> StoreUrl | None:
        text, loc = root.store.url, ("store", "url")
        try:
            if is_reference(text):
                text = resolve(text, environ=self._environ, base=self._base)
            elif has_password(text):
                said = "a password is never written here: use ${NAME} or file:PATH"
                self._problems.at(self._tree, loc, said)
                return None
            url = parse_store_url(text, base=self._base)
        except ValueError as error:
            self._problems.at(self._tree, loc, str(error))
            return None
        self._tell(self._tree, rules.store_url_problems(url))
        return url

    def _webhook_secret(self, root: RootKeys) -> str:
        if root.webhooks.secret is None:
            return ""
        try:
            return resolve(root.webhooks.secret, environ=self._environ, base=self._base)
        except ValueError as error:
            self._problems.at(self._tree, ("webhooks", "secret"), str(error))
            return ""

    def _check_files(self, root: RootKeys) -> None:
        tls = root.server.tls
        named: list[tuple[Loc, str | None]] = [
            (("auth", "apiKeysFile"), root.auth.api_keys_file),
            (("server", "tls", "certFile"), tls.cert_file if tls else None),
            (("server", "tls", "keyFile"), tls.key_file if tls else None),
        ]
        for loc, name in named:
            if name is None:
                continue
            path = self._base / name
            if not rules.is_readable(path):
                self._problems.at(self._tree, loc, f"{path} cannot be read")
        if root.auth.admin_token_file is not None:
            try:
                read_secret(self._base / root.auth.admin_token_file)
            except ValueError as error:  # an empty token would open to an empty one
                self._problems.at(self._tree, ("auth", "adminTokenFile"), str(error))

    def _validated(
        self,
        model: type[_S],
        tree: Table,
        *,
        under: Loc = (),
        suggest_from: type[Section] | None = None,
    ) -> tuple[_S | None, list[Loc]]:
        """The section, and which keys were wrong and left out of it (then it is only good for
        finding what else is wrong); None if it cannot do without them."""
        try:
            return model.model_validate(tree), []
        except ValidationError as error:
            wrong = self._problems.invalid(
                error, model=suggest_from or model, tree=tree, under=under
            )
        # a key that is missing cannot be left out, but what misses it can
        around = [loc[:-1] for loc in wrong if len(loc) > 1]
        for left_out in (wrong, [*wrong, *around]):
            try:
                return model.model_validate(without(tree, left_out)), left_out
            except ValidationError:
                continue
        return None, wrong

    def _tell(
        self,
        tree: Table,
        findings: Iterable[rules.Finding],
        *,
        under: Loc = (),
        wrong: Iterable[Loc] = (),
    ) -> None:
        doubtful = {loc[:-1] for loc in wrong if len(loc) > 1}
        for loc, said in findings:
            if loc[:-1] not in doubtful:  # a rule may have read a default for what was wrong
                self._problems.at(tree, loc, said, under=under)


def _mark(tree: Table) -> bytes:
    """Of what it says, wherever that stands."""
    return blake2b(repr(tree).encode(), digest_size=16).digest()
