"""Label selectors: which pods belong to a workload.

Both forms that the API has: an object (`matchLabels`, `matchExpressions`), and the text of a
scale's status (`app=x,tier in (a,b),!canary`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_SPLIT = re.compile(r",(?![^(]*\))")
_SET = re.compile(r"(\S+)\s+(in|notin)\s+\(([^)]*)\)")


@dataclass(frozen=True, slots=True)
class Requirement:
    key: str
    values: frozenset[str] = frozenset()
    """Empty: the key's presence is what counts."""
    negated: bool = False

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        fits = value is not None and (not self.values or value in self.values)
        return fits != self.negated


@dataclass(frozen=True, slots=True)
class Selector:
    """All requirements must be met; there is at least one."""

    requirements: tuple[Requirement, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(each.matches(labels) for each in self.requirements)


def selector_of(told: object) -> Selector | None:
    """From either form; None if it selects nothing, or everything: nobody's pods are ours."""
    if isinstance(told, str):
        found = [_parsed(part.strip()) for part in _SPLIT.split(told) if part.strip()]
    elif isinstance(told, dict):
        found = _of_object(told)
    else:
        found = []
    return Selector(tuple(found)) if found else None


def _of_object(told: Mapping[str, Any]) -> list[Requirement]:
    labels = told.get("matchLabels") or {}
    found = [Requirement(key, frozenset({value})) for key, value in labels.items()]
    for each in told.get("matchExpressions") or ():
        negated = each["operator"] in {"NotIn", "DoesNotExist"}
        found.append(Requirement(each["key"], frozenset(each.get("values") or ()), negated))
    return found


def _parsed(part: str) -> Requirement:
    if in_set := _SET.fullmatch(part):
        key, operator, values = in_set.groups()
        listed = frozenset(value.strip() for value in values.split(","))
        return Requirement(key, listed, negated=operator == "notin")
    if part.startswith("!"):
        return Requirement(part[1:].strip(), negated=True)
    key, equals, value = part.partition("=")
    if not equals:
        return Requirement(key)
    negated = key.endswith("!")
    return Requirement(key.rstrip("!").strip(), frozenset({value.lstrip("=").strip()}), negated)
