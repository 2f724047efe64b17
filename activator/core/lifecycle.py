"""The life of one endpoint: INACTIVE → ACTIVATING → ACTIVE → DRAINING → INACTIVE, or FAILED.

Decides whether an endpoint should run, and when those who wait are told that it cannot. It is
shown facts again and again and asks for nothing twice that is under way. How many replicas, and
the orders for them, is `fleet`'s business; how long is idle enough `idle_clock`'s, how long a start
may take `start_clock`'s, when to try again `failed_starts`'s; whether one replica is ready
`readiness`'s; carrying effects out the control loop's.

INACTIVE    demand, a minimum or an operator → ACTIVATING
ACTIVATING  a replica is ready → ACTIVE · starts keep failing, or none is ready in time → FAILED
ACTIVE      idle for a whole idle timeout → DRAINING · none is ready but needed → ACTIVATING
DRAINING    every activator is quiet → INACTIVE · a request revives it → ACTIVE
FAILED      the breaker's rest is over and somebody needs it → ACTIVATING, one attempt
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from activator.core.durations import in_words
from activator.core.effects import Answer, AskQuiet, FailedStart, FailHeld, Record, Revive, WakeAt
from activator.core.endings import PROVEN_AFTER, Endings
from activator.core.endpoint import Owner, ScalePolicy
from activator.core.failed_starts import FailedStarts
from activator.core.fleet import Fleet, View
from activator.core.idle_clock import LONG_AGO, NEVER, IdleClock
from activator.core.observation import Ended, Observation, SeenReplica
from activator.core.orders import Change, Surprise
from activator.core.start_clock import StartClock, overdue

if TYPE_CHECKING:
    from activator.core.effects import Effect

__all__ = ["Ended", "Lifecycle", "Observation", "SeenReplica", "State"]

ASK_AGAIN_AFTER = 1.0
"""Seconds between a drain that another activator called off and the next attempt."""

QUIET_WITHIN = 10.0
"""Seconds that a drain waits for the activators' answer; meanwhile they hold what comes."""


class State(StrEnum):
    INACTIVE = "inactive"
    ACTIVATING = "activating"
    ACTIVE = "active"
    DRAINING = "draining"
    FAILED = "failed"


OPERATOR = "operator"
"""Why something is ordered: an operator asked for it."""


class _Wish(StrEnum):
    ACTIVATE = "activate"
    TOUCH = "touch"
    DEACTIVATE = "deactivate"
    FORCE = "force"


