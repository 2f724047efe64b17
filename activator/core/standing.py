"""What an operator has ordered of an endpoint and stays in force: that it is paused, or no longer.

Decides which of two such orders is the later one. Each has a number, higher than all that whoever
gives it knows of, and no lower than the clock: so one that is given to a store that has lost its
memory is still later than those that other activators remember.

The implementation over Redis is a script of the same rules (`coordination/lua/wishes.lua`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Standing:
    """The latest order for one endpoint, as far as it is known."""

    number: int = 0
    """0: there was none."""
    paused: bool = False

    def follow(self, *, paused: bool, known: int, clock: int) -> Standing:
        """What an operator orders now. `known`: the highest number known where it is given;
        `clock`: milliseconds since 1970."""
        return Standing(max(self.number + 1, known + 1, clock), paused)

    def meet(self, other: Standing) -> Standing:
        """The later of the two."""
        return other if other.number > self.number else self
