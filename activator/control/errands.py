"""What an endpoint's life has decided and takes a while: one order and one question at a time.

They are carried out beside the control loop, which finds here what became of them. Decides nothing:
how an order is given is `scaling`'s, what follows from a refusal `core.lifecycle`'s.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from activator.control.scaling import Scaler
from activator.core.duty import Duty
from activator.drivers.base import DriverError
from activator.errors import fault_of_ours

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from activator.aiokit.tasks import Tasks
    from activator.coordination.base import DemandBoard, Lease
    from activator.core.effects import SetReplicas
    from activator.drivers.base import Driver, Snapshot


class Errands:
    """Of one endpoint."""

    __slots__ = (
        "_lease",
        "_questions",
        "_scaler",
        "_tasks",
        "_wake",
        "error",
        "is_lasting",
        "is_scaling",
        "quiet",
    )

    def __init__(
        self,
        name: str,
        *,
        driver: Driver,
        board: DemandBoard,
        lease: Lease,
        tasks: Tasks,
        wake: Callable[[], None],
    ) -> None:
        """`wake`: have the endpoint looked at."""
        self._scaler = Scaler(name, driver=driver, board=board)
        self._lease = lease
        self._tasks = tasks
        self._wake = wake
        self._questions = 0
        self.quiet: bool | None = None
        """Whether all activators have nothing; None: nobody was asked, or has answered yet."""
        self.is_scaling = False
        """An order is being carried out."""
        self.error: str | None = None
        """Why the latest order was not taken; None once one has been."""
        self.is_lasting = False
        """That will last until somebody mends something."""

    def refusal(self) -> str | None:
        """Why the latest order was not taken, empty if it was; None: it is being carried out."""
        return None if self.is_scaling else (self.error or "")

    # --- whether all activators have nothing

    def ask_quiet(self, *, fence: str) -> None:
        """Before an order for none. `fence`: the outside world's, now."""
        self.forget_quiet()
        self._scaler.prepare(fence)
        self._tasks.spawn(self._ask_quiet(), name="quiet")

    def forget_quiet(self) -> None:
        """The answer, also the one that is still to come."""
        self.quiet = None
        self._questions += 1

    async def _ask_quiet(self) -> None:
        question = self._questions
        try:
            quiet = await self._scaler.ask_quiet()
        except Exception as bug:
            self._tasks.tell_failure("quiet", bug)
            quiet = False  # nothing is stopped on an answer that is not known
        if question == self._questions:  # nobody has called it off meanwhile
            self.quiet = quiet
            self._wake()

    # --- orders

    def scale(
        self, order: SetReplicas, *, seen: Snapshot, refused: Callable[[SetReplicas], None]
    ) -> None:
        """`seen`: what it was decided upon. `refused` is called if it is not taken."""
        agreed = order.count == 0 and self.quiet is True
        if order.count == 0:
            self.forget_quiet()
        self._begin(order, partial(self._give, order, seen, agreed=agreed), refused)

    def refuse(
        self, order: SetReplicas, bug: Exception, *, refused: Callable[[SetReplicas], None]
    ) -> None:
        """One that could not be given at all ends like any other: whoever asked waits for that."""
        self._begin(order, partial(_fail, fault_of_ours(bug)), refused)

    def _begin(
        self,
        order: SetReplicas,
        give: Callable[[], Awaitable[None]],
        refused: Callable[[SetReplicas], None],
    ) -> None:
        self._tasks.spawn(self._see_through(order, give, refused), name="scale")
        self.is_scaling = True

    async def _see_through(
        self,
        order: SetReplicas,
        give: Callable[[], Awaitable[None]],
        refused: Callable[[SetReplicas], None],
    ) -> None:
        try:
            await give()
        except DriverError as error:
            self._not_taken(error)
            refused(order)
        except Exception as bug:
            self._tasks.tell_failure("scale", bug)
            self._not_taken(DriverError(fault_of_ours(bug)))
            refused(order)
        else:
            self.error = None
        finally:
            self.is_scaling = False
            self._wake()

    async def _give(self, order: SetReplicas, seen: Snapshot, *, agreed: bool) -> None:
        if self._lease.duty is not Duty.SERVES:  # no longer: this process may have been stopped
            raise DriverError("another activator may serve by now")
        await self._scaler.carry_out(order, agreed=agreed, before=seen.wanted, fence=seen.fence)

    def _not_taken(self, why: DriverError) -> None:
        self.error, self.is_lasting = str(why), why.lasting


async def _fail(why: str) -> None:
    raise DriverError(why)