class Lifecycle:
    """Told the time and the facts, returns what to do.

    Observe after every change of the facts, after every call of another method that changes
    something, and at the latest WakeAt. Without a WakeAt, time alone changes nothing.
    """

    def __init__(self, policy: ScalePolicy, *, now: float, scalable: bool = True) -> None:
        """`scalable` False: replicas that are always there; ACTIVATING until one is ready."""
        self.state = State.INACTIVE if scalable else State.ACTIVATING
        self.since = now
        """When this state began."""
        self.paused = False
        self.failure: FailedStart | None = None
        """Why the last start failed, until one succeeds."""
        self._policy = policy
        self._scalable = scalable
        self._endings = Endings()
        self._starts = FailedStarts()
        self._start_clock = StartClock()
        self._idle_clock = IdleClock()
        self._fleet = Fleet(policy, starts=self._starts)
        self._wish: _Wish | None = None
        self._starts_nothing = False
        """Paused, or another activator does all there is to do."""
        self._kept_down = False
        """`min` does not count: an operator, or somebody else, went to zero."""
        self._declared = False
        """The activators were asked to be quiet and have not been revived since."""
        self._drain_label = ""
        self._drain_words = ""
        self._ask_again_at = LONG_AGO
        self._autoscaler = ""
        self._out: list[Effect] = []

    def reconfigure(self, policy: ScalePolicy) -> None:
        """Holds from the next observation on; what runs is brought within the new bounds."""
        if policy.min != self._policy.min:
            self._kept_down = False
        self._policy = self._fleet.policy = policy

    def pause(self) -> None:
        """Hold: nothing is started. What is in flight goes on, an idle endpoint may go to zero."""
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def activate(self) -> None:
        """An operator's wish; counts as activity. Lets a start through an open breaker."""
        self._wish = _Wish.ACTIVATE

    def touch(self) -> None:
        """Another activator was asked to activate: that is activity, and starts nothing here."""
        self._wish = self._wish or _Wish.TOUCH

    def deactivate(self, *, force: bool = False) -> None:
        """An operator's wish; overrides `min` until the next demand. An Answer says how it ended.

        Demand makes it void, unless `force`: then what is in flight is cut, and what still waits
        starts the endpoint anew.
        """
        self._wish = _Wish.FORCE if force else _Wish.DEACTIVATE

    def stay_down(self) -> None:
        """Another activator was asked to deactivate: where nothing runs, `min` starts nothing."""
        if self.state in {State.INACTIVE, State.FAILED}:
            self._kept_down = True

    def refusal(self, *, now: float) -> tuple[FailedStart, float] | None:
        """While the breaker is open: the cause, and seconds until a start is let through."""
        rest = self._starts.open_until - now
        if self.state is not State.FAILED or self.failure is None or rest <= 0:
            return None
        return self.failure, rest

    def observe(self, seen: Observation, *, now: float) -> list[Effect]:
        """What to do about these facts, in order; at most one WakeAt, and it comes last."""
        self._out = []
        self._starts_nothing = self.paused or not seen.may_start
        # one that was ordered away may still end on its own before it is told
        ended = [e for e in self._endings.new(seen.ended) if not self._fleet.is_doomed(e.id)]
        change = self._fleet.look(seen, ended=bool(ended), now=now)
        for each in ended:
            self._on_end(each, self._fleet.view(seen, now=now))
        if change is not None and self._scalable:
            self._on_change(change, self._fleet.view(seen, now=now))
        self._endings.note(seen.replicas, now=now)
        self._start_clock.look(seen, now=now)
        self._on_autoscaler(seen.autoscaler)
        self._on_wish(self._fleet.view(seen, now=now))
        view = self._fleet.view(seen, now=now)
        for _ in State:  # no path through the states is longer
            if not self._step(view):
                break
            view = self._fleet.view(seen, now=now)  # an order may have sent some away
        if self.state is State.ACTIVE:
            self._out += self._fleet.retire(view)
        self._tell_wake(view)
        return self._out

    # what has happened

    def _on_end(self, end: Ended, view: View) -> None:
        if self.state in {State.INACTIVE, State.FAILED}:
            return
        self._fleet.lost = True
        ready_for = self._endings.ready_for(end, now=view.now)
        if ready_for >= PROVEN_AFTER:
            self._record("crashed", f"{end.cause.message}, ready for {in_words(ready_for)}")
            if not view.alive:
                self._starts.forget()
            return
        self._record("start_failed", end.cause.message)
        self.failure = end.cause
        if self.state is State.ACTIVE and view.now - self.since >= PROVEN_AFTER:
            self._starts.proven()
        survivors = [each.id for each in view.alive if each.ready or not each.is_retrying]
        self._starts.failed(end.cause, survivors=survivors, now=view.now)

    def _on_change(self, change: Change, view: View) -> None:
        match change.why:
            case Surprise.REFUSED:
                self._on_refusal(change, view)
            case Surprise.FOREIGN:
                self._on_foreign(change, view)
                return
        if self._fleet.target:
            self._fleet.target = max(self._fleet.target, change.wanted)

    def _on_refusal(self, change: Change, view: View) -> None:
        self._record("refused", f"{change.expected} replicas: {view.seen.scale_error}")
        if view.seen.scale_lasting and self.state is State.ACTIVATING:
            self.failure = FailedStart(f"could not be asked to start: {view.seen.scale_error}")
            survivors = [each.id for each in view.alive if not each.is_retrying]
            self._starts.failed(self.failure, survivors=survivors, now=view.now)

    def _on_foreign(self, change: Change, view: View) -> None:
        """Respected, not fought. Only the leader orders more than a start that there is demand for,
        so it alone can tell what none of our activators has ordered."""
        fleet, owned = self._fleet, self._policy.owner is Owner.ACTIVATOR
        is_start = not change.expected and bool(view.seen.demand) and not self._starts_nothing
        is_foreign = view.seen.leading and not is_start
        if is_foreign and (owned or not change.wanted):
            who = f"somebody else went from {change.expected} to {change.wanted}"
            self._record("rescaled", who)
        if not change.wanted:
            fleet.doom(view)
            if fleet.target:
                self._kept_down = True
                somebody = "somebody else" if is_foreign else "another"
                self._end(view, f"scaled to zero by {somebody}")
            return
        if is_foreign and change.wanted > change.expected and owned:
            self._idle_clock.touch(now=view.now)
        if self.state is State.FAILED:
            self._adopt(view)
        elif fleet.target:
            fleet.follow(change, by_hand=is_foreign, now=view.now)

    def _on_autoscaler(self, autoscaler: str) -> None:
        """Said once, and again when it is another: two that change one count undo each other."""
        if autoscaler and autoscaler != self._autoscaler:
            mine = self._policy.owner is Owner.ACTIVATOR
            advice = ": set scale.owner: external, or remove it" if mine else ""
            self._record("autoscaler_found", f"{autoscaler} changes the count too{advice}")
        self._autoscaler = autoscaler

    def _on_wish(self, view: View) -> None:
        wish, self._wish = self._wish, None
        if wish is None:
            return
        match wish:
            case _ if not self._scalable:
                self._out.append(Answer("its replicas are never scaled"))
            case _Wish.ACTIVATE | _Wish.TOUCH:
                self._on_activate(view, starts=wish is _Wish.ACTIVATE)
            case _Wish.DEACTIVATE:
                self._on_deactivate(view)
            case _Wish.FORCE:
                self._on_force(view)

    def _on_activate(self, view: View, *, starts: bool) -> None:
        self._idle_clock.touch(now=view.now)
        if self.state is State.DRAINING:
            self._revive(view, "an operator asked for it")
        elif self.state not in {State.INACTIVE, State.FAILED} or not starts:
            return
        elif self._starts_nothing:
            why = "the endpoint is paused" if self.paused else "another activator serves"
            self._record("ignored", f"activate: {why}")
        elif self.state is State.FAILED or not view.seen.wanted or not self._fleet.is_settled:
            self._start(view, OPERATOR, "an operator asked for it")

    def _on_deactivate(self, view: View) -> None:
        if view.seen.demand:
            self._refuse_to_deactivate(f"there is a demand of {view.seen.demand}")
        elif self.state in {State.INACTIVE, State.FAILED}:
            self._kept_down = True
            self._out.append(Answer())
        elif not view.seen.leading:
            self._refuse_to_deactivate("this activator does not lead")
        elif view.is_unsure:
            self._refuse_to_deactivate("an activator does not answer and may exist")
        else:
            self._kept_down = True
            if self.state is State.DRAINING:
                self._drain_label = OPERATOR
            else:
                self._drain(view, OPERATOR, "an operator asked for it")

    def _on_force(self, view: View) -> None:
        if not view.seen.leading:
            self._refuse_to_deactivate("this activator does not lead")
        elif view.seen.wanted == 0 and self._fleet.is_settled:
            self._kept_down = True
            if self.state is not State.INACTIVE:
                self._end(view, "forced by an operator")
            self._out.append(Answer())
        elif self._fleet.may_order(now=view.now):
            self._kept_down = True
            self._out.append(self._fleet.empty(view, label=OPERATOR))
            self._end(view, "forced by an operator")
            self._out.append(Answer())
        elif self.state is not State.INACTIVE:
            self._wish = _Wish.FORCE  # an order is under way: as soon as it has been carried out
        else:
            self._out.append(Answer())  # it is that order

    def _refuse_to_deactivate(self, why: str) -> None:
        self._record("ignored", f"deactivate: {why}")
        self._out.append(Answer(why))

    # what follows

    def _step(self, view: View) -> bool:
        """True: the state has changed, look at it again."""
        match self.state:
            case State.INACTIVE:
                return self._inactive(view)
            case State.ACTIVATING:
                return self._activating(view)
            case State.ACTIVE:
                return self._active(view)
            case State.DRAINING:
                return self._draining(view)
            case State.FAILED:
                return self._failed(view)

    def _inactive(self, view: View) -> bool:
        if view.seen.wanted and self._fleet.is_settled:
            return self._adopt(view)
        return self._start_if_needed(view)

    def _activating(self, view: View) -> bool:
        now, seen = view.now, view.seen
        if view.ready:
            return self._become_active(view, "activated", f"after {in_words(now - self.since)}")
        if not self._scalable:
            return False
        nothing_comes = not view.alive and not seen.wanted and self._fleet.is_settled
        if self._starts_nothing and nothing_comes:
            why = "paused" if self.paused else "another activator serves"
            return self._end(view, f"{why}, and no replica is there")
        if self._starts.cause and self._starts.gives_up([r.id for r in view.alive], now=now):
            return self._fail(view, self._starts.cause)
        if now >= self._overdue_at:
            timeout, cause = self._policy.start_timeout, self._starts.present_cause
            return self._fail(view, overdue(view, timeout=timeout, cause=cause))
        if not self._starts_nothing:
            self._out += self._fleet.order_missing(view, needed=True)
        return False

    def _active(self, view: View) -> bool:
        if not view.ready and self._without_ready(view):
            return True
        if not self._scalable:
            return False
        if self._may_drain(view) and view.now >= self._idle_at(view.seen):
            idle_for = in_words(view.now - self._idle_clock.since(view.seen))
            return self._drain(view, "idle", f"no request for {idle_for}")
        self._out += self._fleet.resize(view, frozen=self._starts_nothing)
        self._out += self._fleet.drop_overdue(view)
        if not self._starts_nothing:
            short = self._keeps_up and len(view.alive) < self._policy.min
            needed = bool(view.seen.demand) or short
            self._out += self._fleet.order_missing(view, needed=needed)
        return False

    def _draining(self, view: View) -> bool:
        seen = view.seen
        if AskQuiet() in self._out:
            return False  # an answer seen now is one to an earlier question
        if why := self._why_revive(view):
            return self._revive(view, why)
        if not seen.wanted and not view.alive and self._fleet.is_settled:
            return self._end(view, self._drain_words)
        if not seen.quiet or not self._fleet.may_order(now=view.now):
            return False
        self._out.append(self._fleet.empty(view, label=self._drain_label))
        return self._end(view, self._drain_words)

    def _failed(self, view: View) -> bool:
        seen = view.seen
        if view.ready and seen.wanted:
            return self._adopt(view)
        if view.now >= self._starts.open_until and self._start_if_needed(view):
            return True
        # demand that comes while the breaker is open is refused; later it is not to be cut
        busy = any(each.in_flight for each in seen.replicas)
        busy |= bool(seen.demand) and view.now >= self._starts.open_until
        busy |= view.is_unsure
        if seen.wanted and seen.leading and not busy and self._fleet.may_order(now=view.now):
            self._out.append(self._fleet.empty(view, label="failed"))
        return False

    # the transitions

    def _start_if_needed(self, view: View) -> bool:
        if self._starts_nothing:
            return False
        if view.seen.demand:
            return self._start(view, "demand", f"a demand of {view.seen.demand}")
        if self._keeps_up:
            return self._start(view, "min", f"a minimum of {self._policy.min}")
        return False

    def _start(self, view: View, label: str, words: str) -> bool:
        self._kept_down = False
        self._fleet.activate(label, remembered=view.seen.remembered)
        return self._enter(State.ACTIVATING, view, "activating", words)

    def _adopt(self, view: View) -> bool:
        self._kept_down = False
        self._fleet.adopt(view.seen.wanted)
        words = f"{view.seen.wanted} wanted, {view.ready} ready"
        if view.ready:
            return self._become_active(view, "adopted", words)
        return self._enter(State.ACTIVATING, view, "adopted", words)

    def _become_active(self, view: View, action: str, words: str) -> bool:
        if self._declared:
            self._declared = False
            self._out.append(Revive())
        self.failure = None
        self._idle_clock.became_ready(now=view.now)
        self._fleet.settle(now=view.now)
        return self._enter(State.ACTIVE, view, action, words)

    def _without_ready(self, view: View) -> bool:
        seen = view.seen
        never_idles = bool(view.alive) and not self._idle_timeout
        if seen.demand or never_idles or self._keeps_up or not self._scalable:
            self._fleet.label = "replace"
            self._fleet.stay()
            return self._enter(State.ACTIVATING, view, "lost", "no replica is ready any more")
        if view.alive or not self._fleet.lost:
            return False  # nobody needs it: the idle clock goes on
        if not seen.wanted and self._fleet.is_settled:
            return self._end(view, "the last replica ended")
        return self._may_drain(view) and self._drain(view, "crashed", "the last replica ended")

    def _drain(self, view: View, label: str, words: str) -> bool:
        self._drain_label, self._drain_words = label, words
        self._declared = True
        self._out.append(AskQuiet())
        return self._enter(State.DRAINING, view, "draining", words)

    def _why_revive(self, view: View) -> str:
        seen = view.seen
        if seen.demand:
            return "a request came"
        if not seen.leading:
            return "leadership was lost"
        if view.is_unsure:
            return "an activator does not answer and may exist"
        if self._drain_label == "idle" and view.now < self._idle_at(seen):
            return "a request came and went, or the policy changed"
        if seen.quiet is False:
            return "another activator is not quiet"
        if seen.quiet is None and view.now >= self.since + QUIET_WITHIN:
            return "not every activator answered"
        return ""

    def _revive(self, view: View, words: str) -> bool:
        self._declared = self._kept_down = False
        if not view.seen.demand:  # with demand a whole idle timeout passes anyway
            self._ask_again_at = view.now + ASK_AGAIN_AFTER
        self._out.append(Revive())
        state = State.ACTIVE if view.ready else State.ACTIVATING
        return self._enter(state, view, "revived", words)

    def _fail(self, view: View, cause: FailedStart) -> bool:
        self.failure = cause
        rest = self._starts.open(cause, now=view.now)
        self._fleet.give_up()
        self._out.append(FailHeld(cause, retry_after=rest))
        words = f"{cause.message}; no start for {in_words(rest)}"
        return self._enter(State.FAILED, view, "failed", words)

    def _end(self, view: View, words: str) -> bool:
        self._starts.forget()
        self._fleet.give_up()
        return self._enter(State.INACTIVE, view, "deactivated", words)

    def _enter(self, state: State, view: View, action: str, words: str) -> bool:
        if self.state is State.DRAINING and self._drain_label == OPERATOR:
            self._out.append(Answer("" if state is State.INACTIVE else words))
        self.state = state
        self.since = view.now
        self._record(action, words)
        return True

    def _record(self, action: str, reason: str) -> None:
        self._out.append(Record(action, reason))

    # conditions and moments

    @property
    def _keeps_up(self) -> bool:
        return self._scalable and self._policy.min > 0 and not self._kept_down

    @property
    def _overdue_at(self) -> float:
        return self._start_clock.over_at(since=self.since, timeout=self._policy.start_timeout)

    @property
    def _idle_timeout(self) -> float:
        return 0.0 if self._keeps_up else self._policy.idle_timeout

    def _idle_at(self, seen: Observation) -> float:
        return self._idle_clock.over_at(seen, timeout=self._idle_timeout)

    def _may_drain(self, view: View) -> bool:
        seen, now = view.seen, view.now
        if seen.demand or not seen.leading or view.is_unsure:
            return False
        return now >= self._ask_again_at and self._fleet.may_order(now=now)

    def _tell_wake(self, view: View) -> None:
        now = view.now
        moments = [self._fleet.orders_wake_at(), view.seen.unsure_until]
        match self.state:
            case State.ACTIVATING if self._scalable:
                moments += [self._starts.retry_at, self._starts.gives_up_at, self._overdue_at]
            case State.ACTIVE if self._scalable:
                moments += [self._starts.retry_at, self._ask_again_at]
                timeout = self._idle_timeout
                moments += [self._idle_clock.looks_at(view.seen, timeout=timeout, now=now)]
                moments += [self._fleet.sizes_wake_at(now=now)]
            case State.DRAINING:
                moments += [self.since + QUIET_WITHIN]
            case State.FAILED:
                moments += [self._starts.open_until]
                if view.seen.wanted and any(each.in_flight for each in view.seen.replicas):
                    moments += [now + ASK_AGAIN_AFTER]  # ends of requests need not be told
        later = min((each for each in moments if each > now), default=NEVER)
        if later < NEVER:
            self._out.append(WakeAt(later))
