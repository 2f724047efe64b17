"""What an endpoint's life is shown of its replicas."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from activator.control.everywhere import Everywhere
from activator.control.observing import Observer
from activator.coordination.base import Share
from activator.coordination.memory import MemoryBoard, MemoryLease
from activator.core.effects import FailedStart
from activator.drivers.base import Exit, Phase, Sighting, Snapshot
from tests.unit.control.world import World

if TYPE_CHECKING:
    from activator.control.errands import Errands
    from activator.control.prober import Prober
    from activator.core.observation import Observation

CAUSE = FailedStart("exited with 3")
NO_ERRANDS = SimpleNamespace(quiet=None, is_scaling=False, error=None, is_lasting=False)


class Probed:
    """Replicas of which some answer."""

    def __init__(self) -> None:
        self.answering: set[str] = set()

    def ready(self, replica: str) -> str | None:
        return replica if replica in self.answering else None

    def ready_at(self, replica: str) -> float | None:
        return 1.0 if replica in self.answering else None

    def progressed(self, replica: str) -> float | None:
        return None

    def load(self, replica: str) -> int:
        return 0

    def reason(self, replica: str) -> str:
        return ""


class Shown:
    def __init__(self) -> None:
        world = World()
        world.driver.printed = {"a": ("loading",), "b": ("loading",)}
        self.probed = Probed()
        self.observer = Observer(
            world.driver,
            prober=cast("Prober", self.probed),
            everywhere=Everywhere(world.live, world.board),
            errands=cast("Errands", NO_ERRANDS),
            lease=MemoryLease(),
        )

    def saw(
        self, *replicas: tuple[str, Phase], exits: tuple[str, ...] = (), is_starting: bool = False
    ) -> Observation:
        snapshot = Snapshot(
            wanted=len(replicas),
            replicas=tuple(Sighting(id_, phase, 0.0, 0.0) for id_, phase in replicas),
            exits=tuple(Exit(each, CAUSE) for each in exits),
        )
        self.observer.saw(snapshot)
        return self.observer.look(snapshot, is_starting=is_starting)


async def test_the_end_of_one_that_was_ever_ready_is_told_as_such() -> None:
    s = Shown()
    s.saw(("a", Phase.STARTED), ("b", Phase.STARTED))
    s.observer.note_ready("a")
    seen = s.saw(exits=("a", "b"))
    assert [(each.id, each.was_ready) for each in seen.ended] == [("a", True), ("b", False)]

    s.saw()
    assert not s.saw(exits=("a",)).ended[0].was_ready  # what nobody tells of is forgotten


async def test_what_one_prints_is_shown_while_a_start_waits_for_it() -> None:
    s = Shown()
    s.probed.answering = {"b"}
    there = ("a", Phase.STARTED), ("b", Phase.STARTED)

    assert [each.last_lines for each in s.saw(*there).replicas] == [(), ()]
    lines = [each.last_lines for each in s.saw(*there, is_starting=True).replicas]
    assert lines == [("loading",), ()]


@pytest.mark.parametrize(
    ("phases", "is_held_up"),
    [
        ((), False),
        ((Phase.REQUESTED,), False),
        ((Phase.STOPPING,), True),
        ((Phase.STOPPING, Phase.REQUESTED), True),
        ((Phase.STOPPING, Phase.STARTED), False),
    ],
)
async def test_a_start_is_held_up_while_there_is_nothing_but_what_stops(
    phases: tuple[Phase, ...], *, is_held_up: bool
) -> None:
    seen = Shown().saw(*((f"r{number}", phase) for number, phase in enumerate(phases)))

    assert seen.held_up is is_held_up
    assert len(seen.replicas) == sum(phase is not Phase.STOPPING for phase in phases)


async def test_demand_and_load_are_those_of_all_activators() -> None:
    class Board(MemoryBoard):
        def demand(self, endpoint: str) -> int:
            return 3

        def elsewhere(self, endpoint: str) -> Share:
            return Share(2, 1, 100, {"a": 2})

    world = World()
    everywhere = Everywhere(world.live, Board())
    world.live.queued = lambda: 4
    assert everywhere.take_demand() == 3 + 4

    world.live.gate.arrive()
    world.live.gate.leave_for_elsewhere()
    assert [everywhere.take_demand(), everywhere.take_demand()] == [3 + 4 + 1, 3 + 4]
    assert [everywhere.in_flight(each) for each in ("a", "a~2", "b")] == [2, 2, 0]
    assert everywhere.held_elsewhere() == (1, 100)
    assert everywhere.used_elsewhere()
