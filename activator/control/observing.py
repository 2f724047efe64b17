"""What an endpoint's life is shown: the facts of one moment, put together from those who know them.

The driver has told what runs, the prober knows who answers, the errands what became of the latest
order, and everywhere somebody may want it. Decides nothing: what follows is `core.lifecycle`'s.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from activator.control.rotation import NOBODY
from activator.core.duty import Duty
from activator.core.observation import Ended, Observation, SeenReplica
from activator.drivers.base import Phase

if TYPE_CHECKING:
    from activator.control.errands import Errands
    from activator.control.everywhere import Everywhere
    from activator.control.prober import Prober
    from activator.coordination.base import Lease
    from activator.drivers.base import Driver, Sighting, Snapshot


class Observer:
    """Of one endpoint. Remembers which replicas were ever ready: their end is another one."""

    __slots__ = ("_driver", "_errands", "_ever_ready", "_everywhere", "_lease", "_prober")

    def __init__(
        self,
        driver: Driver,
        *,
        prober: Prober,
        everywhere: Everywhere,
        errands: Errands,
        lease: Lease,
    ) -> None:
        self._driver = driver
        self._prober = prober
        self._everywhere = everywhere
        self._errands = errands
        self._lease = lease
        self._ever_ready = NOBODY

    def note_ready(self, replica_id: str) -> None:
        self._ever_ready |= {replica_id}

    def saw(self, snapshot: Snapshot) -> None:
        """Before the prober is told of it: that forgets who has gone."""
        there = {each.id for each in snapshot.replicas}
        ever = self._ever_ready.union(
            each for each in there if self._prober.ready_at(each) is not None
        )
        self._ever_ready = ever & there.union(each.id for each in snapshot.exits) or NOBODY

    def look(self, snapshot: Snapshot, *, is_starting: bool) -> Observation:
        """`is_starting`: a start is waited for, so that what it prints is of interest."""
        everywhere, errands, lease = self._everywhere, self._errands, self._lease
        return Observation(
            demand=everywhere.take_demand(),
            wanted=snapshot.wanted,
            replicas=tuple(
                self._seen(each, is_starting=is_starting)
                for each in snapshot.replicas
                if each.phase is not Phase.STOPPING
            ),
            held_up=_is_held_up(snapshot),
            last_ended=everywhere.last_ended,
            ended=tuple(
                Ended(each.id, each.cause, was_ready=each.id in self._ever_ready)
                for each in snapshot.exits
            ),
            quiet=errands.quiet,
            scaling=errands.is_scaling,
            scale_error=errands.error,
            scale_lasting=errands.is_lasting,
            out_of_touch=bool(snapshot.trouble),
            remembered=snapshot.remembered,
            autoscaler=snapshot.autoscaler,
            leading=lease.leading,
            may_start=lease.duty is Duty.SERVES,
            unsure_until=everywhere.unsure_until,
        )

    def _seen(self, sighting: Sighting, *, is_starting: bool) -> SeenReplica:
        name, prober = sighting.id, self._prober
        ready = prober.ready(name) is not None
        progressed = prober.progressed(name)
        return SeenReplica(
            name,
            ready=ready,
            in_flight=prober.load(name),
            last_byte=-inf if progressed is None else progressed,
            reason=prober.reason(name) or sighting.detail,
            last_lines=self._driver.last_lines(name) if is_starting and not ready else (),
            is_retrying=sighting.is_retrying,
            no_capacity=sighting.no_capacity,
            ordinal=sighting.ordinal,
        )


def _is_held_up(snapshot: Snapshot) -> bool:
    phases = {each.phase for each in snapshot.replicas}
    return Phase.STOPPING in phases and phases <= {Phase.STOPPING, Phase.REQUESTED}
