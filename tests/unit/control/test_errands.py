"""Orders and questions beside the loop, and what becomes of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from activator.aiokit.tasks import Tasks
from activator.control.errands import Errands
from activator.coordination.memory import MemoryBoard, MemoryLease
from activator.core.duty import Duty
from activator.core.effects import SetReplicas
from activator.drivers.base import DriverError, Snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activator.drivers.base import Driver

ONE, NONE = SetReplicas(1, "demand"), SetReplicas(0, "idle")


class Outside:
    """A driver that takes orders, or says why not."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.refusal: DriverError | None = None

    async def scale(self, replicas: int, **_: object) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.taken.append(replicas)


class Board(MemoryBoard):
    """Which answers once it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = asyncio.Event()

    async def ask_quiet(
        self, endpoint: str, replicas: Sequence[str] | None = None, *, fence: str = ""
    ) -> bool:
        await self.may_answer.wait()
        return True


class Lease(MemoryLease):
    duty = Duty.SERVES


class Sent:
    def __init__(self) -> None:
        self.outside, self.board, self.lease = Outside(), Board(), Lease()
        self.tasks = Tasks("errands")
        self.looks = 0
        self.put_back: list[SetReplicas] = []
        self.errands = Errands(
            "m",
            driver=cast("Driver", self.outside),
            board=self.board,
            lease=self.lease,
            tasks=self.tasks,
            wake=self._wake,
        )

    def _wake(self) -> None:
        self.looks += 1

    async def order(self, order: SetReplicas) -> None:
        self.errands.scale(order, seen=Snapshot(wanted=0), refused=self.put_back.append)
        assert self.errands.refusal() is None
        await self.tasks.drained()

    async def answered(self) -> None:
        self.board.may_answer.set()
        await self.tasks.drained()


async def test_what_was_refused_is_known_until_an_order_is_taken() -> None:
    s = Sent()
    s.outside.refusal = DriverError("no room", lasting=True)
    await s.order(ONE)
    assert (s.errands.refusal(), s.errands.is_lasting) == ("no room", True)
    assert (s.put_back, s.looks) == ([ONE], 1)

    s.outside.refusal = None
    await s.order(ONE)
    assert s.errands.error is None
    assert s.errands.refusal() == ""
    assert (s.outside.taken, s.put_back, s.looks) == ([1], [ONE], 2)


async def test_who_does_not_serve_any_more_orders_nothing() -> None:
    s = Sent()
    s.lease.duty = Duty.STANDS_BY
    await s.order(ONE)

    assert s.errands.error == "another activator may serve by now"
    assert (s.outside.taken, s.put_back) == ([], [ONE])


async def test_an_answer_is_good_for_one_order() -> None:
    s = Sent()
    s.errands.ask_quiet(fence="1")
    await s.answered()
    assert s.errands.quiet
    assert s.looks == 1

    await s.order(ONE)
    assert s.errands.quiet
    await s.order(NONE)
    assert s.errands.quiet is None
    assert s.outside.taken == [1, 0]


async def test_the_answer_to_a_question_that_was_called_off_does_not_count() -> None:
    s = Sent()
    s.errands.ask_quiet(fence="1")
    await asyncio.sleep(0)
    s.errands.forget_quiet()
    await s.answered()

    assert (s.errands.quiet, s.looks) == (None, 0)
