"""After a takeover: what was prepared before is void first, and nothing is stopped too soon."""

from __future__ import annotations

from math import inf

import pytest

from activator.coordination.taken_over import LONGEST, TakenBoard
from tests.faults import Faulty, failures
from tests.sharing import Activator
from tests.support import eventually


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_before_a_takeover_it_is_the_board_of_the_only_one(clock: Clock) -> None:
    board = TakenBoard(clock=clock)
    board.join("e", Activator())

    assert board.unsure_until("e") == -inf
    assert await board.ask_quiet("e")


async def test_what_runs_is_held_until_what_was_prepared_is_void(clock: Clock) -> None:
    board = TakenBoard(clock=clock)
    up, down = Activator(can_mark=False), Activator()
    board.join("up", up)
    board.join("down", down)

    board.take_over(finishing=None, is_up=lambda endpoint: endpoint == "up")

    await eventually(lambda: up.asked_to_mark >= 2)
    assert up.holds_back
    up.can_mark = True
    await eventually(lambda: not up.holds_back)
    assert up.revivals == 1
    assert (down.asked_to_mark, down.holds_back) == (0, False)
    await board.aclose()


async def test_what_has_requests_already_is_not_held(clock: Clock) -> None:
    board = TakenBoard(clock=clock)
    busy = Activator(demand=1)
    board.join("e", busy)

    board.take_over(finishing=None, is_up=lambda _: True)

    assert not busy.holds_back
    await eventually(lambda: busy.revivals == 1)
    await board.aclose()


async def test_an_endpoint_that_goes_is_not_waited_for(clock: Clock) -> None:
    board = TakenBoard(clock=clock)
    gone = Activator(can_mark=False)
    board.join("e", gone)
    board.take_over(finishing=None, is_up=lambda _: True)
    await eventually(lambda: gone.asked_to_mark)

    board.leave("e")

    await eventually(lambda: not len(board._tasks))


@pytest.mark.parametrize(
    ("finishing", "patience", "seconds"),
    [
        (None, 3600.0, 3600.0),
        (None, 0.0, LONGEST),
        (610.0, 3600.0, 610.0),
        (610.0, 60.0, 60.0),
        (610.0, 0.0, 610.0),
    ],
)
async def test_nothing_is_stopped_while_the_one_before_may_have_something(
    clock: Clock, finishing: float | None, patience: float, seconds: float
) -> None:
    board = TakenBoard(clock=clock)
    board.join("e", Activator(patience=patience))

    board.take_over(finishing=finishing, is_up=lambda _: False)

    assert board.unsure_until("e") == clock.now + seconds


async def test_one_that_had_nothing_left_leaves_nothing_unsure(clock: Clock) -> None:
    board = TakenBoard(clock=clock)
    board.join("e", Activator())
    board.take_over(finishing=0.0, is_up=lambda _: False)

    assert board.unsure_until("e") == -inf


async def test_what_runs_is_held_no_longer_than_until_a_fault_of_ours_is_over(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    board = TakenBoard(clock=clock)
    member = Activator()
    Faulty(monkeypatch, member, "mark_revived")
    board.join("e", member)

    board.take_over(finishing=None, is_up=lambda _: True)

    assert member.holds_back
    await eventually(lambda: not member.holds_back)
    assert failures(caplog) == ["taken board/take e over"]
    await board.aclose()
