"""What API keys are charged while a day goes on: a share that was charged is never taken back.

How a day's cost is divided among keys (`key_usage.divide`) may change until the day is over: who
waits for the next start shares in all of the day's starts. Decides what is charged meanwhile, for a
counter that only grows and never tells more than there was.
"""

from __future__ import annotations

from math import fsum
from typing import TYPE_CHECKING

from activator.core.key_usage import NOBODY

if TYPE_CHECKING:
    from collections.abc import Mapping


class DayCharges:
    """One endpoint's day. Money is in the unit of `costPerReplicaHour`."""

    __slots__ = ("_charged",)

    def __init__(self) -> None:
        self._charged: dict[str, float] = {}

    def charge(self, costs: Mapping[str, float], *, over: bool) -> dict[str, float]:
        """By key, what to charge now that the day's cost is divided like this.

        Who has been charged less than their share is charged the rest, as far as there is money
        that nobody was charged yet; where it does not suffice, in proportion. What is nobody's may
        turn out to be somebody's, so it is charged when the day is over. From then on the charges
        are the day's cost; each is its key's share, unless an earlier division gave somebody more.
        """
        left = fsum(costs.values()) - fsum(self._charged.values())
        short = {
            key: cost - self._charged.get(key, 0.0)
            for key, cost in costs.items()
            if (over or key != NOBODY) and cost > self._charged.get(key, 0.0)
        }
        lacking = fsum(short.values())
        if left <= 0 or lacking <= 0:
            return {}
        part = min(1.0, left / lacking)
        charges = {key: each * part for key, each in short.items()}
        for key, each in charges.items():
            self._charged[key] = self._charged.get(key, 0.0) + each
        return charges
