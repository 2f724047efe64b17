"""The replicas an endpoint is meant to have, and the orders that get it there.

Decides how many to ask for, when asking is due, who leaves rotation first, and what a change by
somebody else means for the count. Whether the endpoint should run at all is `lifecycle`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from activator.core.autoscaling import highest
from activator.core.durations import in_words
from activator.core.effects import Record, Retire, SetReplicas
from activator.core.endpoint import Owner, ScalePolicy
from activator.core.orders import Change, Orders
from activator.core.resizing import Resizer

if TYPE_CHECKING:
    from activator.core.effects import Effect
    from activator.core.failed_starts import FailedStarts
    from activator.core.observation import Observation, SeenReplica

NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class View:
    """An observation, less the replicas that were ordered away."""

    seen: Observation
    alive: tuple[SeenReplica, ...]
    now: float

    @property
    def is_unsure(self) -> bool:
        """An activator that may exist may have something in flight anywhere."""
        return self.now < self.seen.unsure_until

    @property
    def ready(self) -> int:
        return sum(replica.ready for replica in self.alive)


class Fleet:
    """One endpoint's target, the orders towards it, and the replicas on their way out."""

    def __init__(self, policy: ScalePolicy, *, starts: FailedStarts) -> None:
        self.policy = policy
        self.target = 0
        """Replicas that should run now; 0 while the endpoint is inactive or failed."""
        self.label = ""
        """Why the next order is given: the reason of SetReplicas, one of a few words."""
        self.lost = False
        """A replica ended unasked and no order has been given since."""
        self._starts = starts
        self._orders = Orders()
        self._resizer = Resizer()
        self._restore = 0
        self._unready_since: dict[str, float] = {}
        self._retired: frozenset[str] = frozenset()

    @property
    def is_settled(self) -> bool:
        """No order is under way."""
        return self._orders.is_settled

    def is_doomed(self, replica: str) -> bool:
        """It was ordered away and may still be seen."""
        return replica in self._orders.doomed

    def look(self, seen: Observation, *, ended: bool, now: float) -> Change | None:
        """Compare what is wanted with what was ordered."""
        return self._orders.look(seen, ended=ended, now=now)

    def view(self, seen: Observation, *, now: float) -> View:
        doomed = self._orders.doomed
        before = self._unready_since
        self._unready_since = {
            each.id: before.get(each.id, now) for each in seen.replicas if not each.ready
        }
        return View(seen, tuple(each for each in seen.replicas if each.id not in doomed), now)

    def activate(self, label: str, *, remembered: int = 0) -> None:
        """Aim at the count that ran before, within the policy's bounds. What the outside world
        has `remembered` counts more than what was seen from here: others order, too."""
        self.label, self.lost = label, False
        before = remembered or self._restore
        self.target = max(min(before, self.policy.max), self.policy.min, 1)
        if self.policy.owner is Owner.EXTERNAL:
            self.target = 1

    def adopt(self, wanted: int) -> None:
        """Aim at what somebody else, or an earlier life of this activator, has asked for."""
        self.label, self.lost = "replace", False
        self.target = wanted
        if wanted > self.policy.max:
            self._resizer.accept(wanted)

    def settle(self, *, now: float) -> None:
        """The target runs: autoscaling counts from here."""
        self._resizer.restart(self.target, now=now)

    def stay(self) -> None:
        """Nobody leaves any more."""
        self._resizer.stay()

    def give_up(self) -> None:
        """Aim at none, and remember what to restore."""
        self._restore = self.target or self._restore
        self.target = 0
        self._resizer.accept(0)
        self._resizer.stay()

    def doom(self, view: View) -> None:
        """Somebody else ordered away everything that is seen."""
        self._orders.doom(each.id for each in view.seen.replicas)

    def follow(self, change: Change, *, by_hand: bool, now: float) -> None:
        """Somebody else changed the count to one that is not zero: that is the target now.

        More than before, `by_hand`, is a floor until the endpoint goes idle; fewer is a fresh
        beginning.
        """
        if self.policy.owner is Owner.ACTIVATOR:
            if change.wanted > change.expected:
                if by_hand:
                    self._resizer.accept(change.wanted)
            else:
                self._resizer.lower(change.wanted)
            self._resizer.restart(change.wanted, now=now)
        self.target = change.wanted

    def may_order(self, *, now: float) -> bool:
        """An order would neither overtake another nor come too soon after a refusal."""
        return self._orders.may_place(now=now)

    def empty(self, view: View, *, label: str) -> SetReplicas:
        """Order all away; the caller has made sure that it `may_order`."""
        return self._place(0, label, view, victims=tuple(each.id for each in view.seen.replicas))

    def order_missing(self, view: View, *, needed: bool) -> list[Effect]:
        """Ask for the target, if it is not asked for and not too soon after a failure.

        `needed` False: what was lost is not replaced.
        """
        seen, now = view.seen, view.now
        # what somebody else raised beyond `max` is accepted, but never asked for by us
        count = min(self.target, max(self.policy.max, 1))
        short = self.lost and len(view.alive) < count
        if not (seen.wanted < count or short) or (self.lost and not needed):
            return []
        if seen.wanted and (self.policy.owner is Owner.EXTERNAL or not seen.leading):
            return []
        if now < self._starts.retry_at or seen.wanted > count or not self.may_order(now=now):
            return []
        return [self._place(count, self.label, view)]

    def resize(self, view: View, *, frozen: bool) -> list[Effect]:
        """1→N: up at once, down when those who are to go have finished; `frozen` only averages."""
        seen, now = view.seen, view.now
        if self.policy.owner is Owner.EXTERNAL:
            self._resizer.stay()
            return []
        leaving = self._resizer.leaving
        stays = any(each.ready and each.id not in leaving for each in view.alive)
        if frozen or not seen.leading or not stays or view.is_unsure:
            self._resizer.stay()
        count = self._resizer.count(seen.demand, ready=view.ready, policy=self.policy, now=now)
        if frozen or not seen.leading or not self.may_order(now=now):
            return []
        if count >= self.target:
            return self._grow(view, count)
        if view.is_unsure:
            return []
        if seen.wanted <= count:
            self.target = count
            return []
        return self._shrink(view, count)

    def drop_overdue(self, view: View) -> list[Effect]:
        """Beside ready ones, replicas that are not ready for a whole start timeout are stopped
        once they have nothing in flight; what is still needed is asked for anew."""
        seen, now = view.seen, view.now
        hung = [
            each
            for each in view.alive
            if not each.ready and not each.in_flight and now >= self._overdue_at(each.id)
        ]
        may = seen.leading and self.policy.owner is Owner.ACTIVATOR and self.may_order(now=now)
        may = may and not view.is_unsure
        if not hung or not may or seen.wanted <= len(hung):
            return []
        ids = tuple(each.id for each in hung)
        by_ordinal = any(each.ordinal is not None for each in view.alive)
        if by_ordinal and set(highest(view.alive, count=len(ids))) != set(ids):
            return []  # others would go
        order = self._place(seen.wanted - len(hung), "overdue", view, victims=ids)
        self.lost, self.label = True, "replace"
        words = f"{', '.join(ids)}: not ready for {in_words(self.policy.start_timeout)}"
        return [Record("overdue", words), order]

    def retire(self, view: View) -> list[Effect]:
        """Tell who is out of rotation, if that has changed: those who are to leave, and those who
        were ordered away and are still seen."""
        out = self._orders.doomed.union(self._resizer.leaving)
        seen = tuple(each.id for each in view.seen.replicas)
        now_out = tuple(each for each in seen if each in out)
        known = self._retired.intersection(seen)
        self._retired = frozenset(now_out)
        return [] if self._retired == known else [Retire(now_out)]

    def orders_wake_at(self) -> float:
        return self._orders.wakes_at()

    def sizes_wake_at(self, *, now: float) -> float:
        """When time alone may change a count; infinity if never."""
        if self.policy.owner is Owner.EXTERNAL:
            return NEVER
        moments = [self._overdue_at(each) for each in self._unready_since]
        moments.append(self._resizer.wakes_at(policy=self.policy, now=now))
        return min((each for each in moments if each > now), default=NEVER)

    def _overdue_at(self, replica: str) -> float:
        timeout = self.policy.start_timeout
        return self._unready_since[replica] + timeout if timeout else NEVER

    def _grow(self, view: View, count: int) -> list[Effect]:
        self._resizer.stay()
        if count == self.target:
            return []
        self.target, self.label, self.lost = count, "autoscale", False
        return [Record("scaled_up", f"to {count}: a demand of {view.seen.demand}")]

    def _shrink(self, view: View, count: int) -> list[Effect]:
        surplus = len(view.alive) - count
        if len(view.alive) < view.seen.wanted:
            return []  # one that is not seen yet could take the place of one that is busy
        if not self._resizer.leave(view.alive, count=surplus, now=view.now):
            return []
        order = self._place(count, "autoscale", view, victims=self._resizer.leaving)
        self.target = count
        self._resizer.stay()
        return [Record("scaled_down", f"to {count}: a demand of {view.seen.demand}"), order]

    def _place(
        self, count: int, label: str, view: View, *, victims: tuple[str, ...] = ()
    ) -> SetReplicas:
        self._orders.place(count, wanted=view.seen.wanted, victims=victims)
        self._starts.attempted()
        self._retired |= frozenset(victims)  # an order retires those whom it sends away
        self.lost = False
        return SetReplicas(count, label, victims)
