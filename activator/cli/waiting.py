"""`--wait`: until an endpoint is what it was ordered to be, or will not be.

An order is answered once its endpoint shows it; a start may take minutes from there.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from activator.cli.outcome import Failed
from activator.cli.tables import in_a_line, span

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

EVERY: Final = 0.5
"""Seconds between two looks."""

TAKEN_UP: Final = 30.0
"""Seconds after which an order that nothing shows of has not been taken up: activators that share
an endpoint agree within 5, and are without a leader for 15 at most."""


@dataclass(frozen=True, slots=True)
class _Goal:
    under_way: Collection[str]
    """States that lead there."""
    reached: Callable[[dict[str, Any]], bool]


_GOALS: Final = {
    "activate": _Goal({"activating", "active"}, lambda status: status["state"] == "active"),
    "deactivate": _Goal(
        {"draining", "inactive", "failed"},
        lambda status: status["state"] in {"inactive", "failed"} and not status["replicas"],
    ),
}


def wait(
    verb: str,
    status: dict[str, Any],
    *,
    look: Callable[[], dict[str, Any]],
    say: Callable[[str], None],
    pause: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """The status in which the order is carried out; `status` is the one that answered it.

    `say` is told what goes on. Raises Failed: it was not carried out, or did not last."""
    goal, looks, began = _GOALS[verb], 0, False
    while not goal.reached(status):
        say(in_words(status))
        if verb == "activate" and status["state"] == "failed":
            raise Failed(f"{in_a_line(status)}: it was not started")
        if status["state"] in goal.under_way:
            began = True
        elif began:
            raise Failed(f"{in_a_line(status)}: it did not last; `activator events` tells why")
        elif looks * EVERY >= TAKEN_UP:
            raise Failed(f"{in_a_line(status)}: nothing shows of the order after {span(TAKEN_UP)}")
        pause(EVERY)
        looks += 1
        status = look()
    return status


def in_words(status: dict[str, Any]) -> str:
    """What goes on, for somebody who waits: how far it is, and how long it still takes."""
    words = [f"{status['name']}: {status['state']}"]
    going = [one for one in status["replicas"] if one["phase"] != "ready"]
    if going:
        words.append(going[-1]["phase"])
        words.append(going[-1]["detail"])
    if status["state"] == "activating" and status["eta"] is not None:
        words.append(f"about {span(status['eta'])} more" if status["eta"] >= 1 else "any moment")
    if status["state"] == "draining" and status["in_flight"]:
        words.append(f"{status['in_flight']} in flight")
    return ", ".join(word for word in words if word)
