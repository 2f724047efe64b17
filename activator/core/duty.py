"""What an activator may do that shares nothing with the others but a lease.

Several stand ready and one serves: without a store nobody else could know which slots it has given
away and what it has in line. Where activators share a store, or there is only one, everybody
SERVES, always.

             comes in   may wait   starts and stops replicas
SERVES       yes        yes        yes
CUT_OFF      yes        yes        no
LAPSED       no         yes        no
STANDS_BY    no         no         no
LEAVING      yes        no         no
"""

from __future__ import annotations

from enum import Enum


class Duty(Enum):
    SERVES = "serves"
    """It holds the lease, or needs none."""
    CUT_OFF = "cut off"
    """It held the lease, and whoever keeps it answers nobody here: as long as no other holder is
    known, requests that reach it go on to the replicas that are known, as they do with one
    activator whose cluster is away."""
    LAPSED = "lapsed"
    """It held the lease for longer than it may without having renewed it (it was stopped, perhaps),
    and is about to learn who holds it now."""
    STANDS_BY = "stands by"
    """Another holds the lease, or nobody is known to."""
    LEAVING = "leaving"
    """It has given the lease back and ends: what can be answered at once still is."""

    @property
    def admits(self) -> bool:
        """Requests come in, and are given slots."""
        return self not in (Duty.LAPSED, Duty.STANDS_BY)

    @property
    def has_line(self) -> bool:
        """Requests may wait."""
        return self not in (Duty.STANDS_BY, Duty.LEAVING)
