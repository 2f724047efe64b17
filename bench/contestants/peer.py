"""A proxy that may be installed here, or may not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.failure import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager, ExitStack

    from bench.contestant import Contestant
    from bench.lab import Lab
    from bench.processes import Address


@dataclass(frozen=True, slots=True)
class Peer:
    """`start` gives None where it is not installed."""

    name: str
    start: Callable[[Lab, Address], AbstractContextManager[Contestant | None]]
    comes_with: str
    """What installs it."""


def enter(
    stack: ExitStack, lab: Lab, upstream: Address, peers: Iterable[Peer]
) -> tuple[list[Contestant], list[str]]:
    """Those that run, until `stack` is left; and a note for each that does not."""
    field: list[Contestant] = []
    left_out: list[str] = []
    for peer in peers:
        try:
            contestant = stack.enter_context(peer.start(lab, upstream))
        except BenchError as error:
            left_out.append(f"left out: {peer.name} does not run here: {error}")
            continue
        if contestant is None:
            left_out.append(f"left out: no {peer.name} here ({peer.comes_with})")
        else:
            field.append(contestant)
    return field, left_out
