"""A simulated outside world for `core.lifecycle`: it carries effects out, in virtual time.

A driver that takes time, lags, refuses, and whose replicas exit or hang; requests that come, are
dispatched to ready replicas in rotation, and end. What must never happen is asserted on the way.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from activator.core.effects import (
    AskQuiet,
    FailedStart,
    FailHeld,
    Record,
    Retire,
    Revive,
    SetReplicas,
    WakeAt,
)
from activator.core.lifecycle import Ended, Lifecycle, Observation, SeenReplica, State

if TYPE_CHECKING:
    from activator.core.effects import Effect
    from activator.core.endpoint import ScalePolicy

NEVER = float("inf")
START_SECONDS = 3.0
EXIT_SECONDS = 0.3
ORDER_SECONDS = 0.05
ANSWER_SECONDS = 0.03
SLOTS = 4
CAUSE = FailedStart("exited with status 3", exit_code=3)


@dataclass(slots=True)
class Replica:
    id: str
    ready_at: float = NEVER
    ends_at: float = NEVER
    ready: bool = False
    was_ready: bool = False
    in_flight: int = 0


@dataclass(slots=True)
class Order:
    count: int
    victims: tuple[str, ...]
    is_forced: bool
    at: float


@dataclass(slots=True)
class World:
    policy: ScalePolicy
    restarts_by_itself: bool = False
    """Like a Deployment: what ends is replaced and the wanted count stays."""
    lag: float = 0.0
    """Seconds from an order's being taken until the world shows it."""
    now: float = 100.0
    wanted: int = 0
    replicas: dict[str, Replica] = field(default_factory=dict)
    respawns: list[float] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    held: int = 0
    last_ended: float = float("-inf")
    holding: bool = False
    quiet: bool | None = None
    answer_at: float = NEVER
    retired: frozenset[str] = frozenset()
    order: Order | None = None
    taken: list[Order] = field(default_factory=list)
    scale_error: str | None = None
    leading: bool = True
    starts: str = "ok"
    api_is_down: bool = False
    wake: float = NEVER
    forcing: bool = False
    """An operator's force has been asked for and not been carried out."""
    was_put_down: bool = False
    """Somebody went to zero on purpose: a minimum does not count until there is demand."""
    made: int = 0
    is_broken: bool = False
    """An assertion failed: what follows would only hide it."""
    log: list[tuple[float, Effect]] = field(default_factory=list)
    life: Lifecycle = field(init=False)

    def __post_init__(self) -> None:
        self.life = Lifecycle(self.policy, now=self.now)
        self.look()

    # what is seen

    @property
    def in_flight(self) -> int:
        return sum(each.in_flight for each in self.replicas.values())

    @property
    def demand(self) -> int:
        return self.held + self.in_flight

    @property
    def ready(self) -> int:
        return sum(each.ready for each in self.replicas.values())

    def observation(self) -> Observation:
        return Observation(
            demand=self.demand,
            wanted=self.wanted,
            replicas=tuple(
                SeenReplica(each.id, ready=each.ready, in_flight=each.in_flight)
                for each in self.replicas.values()
            ),
            last_ended=self.last_ended,
            ended=tuple(self.ended[-8:]),
            quiet=self.quiet,
            scaling=self.order is not None or bool(self.taken),
            scale_error=self.scale_error,
            leading=self.leading,
        )

    # the control loop

    def look(self) -> None:
        self.is_broken = True
        for _ in range(20):
            seen = self.observation()
            effects = self.life.observe(seen, now=self.now)
            self.check(seen, effects)
            self.carry_out(effects)
            if not self.dispatch():
                break
        else:
            raise AssertionError("the control loop never comes to rest")
        self.check_rest()
        self.is_broken = False

    def check(self, seen: Observation, effects: list[Effect]) -> None:
        answer = None if AskQuiet() in effects else seen.quiet
        ordered = seen.scaling or any(isinstance(each, SetReplicas) for each in effects)
        meanwhile = replace(seen, quiet=answer, scaling=ordered)
        # a copy: `deepcopy` takes most of the time of a test
        life: Lifecycle = pickle.loads(pickle.dumps(self.life))
        again = life.observe(meanwhile, now=self.now)
        assert not [each for each in again if isinstance(each, SetReplicas | FailHeld)], (
            "asked for twice"
        )
        wakes = [each for each in effects if isinstance(each, WakeAt)]
        assert len(wakes) <= 1
        assert not wakes or (effects[-1] is wakes[0] and wakes[0].at > self.now)
        waiting = 0 if any(isinstance(each, FailHeld) for each in effects) else self.held
        for each in effects:
            match each:
                case SetReplicas(count=0, reason=reason):
                    assert self.forcing or waiting + self.in_flight == 0, "stopped with demand"
                    assert self.leading or reason == "operator"
                    if reason == "idle":
                        assert self.now >= self.last_ended + self.policy.idle_timeout
                        assert self.policy.min == 0
                        assert seen.quiet is True
                case SetReplicas(count=count):
                    # what somebody else raised above max may come down in steps
                    assert count <= max(self.policy.max, self.wanted - 1), "more than max asked"
                    assert count < self.wanted or not self.life.paused, "started while paused"
                case AskQuiet():
                    assert self.leading
                    assert not self.demand
                case _:
                    pass

    def carry_out(self, effects: list[Effect]) -> None:
        self.wake = NEVER
        for each in effects:
            self.log.append((self.now, each))
            match each:
                case SetReplicas():
                    assert self.order is None, "ordered while an order is being carried out"
                    forced = self.forcing and each.count == 0
                    at = self.now + ORDER_SECONDS
                    self.order = Order(each.count, each.victims, forced, at)
                    self.retired |= frozenset(each.victims)
                case AskQuiet():
                    self.quiet, self.answer_at = None, self.now + ANSWER_SECONDS
                case Revive():
                    self.holding, self.quiet, self.answer_at = False, None, NEVER
                case Retire():
                    self.retired = frozenset(each.victims)
                case FailHeld():
                    self.held = 0
                case WakeAt():
                    self.wake = each.at
                case Record():
                    if each.reason == "forced by an operator":
                        self.forcing = False

    def dispatch(self) -> bool:
        """Whether anything went to a replica."""
        before = self.held
        if self.holding or self.life.paused:
            return False
        for each in self.replicas.values():
            if each.ready and each.id not in self.retired:
                taken = min(self.held, SLOTS - each.in_flight)
                each.in_flight += taken
                self.held -= taken
        return self.held < before

    def check_rest(self) -> None:
        """What holds whenever every effect has been carried out."""
        life = self.life
        if self.demand and not life.paused:
            assert life.state is not State.INACTIVE, "asleep with demand"
            if life.state is State.FAILED:
                assert life.refusal(now=self.now), "failed with demand, and nobody is told why"
        if life.state is State.ACTIVE:
            assert not self.holding, "active, and everyone is held back"
            if self.demand and not self.taken and self.order is None:
                there = [each.id for each in self.replicas.values() if each.ready]
                assert set(there) - self.retired, "nobody is in rotation"

    # time

    def next_event(self) -> float:
        moments = [self.wake, self.answer_at, *self.respawns]
        moments += [each.at for each in self.taken]
        moments += [self.order.at] if self.order else []
        for each in self.replicas.values():
            moments += [each.ready_at, each.ends_at]
        return min(moments)

    def advance(self, to: float) -> None:
        for _ in range(5000):
            moment = self.next_event()
            if moment > to:
                break
            self.now = max(moment, self.now)
            self.happen()
            self.look()
        else:
            raise AssertionError("time does not pass: woken again and again")
        self.now = to

    def happen(self) -> None:
        if self.wake <= self.now:
            self.wake = NEVER
        if self.answer_at <= self.now:
            self.quiet, self.answer_at = self.demand == 0, NEVER
            self.holding = self.quiet
        if self.order and self.order.at <= self.now:
            self.end_order(self.order)
        for taken in [each for each in self.taken if each.at <= self.now]:
            self.taken.remove(taken)
            self.scale(taken.count, victims=taken.victims, ours=not taken.is_forced)
        for _ in [at for at in self.respawns if at <= self.now]:
            self.make()
        self.respawns = [at for at in self.respawns if at > self.now]
        for each in list(self.replicas.values()):
            if each.ready_at <= self.now:
                each.ready, each.was_ready, each.ready_at = True, True, NEVER
            if each.ends_at <= self.now:
                self.end(each)

    def end_order(self, order: Order) -> None:
        self.order = None
        if self.api_is_down:
            self.scale_error = "no route to the API"
            return
        self.scale_error = None
        order.at = self.now + self.lag
        self.taken.append(order)

    # the outside world

    def scale(self, count: int, *, victims: tuple[str, ...] = (), ours: bool = False) -> None:
        self.wanted = count
        there = sorted(self.replicas.values(), key=lambda each: each.id not in victims)
        surplus = len(there) + len(self.respawns) - count
        while surplus > 0 and self.respawns:
            self.respawns.pop()
            surplus -= 1
        for each in there[: max(surplus, 0)]:
            assert not ours or each.in_flight == 0, "an order cut a request"
            del self.replicas[each.id]
            self.cut(each)
        for _ in range(-surplus):
            self.make()

    def make(self) -> None:
        self.made += 1
        replica = Replica(f"r{self.made}")
        if self.starts == "ok":
            replica.ready_at = self.now + START_SECONDS
        elif self.starts == "exit":
            replica.ends_at = self.now + EXIT_SECONDS
        self.replicas[replica.id] = replica

    def end(self, replica: Replica) -> None:
        del self.replicas[replica.id]
        self.ended.append(Ended(replica.id, CAUSE, was_ready=replica.was_ready))
        self.cut(replica)
        if self.restarts_by_itself:
            self.respawns.append(self.now + 0.2)
        else:
            self.wanted -= 1

    def cut(self, replica: Replica) -> None:
        if replica.in_flight:
            self.last_ended = self.now

    def finish(self, count: int) -> None:
        for each in self.replicas.values():
            done = min(each.in_flight, count)
            if done:
                each.in_flight -= done
                count -= done
                self.last_ended = self.now
