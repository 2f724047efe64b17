"""What activators call out to each other about their endpoints, and how it looks on the wire.

Encodes and decodes, decides nothing. JSON objects with a version; what a newer version says is
passed over.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import inf, isinf
from typing import TYPE_CHECKING, Any

from activator.coordination.base import Share
from activator.core.versioned import dump, load

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = 1


@dataclass(frozen=True, slots=True)
class Told:
    """What one activator has of one endpoint."""

    share: Share
    ended_ago: float = inf
    """Seconds since its last response ended; infinity: none has."""


@dataclass(frozen=True, slots=True)
class Shares:
    """What one activator has; `whole`: and of all other endpoints nothing. `asks`: it knows
    nothing of what the others have."""

    act: str
    told: Mapping[str, Told]
    whole: bool
    asks: bool = False


@dataclass(frozen=True, slots=True)
class Declared:
    """Everybody is asked for their word."""

    endpoint: str
    number: int
    by: str
    replicas: tuple[str, ...] | None
    fence: str | None = None
    """Which the order will carry; None: not known."""


@dataclass(frozen=True, slots=True)
class Answered:
    endpoint: str
    number: int
    act: str
    quiet: bool


@dataclass(frozen=True, slots=True)
class Revived:
    """This drain must not be carried out any more."""

    endpoint: str
    number: int


@dataclass(frozen=True, slots=True)
class Concluded:
    """The asker has done what this drain was for, or (`ordered` False) never will."""

    endpoint: str
    number: int
    ordered: bool


Said = Shares | Declared | Answered | Revived | Concluded


def encode(said: Shares | Declared) -> bytes:
    """What is not said by the store itself, while it changes a record."""
    match said:
        case Shares(act, told, whole, asks):
            words = {name: _words(each) for name, each in told.items()}
            message: dict[str, Any] = {"k": "shares", "a": act, "w": int(whole), "s": words}
            message["q"] = int(asks)
        case Declared(endpoint, number, by, replicas, fence):
            message = {"k": "declared", "e": endpoint, "n": str(number), "a": by}
            message["r"], message["f"] = replicas_word(replicas), fence
    return dump(VERSION, message)


def decode(message: bytes) -> Said | None:
    """None: nothing that this version understands."""
    return load(VERSION, message, _decoded, otherwise=None)


def replicas_word(replicas: tuple[str, ...] | None) -> str:
    """Empty: all of them."""
    return "" if replicas is None else json.dumps(replicas)


def read_replicas(word: str) -> tuple[str, ...] | None:
    return tuple(map(str, json.loads(word))) if word else None


def _decoded(words: Mapping[str, Any]) -> Said | None:
    match words["k"]:
        case "shares":
            told = {str(name): _told(each) for name, each in words["s"].items()}
            whole, asks = words["w"] == 1, words["q"] == 1
            return Shares(str(words["a"]), told, whole=whole, asks=asks)
        case "declared":
            replicas = read_replicas(words["r"])
            fence = words.get("f")  # earlier versions do not say
            fence = None if fence is None else str(fence)
            return Declared(str(words["e"]), int(words["n"]), str(words["a"]), replicas, fence)
        case "answered":
            quiet = words["q"] == 1
            return Answered(str(words["e"]), int(words["n"]), str(words["a"]), quiet)
        case "revived":
            return Revived(str(words["e"]), int(words["n"]))
        case "concluded":
            return Concluded(str(words["e"]), int(words["n"]), ordered=words["o"] == 1)
    return None


def _words(told: Told) -> list[Any]:
    share = told.share
    ago = -1 if isinf(told.ended_ago) else round(told.ended_ago, 3)
    return [share.demand, share.held, share.held_bytes, dict(share.loads), ago]


def _told(words: Any) -> Told:
    demand, held, held_bytes, loads, ago = words
    share = Share(
        int(demand),
        int(held),
        int(held_bytes),
        {str(name): int(count) for name, count in loads.items()},
    )
    return Told(share, inf if ago < 0 else float(ago))
