"""Replicas of one machine behind several activators: one of them runs these, the others look on.

Implements `drivers.base.Driver` over a deed that all activators share (`core.deeds`) and, while
this one holds it, over the driver that really runs the processes. Whoever wakes an endpoint that
nobody owns becomes its owner; orders of the others reach the owner through the deed, and what it
tells there is what they see. An owner that was given up and comes back gives its replicas nothing
new and stops them when they have finished.

Replicas that outlive whoever runs them (`lasting`: containers) are always somebody's: who owns
nothing takes over what nobody owns, as it is, and whoever is followed, or ends, stops nothing.

While the store is away the owner goes on by itself: nobody can take the deed over meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from functools import partial
from typing import TYPE_CHECKING

from activator.aiokit.tasks import Tasks
from activator.aiokit.wake import Wake
from activator.core.deeds import Ordered
from activator.drivers.base import DriverError, OutOfTouch
from activator.drivers.published import NOTHING, Published, decode, encode
from activator.drivers.seen import seen
from activator.drivers.telling import TELL_AGAIN, Telling
from activator.drivers.tenure import Tenure
from activator.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.drivers.base import Driver, Snapshot
    from activator.drivers.title import Title

TAKEN_WITHIN = 60.0
"""Seconds until an order that nobody carries out has failed: an owner that is about to end may let
others finish for longer, but whoever waits for that should be told so."""
RETRY = 1.0
"""Seconds after which the store is asked again for what it did not do."""
LINES_EVERY = 2.0
"""Seconds between two times that new last lines are told, or asked for."""
LINES_FOR = 900.0
"""Seconds for which a replica's last lines are told again and again: as long as a start takes."""

_log = logging.getLogger("activator.replica")


