"""Which replicas the gate is offered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from activator.control.account import Account
from activator.control.coldstart import ColdStarts
from activator.control.rotation import Rotation
from activator.core.endpoint import Replica
from activator.drivers.base import Phase, Sighting, Snapshot
from activator.upstream.gate import Gate
from tests.unit.control.world import World

if TYPE_CHECKING:
    from collections.abc import Sequence


class Offered:
    """A rotation over replicas that all answer, and what the gate was told last."""

    def __init__(self, patch: pytest.MonkeyPatch, *, paces: bool = True) -> None:
        world = World()
        starts = ColdStarts(world.live.metrics, clock=world.clock)
        account = Account(world.endpoint, cold_starts=starts, clock=world.clock)
        self.rotation = Rotation(world.live, account=account, paces=paces)
        self.told: dict[str, bool] = {}
        patch.setattr(Gate, "offer", self._offered)

    def _offered(self, offered: Sequence[tuple[Replica, bool]]) -> None:
        self.told = {replica.id: is_paced for replica, is_paced in offered}

    def saw(self, *ids: str, phase: Phase = Phase.STARTED) -> None:
        self.snapshot = Snapshot(
            wanted=len(ids),
            replicas=tuple(Sighting(each, phase, since=0.0, requested_at=0.0) for each in ids),
        )
        self.rotation.saw(self.snapshot)

    def those_offered(self, *, withheld: frozenset[str] = frozenset()) -> list[str]:
        self.rotation.offer(
            self.snapshot, ready=lambda each: Replica(each, "127.0.0.1", 1), withheld=withheld
        )
        return list(self.told)


async def test_who_has_started_answers_and_is_not_withheld_is_offered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    o = Offered(monkeypatch)
    o.saw("a", "b")
    assert o.those_offered(withheld=frozenset(("b",))) == ["a"]

    o.saw("a", phase=Phase.STOPPING)
    assert o.those_offered() == []


async def test_who_leaves_gets_nothing_until_it_stays_or_is_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    o = Offered(monkeypatch)
    o.saw("a", "b", "c")
    o.rotation.leave(("a", "b"))
    assert o.those_offered() == ["c"]

    o.rotation.stay(("a",))
    assert o.those_offered() == ["a", "c"]
    assert [each for each in "abc" if o.rotation.is_leaving(each)] == ["b"]

    o.saw("a", "c")
    o.saw("a", "b", "c")
    assert o.those_offered() == ["a", "b", "c"]

    o.rotation.retire(("a",))
    o.rotation.retire(("c",))
    assert o.those_offered() == ["a", "b"]

    o.rotation.close()
    assert o.those_offered() == []


@pytest.mark.parametrize("paces", [False, True])
async def test_only_who_has_been_started_since_is_paced(
    monkeypatch: pytest.MonkeyPatch, *, paces: bool
) -> None:
    o = Offered(monkeypatch, paces=paces)
    o.saw("a")
    o.saw("a", "b")
    o.those_offered()

    assert o.told == {"a": False, "b": paces}
