"""What activators call out to each other about operators' wishes, and how it looks on the wire.

Encodes and decodes, decides nothing. JSON objects with a version; what a newer version says is
passed over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from activator.coordination.base import Outcome
from activator.core.standing import Standing
from activator.core.versioned import dump, load

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = 1


@dataclass(frozen=True, slots=True)
class Ordered:
    """A pause has begun or ended."""

    endpoint: str
    standing: Standing


@dataclass(frozen=True, slots=True)
class Activated:
    """An activator was asked to activate."""

    endpoint: str
    act: str


@dataclass(frozen=True, slots=True)
class Asked:
    """The leader is to deactivate, and to answer under this name. Said again until it has."""

    name: str
    endpoint: str
    force: bool


@dataclass(frozen=True, slots=True)
class Answered:
    name: str
    outcome: Outcome


Said = Ordered | Activated | Asked | Answered


def encode(said: Activated | Asked | Answered) -> bytes:
    """What is not said by the store itself, while it changes a record."""
    match said:
        case Activated(endpoint, act):
            message: dict[str, Any] = {"k": "activated", "e": endpoint, "a": act}
        case Asked(name, endpoint, force):
            message = {"k": "asked", "i": name, "e": endpoint, "f": int(force)}
        case Answered(name, Outcome(refusal, done)):
            message = {"k": "answered", "i": name, "r": refusal, "d": int(done)}
    return dump(VERSION, message)


def decode(message: bytes) -> Said | None:
    """None: nothing that this version understands."""
    return load(VERSION, message, _decoded, otherwise=None)


def _decoded(words: Mapping[str, Any]) -> Said | None:
    match words["k"]:
        case "ordered":
            return Ordered(str(words["e"]), Standing(int(words["n"]), words["p"] == 1))
        case "activated":
            return Activated(str(words["e"]), str(words["a"]))
        case "asked":
            return Asked(str(words["i"]), str(words["e"]), words["f"] == 1)
        case "answered":
            return Answered(str(words["i"]), Outcome(str(words["r"]), done=words["d"] == 1))
    return None
