"""What the owner of an endpoint's processes tells the others of them, and how it looks on the wire.

Encodes and decodes, decides nothing. JSON with a version; what a newer version says is passed over.
Monotonic clocks differ between processes, so moments are told as ages.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from activator.core.effects import FailedStart
from activator.core.versioned import dump, load
from activator.drivers.base import Exit, Phase, Sighting

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = 1


@dataclass(frozen=True, slots=True)
class Published:
    replicas: tuple[Sighting, ...] = ()
    exits: tuple[Exit, ...] = ()
    lines: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The last lines of each replica."""
    trouble: str = ""
    """As of a snapshot."""
    refused: int = 0
    """The latest order that could not be passed on to the outside world."""
    refusal: str = ""
    """Why."""


NOTHING = Published()


def encode(published: Published, *, now: float) -> bytes:
    replicas = [
        {
            "id": each.id,
            "phase": each.phase,
            "ago": round(now - each.since, 3),
            "requested_ago": round(now - each.requested_at, 3),
            "host": each.host,
            "port": each.port,
            "detail": each.detail,
            "lines": published.lines.get(each.id, ()),
        }
        for each in published.replicas
    ]
    exits = [
        {
            "id": each.id,
            "message": each.cause.message,
            "code": each.cause.exit_code,
            "lines": each.cause.last_lines,
            "no_capacity": each.cause.no_capacity,
        }
        for each in published.exits
    ]
    said: dict[str, Any] = {"replicas": replicas, "exits": exits}
    if published.trouble:
        said["trouble"] = published.trouble
    if published.refused:
        said["refused"] = published.refused
        said["refusal"] = published.refusal
    return dump(VERSION, said)


def decode(told: bytes, *, told_at: float, before: Published = NOTHING) -> Published:
    """`told_at`: the monotonic moment at which it was told. Moments that `before` had are kept:
    what has not changed looks the same, however long this was on its way."""
    known = {each.id: each for each in before.replicas}

    def read(words: Mapping[str, Any]) -> Published:
        replicas = tuple(
            _steady(known.get(each.id), each)
            for each in (_sighting(told, told_at) for told in words["replicas"])
        )
        lines = {str(each["id"]): _lines(each["lines"]) for each in words["replicas"]}
        return Published(
            replicas,
            tuple(map(_exit, words["exits"])),
            lines,
            trouble=str(words.get("trouble", "")),
            refused=int(words.get("refused", 0)),
            refusal=str(words.get("refusal", "")),
        )

    return load(VERSION, told, read, otherwise=NOTHING)


def _sighting(each: Mapping[str, Any], told_at: float) -> Sighting:
    return Sighting(
        id=str(each["id"]),
        phase=Phase(each["phase"]),
        since=told_at - float(each["ago"]),
        requested_at=told_at - float(each["requested_ago"]),
        host=str(each["host"]),
        port=int(each["port"]),
        detail=str(each["detail"]),
    )


def _steady(before: Sighting | None, now: Sighting) -> Sighting:
    if before is None:
        return now
    # told in another message than the first, each of which was on its way for a while
    since = before.since if before.phase is now.phase else max(now.since, before.requested_at)
    return replace(now, since=since, requested_at=before.requested_at)


def _exit(each: Mapping[str, Any]) -> Exit:
    code = each["code"]
    cause = FailedStart(
        str(each["message"]),
        exit_code=None if code is None else int(code),
        last_lines=_lines(each["lines"]),
        no_capacity=bool(each["no_capacity"]),
    )
    return Exit(str(each["id"]), cause)


def _lines(lines: Any) -> tuple[str, ...]:
    return tuple(map(str, lines))