class OwnedDriver:
    """See the module. One `run` in its life."""

    def __init__(
        self,
        name: str,
        title: Title,
        *,
        make: Callable[[int], Driver],
        in_flight: Callable[[str], int],
        patience: Callable[[], float],
        lasting: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`make`: the driver of one tenure, whose replicas' ids tell its term; `in_flight`:
        requests at a replica, of all activators; `patience`: seconds that these may still have;
        `lasting`: replicas outlive the driver, and the next one finds them by the same ids."""
        self._name = name
        self._title = title
        self._make = make
        self._in_flight = in_flight
        self._patience = patience
        self._lasting = lasting
        self._clock = clock
        self._tenure: Tenure | None = None
        self._former: list[Tenure] = []
        self._published: tuple[bytes, Published] = (b"", NOTHING)
        self._telling: Telling | None = None
        """Of `_tenure`."""
        self._looked_at = 0.0
        self._shown: Snapshot | None = None
        self._report: Callable[[Snapshot], None] | None = None
        self._wake = Wake()
        self._news: asyncio.Event | None = None
        """Of the next thing that is noticed, if anybody waits for it."""
        self._finishing = Tasks(f"finishing/{name}")
        self._failure = _Failure(self._wake)
        self._running = Tasks(f"owned/{name}", on_failure=self._failure)
        self._has_ended = False

    # --- Driver

    async def run(self, report: Callable[[Snapshot], None]) -> None:
        """Works until cancelled; then others finish what they have at the replicas here, within
        `patience`, and these are stopped. Cancelled again meanwhile, it waits for nobody."""
        self._report = report
        unfollow = self._title.follow(self._noticed)
        try:
            await self._finishing.lasting(self._go_on, name="act")
            if self._failure.what is not None:
                raise self._failure.what
        finally:
            self._has_ended = True
            self._report = None
            try:
                await self._leave()
            finally:
                unfollow()

    async def _go_on(self) -> None:
        while self._failure.what is None:
            self._wake.clear()
            await self._wake.wait(await self._act())

    async def scale(
        self,
        replicas: int,
        *,
        victims: tuple[str, ...] = (),
        before: int | None = None,
        fence: str = "",
    ) -> None:
        """Returns when the owner has carried out the order, or somebody else was faster in waking
        the endpoint: what they have asked for is seen then."""
        if self._has_ended:
            raise DriverError(f"endpoint {self._name} is shutting down")
        if replicas < 0:
            raise DriverError(f"cannot run {replicas} replicas")
        try:
            async with asyncio.timeout(TAKEN_WITHIN):
                await self._ask(replicas, victims=victims, before=before, fence=fence)
        except TimeoutError as error:
            raise DriverError("the activator that owns the processes does not answer") from error
        except StoreUnavailable as error:
            if self._tenure is None or fence:
                raise DriverError(str(error)) from error
            await self._tenure.driver.scale(replicas, victims=victims, before=before)
            self._noticed()

    async def bump_fence(self) -> None:
        try:
            await self._title.revive()
        except StoreUnavailable as error:
            raise DriverError(str(error)) from error

    async def discard(self) -> None:
        """What is made here; the others take away theirs."""
        for tenure in self._tenures:
            await tenure.driver.discard()

    def last_lines(self, replica_id: str) -> tuple[str, ...]:
        for tenure in self._tenures:
            if any(each.id == replica_id for each in tenure.replicas):
                return tenure.driver.last_lines(replica_id)
        if self._clock() - self._looked_at >= LINES_EVERY:
            self._looked_at = self._clock()
            self._title.look()
        return self._told().lines.get(replica_id, ())

    # --- what is seen

    @property
    def _owns(self) -> bool:
        return self._title.deed.holder == self._title.me

    @property
    def _tenures(self) -> list[Tenure]:
        return [*self._former, self._tenure] if self._tenure else self._former

    def _noticed(self) -> None:
        self._wake.set()
        if self._news is not None:
            self._news.set()
            self._news = None
        if self._report is not None and self._title.is_known:
            snapshot = self._snapshot()
            if snapshot != self._shown:
                self._shown = snapshot
                self._report(snapshot)

    def _next_news(self) -> asyncio.Event:
        if self._news is None:
            self._news = asyncio.Event()
        return self._news

    def _snapshot(self) -> Snapshot:
        tenure = self._tenure if self._owns else None
        return seen(
            self._name,
            self._title,
            self._told(),
            tenure=tenure,
            former=[each for each in self._tenures if each is not tenure],
            lasting=self._lasting,
        )

    def _told(self) -> Published:
        words, published = self._published
        if words != self._title.deed.told:
            words = self._title.deed.told
            published = decode(words, told_at=self._title.told_at, before=published)
            self._published = (words, published)
        return published

    # --- what is done

    async def _act(self) -> float | None:
        """Whatever is to be done now; returns the seconds until there is something again."""
        try:
            await self._keep_title()
            tenure = self._tenure
            if tenure is None:
                return None
            if self._title.deed.number > tenure.taken and tenure.has_begun:
                failed = partial(self._finishing.tell_failure, "order")
                await tenure.carry_out(self._title.deed, failed=failed)
                self._noticed()
            await self._tell()
            is_over = tenure.is_empty and tenure.taken == self._title.deed.number
            if is_over and not self._lasting:
                await self._give_back(tenure)
        except StoreUnavailable:
            return RETRY
        is_young = any(self._clock() - each.since < LINES_FOR for each in tenure.replicas)
        return LINES_EVERY if is_young and self._title.has_company else TELL_AGAIN

    async def _keep_title(self) -> None:
        title, tenure = self._title, self._tenure
        if tenure is not None and (title.deed.holder, title.deed.term) != (title.me, tenure.term):
            self._step_down(tenure)
        elif self._telling is not None and title.is_forgotten:
            await self._telling.claim_again(is_leaving=self._is_leaving)
        if self._lasting and title.may_claim and not self._is_leaving:
            await self._succeed()
        if self._tenure is None and self._owns:
            self._begin()

    def _begin(self) -> None:
        deed = self._title.deed
        tenure = self._tenure = Tenure(
            self._make(deed.term),
            deed,
            exits=self._told().exits,
            changed=self._noticed,
            tasks=self._running,
        )
        self._telling = Telling(self._title, tenure, lasting=self._lasting, clock=self._clock)

    def _step_down(self, tenure: Tenure) -> None:
        self._tenure = self._telling = None
        self._former.append(tenure)
        if not tenure.is_empty:
            extra = {"action": "stepped_down", "endpoint": self._name}
            _log.warning("another activator has taken over", extra=extra)
        self._finishing.spawn(self._finish(tenure), name=f"term {tenure.term}")

    async def _finish(self, tenure: Tenure) -> None:
        """What outlives it is its successor's; nothing else is left behind."""
        try:
            if not self._lasting:
                await self._seen_out(tenure)
                await self._stop_all(tenure)
        except Exception as bug:  # it ends all the same, and its replicas with it
            self._finishing.tell_failure(f"see term {tenure.term} out", bug)
        tenure.cancel()
        await tenure.ended()
        self._former.remove(tenure)
        self._noticed()

    async def _stop_all(self, tenure: Tenure) -> None:
        """Whether or not the driver's replicas could outlive it."""
        try:
            await tenure.driver.scale(0)
            while not tenure.is_empty:
                await self._next_news().wait()
        except DriverError as error:
            _log.warning("not stopped: %s", error, extra={"action": "not_stopped"})

    async def _seen_out(self, tenure: Tenure) -> None:
        await tenure.seen_out(self._in_flight, within=self._patience(), clock=self._clock)

    # --- what is told

    async def _tell(self) -> None:
        if self._telling is not None:
            await self._telling.tell(lambda: self._is_leaving)

    @property
    def _is_leaving(self) -> bool:
        return self._has_ended or self._title.is_leaving

    async def _give_back(self, tenure: Tenure) -> None:
        words = encode(Published(exits=tenure.exits), now=self._clock())
        if await self._title.give_back(term=tenure.term, number=tenure.taken, told=words):
            self._tenure = self._telling = None
            tenure.cancel()
            await tenure.ended()
            self._noticed()

    # --- what is asked

    async def _ask(
        self, replicas: int, *, victims: tuple[str, ...], before: int | None, fence: str
    ) -> None:
        title = self._title
        while True:
            news = self._next_news()
            if title.may_claim and self._lasting:
                await self._succeed()
            elif title.may_claim:
                if replicas and not before:
                    await self._claim(replicas)
                return
            if self._owns:
                await self._tell()  # what is wanted is compared with what was told
            became = await title.order(wanted=replicas, victims=victims, before=before, fence=fence)
            match became:
                case Ordered.OUTDATED:
                    raise DriverError(f"endpoint {self._name} has been revived")
                case Ordered.TAKEN:
                    if await self._taken():
                        return
                case Ordered.NOBODYS if not title.may_claim:
                    await news.wait()

    async def _claim(self, replicas: int) -> None:
        if self._title.is_leaving:
            raise DriverError(f"endpoint {self._name} is shutting down")
        exits = self._snapshot().exits
        words = encode(Published(exits=exits), now=self._clock())
        if await self._title.claim(wanted=replicas, told=words):
            _log.info("owned", extra={"action": "owned", "endpoint": self._name})

    async def _succeed(self) -> None:
        """Whoever owned it has ended, or nobody ever has. Somebody else may be quicker."""
        if self._is_leaving:
            raise DriverError(f"endpoint {self._name} is shutting down")
        if await self._title.claim(wanted=None):
            _log.info("owned", extra={"action": "owned", "endpoint": self._name})
            self._noticed()

    async def _taken(self) -> bool:
        """The latest order has been carried out; False: its taker is not the owner any more, and
        it was no order to whoever follows. Raises OutOfTouch: it could not be passed on."""
        title = self._title
        asked = title.deed

        def stands() -> bool:
            if self._lasting:
                return title.deed.number >= asked.number
            same = (title.deed.holder, title.deed.term) == (asked.holder, asked.term)
            return same and not title.is_lost

        while stands():
            tenure = self._tenure
            ours = tenure is not None and self._owns and tenure.taken >= asked.number
            if tenure is not None and ours:
                _raise_refusal(asked.number, tenure.refused, tenure.refusal)
                return True
            if title.deed.taken >= asked.number:
                told = self._told()
                _raise_refusal(asked.number, told.refused, told.refusal)
                return True
            await self._next_news().wait()
        return False

    # --- the end

    async def _leave(self) -> None:
        tenures = list(self._tenures)
        in_haste = False
        try:
            await self._finishing.aclose()
            await self._part(tenures)
        except asyncio.CancelledError:
            in_haste = True  # on the way out because of the first one
        for each in tenures:
            each.cancel()
        if in_haste:
            await asyncio.sleep(0)
            for each in tenures:
                each.cancel()
        for each in tenures:
            with contextlib.suppress(asyncio.CancelledError):
                await each.ended()
        await self._hand_back()

    async def _part(self, tenures: list[Tenure]) -> None:
        if not self._title.has_company or not tenures or self._lasting:
            return
        try:
            await self._tell()
        except StoreUnavailable:
            return  # they cannot be told, and would go on sending
        await asyncio.gather(*(self._seen_out(each) for each in tenures))

    async def _hand_back(self) -> None:
        tenure = self._tenure
        if tenure is None or not self._owns:
            return
        if self._lasting and not tenure.is_empty:
            return  # to be taken over once it is seen that this activator has ended
        words = encode(Published(exits=tenure.exits), now=self._clock())
        try:
            number = self._title.deed.number
            await self._title.give_back(term=tenure.term, number=number, told=words)
        except StoreUnavailable as error:
            extra = {"action": "not_given_back", "endpoint": self._name}
            _log.info("not given back: %s", error.detail, extra=extra)


class _Failure:
    """What a driver raised: it comes out of `run`."""

    __slots__ = ("_wake", "what")

    def __init__(self, wake: Wake) -> None:
        self.what: BaseException | None = None
        self._wake = wake

    def __call__(self, _task: str, failure: BaseException) -> None:
        self.what = failure
        self._wake.set()


def _raise_refusal(asked: int, refused: int, why: str) -> None:
    if refused >= asked:
        raise OutOfTouch(why)
