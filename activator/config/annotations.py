"""Annotations of an object in a cluster → an endpoint, by the keys and rules of the file.

Decides which annotation is which key, and what of an endpoint may be said there at all: what is
not in the table (other backends, names, files) is the file's alone. What values may be is decided
where the file's are; whatever is wrong is told by the annotation's name.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from activator.config.decode import plain
from activator.config.problems import Problems, nearest, spelled
from activator.config.reading import Reader
from activator.config.tree import Items, Table, without
from activator.core.declarations import ENABLED, PREFIX

if TYPE_CHECKING:
    from pathlib import Path

    from activator.config.problems import Loc
    from activator.core.declarations import Declaration
    from activator.core.endpoint import Endpoint


class Form(Enum):
    """How a value is written, where all there is is text."""

    TEXT = auto()
    WORD = auto()
    """A number, `true`, `false`, or text such as `10m`: as unquoted in a file."""
    LIST = auto()
    """Separated by commas."""


KEYS: Final[dict[str, tuple[Loc, Form]]] = {
    "hosts": (("match", "hosts"), Form.LIST),
    "paths": (("match", "paths"), Form.LIST),
    "models": (("match", "models"), Form.LIST),
    "aliases": (("aliases",), Form.LIST),
    "strip-prefix": (("stripPrefix",), Form.WORD),
    "dialect": (("dialect",), Form.TEXT),
    "upstream-model": (("upstreamModel",), Form.TEXT),
    "target": (("backend", "target"), Form.TEXT),
    "port": (("backend", "port"), Form.WORD),
    "service": (("backend", "service"), Form.TEXT),
    "probe-path": (("probe", "path"), Form.TEXT),
    "probe-port": (("probe", "port"), Form.WORD),
    "probe-interval": (("probe", "interval"), Form.WORD),
    "probe-ready-interval": (("probe", "readyInterval"), Form.WORD),
    "probe-timeout": (("probe", "timeout"), Form.WORD),
    "min": (("scale", "min"), Form.WORD),
    "max": (("scale", "max"), Form.WORD),
    "idle-timeout": (("scale", "idleTimeout"), Form.WORD),
    "start-timeout": (("scale", "startTimeout"), Form.WORD),
    "target-concurrency": (("scale", "targetConcurrency"), Form.WORD),
    "down-delay": (("scale", "downDelay"), Form.WORD),
    "upgrade-idle": (("scale", "upgradeIdle"), Form.WORD),
    "owner": (("scale", "owner"), Form.TEXT),
    "concurrency": (("concurrency",), Form.WORD),
    "queue-max-requests": (("queue", "maxRequests"), Form.WORD),
    "queue-max-bytes": (("queue", "maxBytes"), Form.WORD),
    "queue-timeout": (("queue", "timeout"), Form.WORD),
    "queue-buffer-bytes": (("queue", "bufferBytes"), Form.WORD),
    "queue-age": (("queue", "age"), Form.WORD),
    "queue-best-urgency": (("queue", "bestUrgency"), Form.WORD),
    "timeout-connect": (("timeouts", "connect"), Form.WORD),
    "timeout-first-byte": (("timeouts", "firstByte"), Form.WORD),
    "timeout-idle": (("timeouts", "idle"), Form.WORD),
    "timeout-total": (("timeouts", "total"), Form.WORD),
    "balance": (("balance",), Form.TEXT),
    "affinity-header": (("affinity", "header"), Form.TEXT),
    "heartbeat": (("heartbeat",), Form.WORD),
    "keep-alive-whitespace": (("keepAliveWhitespace",), Form.WORD),
    "stall": (("stall",), Form.WORD),
    "block-paths": (("blockPaths",), Form.LIST),
    "waiting-page": (("waitingPage",), Form.WORD),
    "cost-per-replica-hour": (("costPerReplicaHour",), Form.WORD),
}
_FILES_OWN: Final = (("fallback",),)
"""Of the defaults: where the file's endpoints send requests, and with which key, is not meant for
whoever may annotate something."""
_NAMES: Final = {loc: name for name, (loc, _) in KEYS.items()}

_SERVICE: Final = "Service"
_LINE: Final = 1
"""Of everything: annotations have no lines."""


def read_declaration(declaration: Declaration, *, defaults: Table, base: Path) -> Endpoint:
    """`defaults` as in a file in `base`. Raises ConfigError with every problem, each by its
    annotation."""
    problems = Problems(None, spell=_by_annotation)
    tree = Table(_LINE)
    _put(tree, ("name",), declaration.endpoint)
    _put(tree, ("backend", "type"), "kubernetes")
    _put(tree, ("backend", "namespace"), declaration.namespace)
    is_service = declaration.kind == _SERVICE
    if is_service:
        _put(tree, ("backend", "service"), declaration.name)
    else:
        _put(tree, ("backend", "target"), f"{declaration.kind}/{declaration.name}")
    for name, text in declaration.said:
        if name == ENABLED:
            if text != "true":
                problems.add(_LINE, PREFIX + name, 'is "true" or "false"')
        elif name not in KEYS:
            problems.add(_LINE, PREFIX + name, _unknown(name))
        elif name == ("service" if is_service else "target"):
            problems.add(_LINE, PREFIX + name, f"is the {declaration.kind} itself")
        else:
            loc, form = KEYS[name]
            _put(tree, loc, _read(text.strip(), form))
    # nothing here refers to a file or a variable; the defaults may
    reader = Reader(tree, base=base, environ={}, problems=problems)
    return reader.read_endpoint(tree, defaults=without(defaults, _FILES_OWN))


def _put(tree: Table, loc: Loc, value: object) -> None:
    *sections, key = map(str, loc)
    for section in sections:
        if section not in tree:
            tree.put(section, Table(_LINE), _LINE)
        tree = tree[section]
    tree.put(key, value, _LINE)


def _read(text: str, form: Form) -> object:
    match form:
        case Form.TEXT:
            return text
        case Form.WORD:
            return plain(text)
        case Form.LIST:
            items = Items(_LINE)
            items += [part for each in text.split(",") if (part := each.strip())]
            items.lines = [_LINE] * len(items)
            return items


def _unknown(name: str) -> str:
    close = nearest(name, KEYS)
    return f"is not known; did you mean `{PREFIX}{close}`?" if close else "is not known"


def _by_annotation(loc: Loc) -> str:
    for length in range(len(loc), 0, -1):
        name = _NAMES.get(loc[:length])
        if name is not None:
            return PREFIX + name
    return "the object's name" if loc == ("name",) else spelled(loc)
