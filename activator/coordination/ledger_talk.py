"""The conversation of one activator with one shared ledger: one call at a time, and when.

What is said within a turn of the loop goes in one call; while that is on its way the next one is
gathered. So operations arrive in the order in which they happened, and under load a round trip
carries many. What they mean is the `Speaker`'s (`redis_ledger`), which declares all it has whenever
the store may have another idea of it: after a reconnect, a lost reply, a burial.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final, Protocol

from activator.coordination.ledger_ops import Batch, OtherVersion, decode, joined
from activator.core.endpoint import Endpoint, StaticBackend
from activator.errors import StoreUnavailable, fault_of_ours
from activator.redisio.commands import Opening

if TYPE_CHECKING:
    from activator.coordination.ledger_ops import Reply
    from activator.coordination.memory import Cancellable
    from activator.coordination.redis_ledgers import LedgerKit
    from activator.core.endpoint import Balance

_log = logging.getLogger("activator.coordination")

FRESH: Final = 1.0
"""Seconds, from when it was asked for, that the store's word may be acted upon without it. Less
than all have to say what they have after the store has lost it (`GRACE_MS`), and than others take
to believe an activator dead."""
CHECK: Final = 0.5
"""Seconds between two questions for what was missed, while something waits or is in flight."""
IDLE_CHECK: Final = 600.0
"""Seconds between two signs of life of a ledger without requests: its keys expire after an hour."""
AWAY_CHECK: Final = 0.25
"""Seconds between two looks at whether the store is back."""
OTHER_CHECK: Final = 10.0
"""Seconds between two looks at whether the activators of another version have gone."""

_NEVER: Final = -1


class Speaker(Protocol):
    """Who speaks, and what about."""

    @property
    def endpoint(self) -> Endpoint: ...

    @property
    def is_shared(self) -> bool:
        """The store is wanted to say who gets a slot."""

    @property
    def is_alone(self) -> bool:
        """What the store says means nothing to it now."""

    @property
    def has_tickets(self) -> bool:
        """Or slots without."""

    def before_check(self, batch: Batch) -> None:
        """It is about to ask what it has missed."""

    def declare(self, batch: Batch) -> None:
        """Say everything there is; from now on it is not alone."""

    def follow(self, batch: Batch, reply: Reply) -> None:
        """What was answered to `batch`."""

    def carry_on_alone(self) -> None:
        """The store is no help for now."""


class _Nobody:
    """In the place of one that has signed off: it has the talk, and is to be freed at once."""

    endpoint = Endpoint("", StaticBackend(()))
    is_shared = has_tickets = False
    is_alone = True

    def before_check(self, batch: Batch) -> None: ...

    def declare(self, batch: Batch) -> None: ...

    def follow(self, batch: Batch, reply: Reply) -> None: ...

    def carry_on_alone(self) -> None: ...


class Talk:
    """See the module. Say something on `batch`, then `go`."""

    def __init__(self, kit: LedgerKit, speaker: Speaker) -> None:
        self._kit = kit
        self._speaker: Speaker = speaker
        self._keys = kit.keys_of(speaker.endpoint.name)
        self.call_soon = asyncio.get_running_loop().call_soon
        self._opening: tuple[Opening, int, Balance] | None = None
        self._closed = False
        self._calling = False
        self._is_due = False
        """It speaks at the end of this turn of the loop."""
        self._told_in = _NEVER
        """When it declared all it has: after how many gaps in what the others call out."""
        self._born = ""
        self._wake_at: float | None = None
        self._checked_at = 0.0
        self._said_at = 0.0
        self._fresh_until = -inf
        self._retry_at = 0.0
        self._timer: Cancellable | None = None
        self._timer_at = inf
        self.batch = Batch()
        self._kicked = False
        self._joining: asyncio.Task[None] | None = None
        """Of thousands few have one: it is there while there is something to wait for."""
        self._answered_last: asyncio.Event | None = None
        self._kick()

    def go(self, *, at_once: bool = False) -> None:
        """There is something to say. Without `at_once` it goes together with what else is said in
        this turn of the loop."""
        if self._calling:
            return
        if not self._joined:
            self._kick()
        elif at_once:
            self._speak()
        elif not self._is_due:
            self._is_due = True
            self.call_soon(self._speak_due)

    def begin_again(self) -> None:
        """The store may have missed, or forgotten, something: declare."""
        self._told_in, self._retry_at = _NEVER, self._kit.clock()
        self._kick()

    def leave(self) -> None:
        """Nobody needs to know any more what is here."""
        self._told_in, self._born, self.batch = _NEVER, "", Batch()
        opening = self._begin_call()  # it may be closed before the task begins
        self._kit.tasks.spawn(self._sign_off(opening), name=f"leave {self._speaker.endpoint.name}")

    def close(self) -> None:
        """The last word is sent as soon as it can be; `LedgerKit.tasks` wait for it."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._born or self._calling or self._joining is not None:
            self._kick()
        else:
            self._speaker = _Nobody()

    @property
    def is_settled(self) -> bool:
        """The store knows of everything that has happened here, and has answered."""
        if self._closed:
            return self._joining is None
        said = self._joined and not self.batch and not self._calling
        return self._speaker.is_alone or said

    @property
    def fresh_until(self) -> float:
        """By the kit's clock: until then what the store said last may be acted upon."""
        return self._fresh_until if self._told_in == self._kit.gaps else -inf

    @property
    def _joined(self) -> bool:
        """The store has been told of everything, and the others have been heard since."""
        return self._told_in == self._kit.gaps

    def _kick(self) -> None:
        """There may be something to do that takes longer than a call."""
        self._kicked = True
        if self._joining is None and (self._closed or self._speaker.is_shared):
            self._joining = self._kit.tasks.spawn_lasting(
                self._run, name=f"ledger {self._speaker.endpoint.name}", again=self._kick
            )

    async def _run(self) -> None:
        """Joins, and signs off at the end; what is said in between needs no task."""
        while self._kicked and not self._closed:
            self._kicked = False
            if self._calling:
                continue  # whoever calls kicks again
            if self._joined:
                self._speak()
            elif self._speaker.is_shared and self._may_speak:
                await self._join_or_not()
        if self._closed:
            if self._calling:
                self._answered_last = asyncio.Event()
                await self._answered_last.wait()
            if self._born:
                await self._sign_off(self._begin_call())
                self._born = ""
            self._speaker = _Nobody()
        else:
            self._set_timer()
        self._joining = None

    # --- while it is joined: from callback to callback

    def _speak_due(self) -> None:
        self._is_due = False
        self._speak()

    def _speak(self) -> None:
        if not self._joined or self._calling or self._closed or not self._speaker.is_shared:
            return
        batch, now = self.batch, self._kit.clock()
        if now >= self._checked_at + CHECK and now >= self._check_at:
            self._checked_at = now
            batch.check()
            self._speaker.before_check(batch)
        if not batch and (self._wake_at is None or now < self._wake_at):
            return
        self.batch, self._said_at = Batch(), now
        self._calling = True
        self._kit.link.call(self._begin_call(), batch.args, partial(self._answered, batch))

    def _answered(self, batch: Batch, said: Any | StoreUnavailable) -> None:
        self._calling = False
        try:
            reply = decode(said)
            if not reply.is_member:  # what we had passes on
                self._told_in, self._retry_at = _NEVER, self._kit.clock()
            elif not self._speaker.is_alone:
                self._heard(batch, reply)
        except (StoreUnavailable, OtherVersion) as error:
            self._not_heard(error)
        except Exception as bug:  # whoever waits for a slot must not wait on
            self._kit.tasks.tell_failure(f"ledger {self._speaker.endpoint.name}", bug)
            self._met(bug, again_in=OTHER_CHECK)
        if self._closed:
            if self._answered_last is not None:
                self._answered_last.set()
        elif not self._joined:
            self._kick()
        elif self.batch:
            self._speak()
        elif self._wake_at is not None or self._timer_at > self._checked_at + CHECK:
            self._set_timer()

    def _met(self, bug: Exception, *, again_in: float) -> None:
        self._fall_silent(fault_of_ours(bug), again_in=again_in)

    def _not_heard(self, error: StoreUnavailable | OtherVersion) -> None:
        if isinstance(error, OtherVersion):
            why = "the ledger is kept by an activator of another version"
            self._fall_silent(why, again_in=OTHER_CHECK)
        else:
            self._kit.store_clock.doubt()
            self._fall_silent(str(error), again_in=AWAY_CHECK)

    # --- becoming a member, and none

    async def _join_or_not(self) -> None:
        try:
            await self._kit.store_clock.set()
            await self._join()
        except (StoreUnavailable, OtherVersion) as error:
            self._not_heard(error)
        except Exception as bug:
            self._met(bug, again_in=0.0)
            raise
        if self._joined:
            self.go()

    async def _join(self) -> None:
        """Declare all there is; what happens meanwhile is sent afterwards."""
        batch, gaps = Batch(), self._kit.gaps
        self.batch = batch
        batch.declare(born=self._born, name=self._kit.new_name())
        self._speaker.declare(batch)
        self.batch, self._said_at = Batch(), self._kit.clock()
        self._calling = True
        try:
            reply = await self._call(self._begin_call(), batch)
        finally:
            self._calling = False
        if not self._speaker.is_alone:
            self._told_in, self._born = gaps, reply.born
            self._checked_at = self._kit.clock()
            self._heard(batch, reply)

    def _heard(self, batch: Batch, reply: Reply) -> None:
        self._fresh_until = self._said_at + FRESH
        self._wake_at = None if reply.wake_in is None else self._kit.clock() + reply.wake_in
        self._speaker.follow(batch, reply)

    def _fall_silent(self, why: str, *, again_in: float) -> None:
        self._told_in, self._wake_at = _NEVER, None
        self._retry_at = self._kit.clock() + again_in
        self.batch = Batch()
        if not self._speaker.is_alone:
            endpoint = self._speaker.endpoint
            _log.warning(
                "slots are shared out",
                extra={
                    "action": "slots_alone",
                    "endpoint": endpoint.name,
                    "reason": why,
                    "limit": endpoint.concurrency,
                    "share": self._kit.share_of(endpoint),
                },
            )
            self._speaker.carry_on_alone()
        if not self._speaker.is_shared:
            self.leave()

    async def _call(self, opening: Opening, batch: Batch) -> Reply:
        args = (*opening.args, *batch.args)
        return decode(await self._kit.link.run(opening.script, opening.keys, args))

    def _begin_call(self) -> Opening:
        kit, endpoint = self._kit, self._speaker.endpoint
        limit, balance = endpoint.concurrency, endpoint.balance
        if self._opening is None or self._opening[1:] != (limit, balance):
            known = joined((str(kit.version), endpoint.name, kit.channel))
            args = (kit.me, str(limit), balance.value, known)
            self._opening = Opening(kit.script, self._keys, args), limit, balance
        return self._opening[0]

    async def _sign_off(self, opening: Opening) -> None:
        batch = Batch()
        batch.leave()
        try:
            await self._call(opening, batch)
        except (StoreUnavailable, OtherVersion) as error:
            # its silence will tell the others
            _log.info("not signed off", extra={"action": "not_signed_off", "reason": str(error)})

    # --- when to speak unasked ------------------------------------------------------------------

    @property
    def _may_speak(self) -> bool:
        """Not before its time where the store did not let us: what is done here meanwhile would
        have us ask without a pause."""
        return self._joined or self._kit.clock() >= self._retry_at

    @property
    def _check_at(self) -> float:
        # without a limit it ends soon, when nothing is paced any more: that time alone may bring
        soon = self._speaker.has_tickets or not self._speaker.endpoint.concurrency
        return self._checked_at + (CHECK if soon else IDLE_CHECK)

    def _set_timer(self) -> None:
        """To look again when time alone may have changed something; one that is due earlier than
        that does no harm. Not while it is answered: it would be due again and again."""
        if self._calling or not self._speaker.is_shared:
            return
        at = self._retry_at
        if self._joined:
            at = self._check_at if self._wake_at is None else min(self._check_at, self._wake_at)
        if at < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer, self._timer_at = self._kit.call_at(at, self._timer_fired), at

    def _timer_fired(self) -> None:
        self._timer, self._timer_at = None, inf
        if self._joined:
            self._speak()
            self._set_timer()
        else:
            self._kick()
