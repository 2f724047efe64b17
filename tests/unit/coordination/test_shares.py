"""When shares are told: at once, at most so often, not at all of what is at rest."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from activator.coordination.base import Share
from activator.coordination.board_talk import Shares, Told
from activator.coordination.shares import AGAIN, EVERY, RECENT, SharesKept
from tests.sharing import Activator

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.looptime


class Kept:
    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.said: list[tuple[float, Shares]] = []
        self.alive = {"me", "a", "b"}
        self.shares = SharesKept(
            "me",
            clock=self.loop.time,
            call_later=self.loop.call_later,
            say=lambda said: self.said.append((self.loop.time(), said)),
            alive=lambda: self.alive,
        )

    def join(self, endpoint: str) -> Activator:
        member = Activator(last_ended=float("-inf"))
        self.shares.join(endpoint, member)
        member.follow(lambda: self.shares.stirred(endpoint))
        return member

    def told(self) -> list[tuple[float, dict[str, int]]]:
        """(moment, demand by endpoint) of what was not told as a whole."""
        return [
            (at, {name: told.share.demand for name, told in said.told.items()})
            for at, said in self.said
            if not said.whole
        ]


@contextlib.contextmanager
def keeping() -> Iterator[Kept]:
    made = Kept()
    try:
        yield made
    finally:
        made.shares.close()


async def test_endpoints_at_rest_are_never_told() -> None:
    with keeping() as kept:
        for number in range(500):
            kept.join(f"m{number}")
        await asyncio.sleep(5 * AGAIN + 1)

        assert kept.told() == []
        assert [dict(said.told) for _, said in kept.said] == [{}] * 5


async def test_endpoints_at_rest_are_not_looked_at_when_all_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_at: list[Activator] = []

    def share(of: Activator) -> Share:
        looked_at.append(of)
        return Share(of.demand)

    monkeypatch.setattr(Activator, "share", property(share))
    with keeping() as kept:
        used, *_ = (kept.join(f"m{number}") for number in range(500))
        await asyncio.sleep(2 * AGAIN + 1)
        used.arrive()
        await asyncio.sleep(EVERY)
        used.demand, used.last_ended = 0, kept.loop.time()
        await asyncio.sleep(1.0)
        looked_at.clear()
        kept.said.clear()

        await asyncio.sleep(3 * AGAIN)

        assert looked_at == [used] * 3
        assert [list(said.told) for _, said in kept.said] == [["m0"]] * 3
        await asyncio.sleep(RECENT)
        kept.said.clear()
        await asyncio.sleep(2 * AGAIN)
        assert [list(said.told) for _, said in kept.said] == [[]] * 2


async def test_the_first_request_is_told_at_once_and_the_next_a_moment_later() -> None:
    with keeping() as kept:
        member = kept.join("m")
        await asyncio.sleep(1.0)
        began = kept.loop.time()
        member.arrive()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        member.arrive()
        await asyncio.sleep(1.0)

        assert kept.told() == [
            (began, {"m": 1}),
            (pytest.approx(began + EVERY), {"m": 2}),
        ]


async def test_a_busy_endpoint_is_told_at_most_ten_times_a_second() -> None:
    with keeping() as kept:
        member = kept.join("m")
        for _ in range(1000):
            member.arrive()
            await asyncio.sleep(0.001)
            member.demand, member.last_ended = 0, kept.loop.time()
        await asyncio.sleep(1.0)

        assert len(kept.told()) <= 12
        assert kept.told()[-1][1] == {"m": 0}
        assert kept.shares._timer is None


async def test_many_that_change_are_told_in_turns() -> None:
    with keeping() as kept:
        members = [kept.join(f"m{number}") for number in range(500)]
        await asyncio.sleep(1.0)
        for member in members:
            member.arrive()
        await asyncio.sleep(0.35)

        sizes = [len(told) for _, told in kept.told()]
        assert sizes == [200, 200, 100]


async def test_everything_is_told_again_now_and_then() -> None:
    with keeping() as kept:
        kept.join("idle")
        busy, recent = kept.join("busy"), kept.join("recent")
        busy.arrive(2)
        recent.arrive()
        recent.demand, recent.last_ended = 0, kept.loop.time()
        await asyncio.sleep(AGAIN + 0.01)

        whole = kept.said[-1][1]
        assert whole.whole
        assert {name: told.share.demand for name, told in whole.told.items()} == {
            "busy": 2,
            "recent": 0,
        }
        assert whole.told["recent"].ended_ago == pytest.approx(AGAIN)


async def test_what_is_told_as_a_whole_replaces_what_was_known() -> None:
    with keeping() as kept:
        shares = kept.shares
        assert shares.heard(Shares("a", {"m": Told(Share(2)), "n": Told(Share(1))}, whole=False))
        assert shares.heard(Shares("b", {"m": Told(Share(3))}, whole=False)) == []
        assert shares.elsewhere("m").demand == 5

        assert shares.heard(Shares("a", {"m": Told(Share(1))}, whole=True)) == ["n"]

        assert shares.elsewhere("m").demand == 4
        assert shares.elsewhere("n").demand == 0


async def test_only_those_who_are_alive_count() -> None:
    with keeping() as kept:
        kept.shares.heard(Shares("a", {"m": Told(Share(2, loads={"r": 1}))}, whole=False))
        kept.shares.heard(Shares("b", {"m": Told(Share(3, loads={"r": 2}))}, whole=False))
        assert kept.shares.elsewhere("m").loads == {"r": 3}

        kept.alive.discard("a")
        kept.shares.roster_changed()
        assert kept.shares.elsewhere("m") == Share(3, loads={"r": 2})
        kept.shares.forget("b")
        assert kept.shares.elsewhere("m") == Share()


async def test_ends_are_kept_as_moments_and_never_go_back() -> None:
    with keeping() as kept:
        await asyncio.sleep(100.0)
        now = kept.loop.time()
        kept.shares.heard(Shares("a", {"m": Told(Share(), 5.0)}, whole=False))
        kept.shares.heard(Shares("b", {"m": Told(Share(), 50.0)}, whole=False))

        assert kept.shares.ended("m") == now - 5.0
        kept.shares.forget("a")
        assert kept.shares.ended("m") == now - 5.0


async def test_leaving_with_something_takes_it_along() -> None:
    with keeping() as kept:
        member = kept.join("m")
        member.arrive()
        await asyncio.sleep(1.0)

        kept.shares.leave("m")

        assert kept.told()[-1][1] == {"m": 0}
