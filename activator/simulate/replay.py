"""One policy replayed over a trace, in simulated time, with the server's own brain.

`core.lifecycle` decides, `core.dispatch` grants the slots, `core.costs` books. Here is only the
world around them: replicas that start within the time that starts take, requests that last as long
as the trace says, orders that are carried out at once. Nobody gives up waiting, nothing fails.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import cycle
from typing import TYPE_CHECKING

from activator.core.costs import Ledger
from activator.core.dispatch import Dispatcher, Ticket
from activator.core.effects import AskQuiet, FailHeld, Retire, Revive, SetReplicas, WakeAt
from activator.core.endpoint import Balance, Owner, Replica
from activator.core.lifecycle import Lifecycle, Observation, SeenReplica, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from activator.core.effects import Effect
    from activator.simulate.policies import Policy
    from activator.simulate.trace import Trace

SAMPLE = 2.0
"""Seconds between two looks at an endpoint that may grow or shrink: the server's control loop looks
every second, and either is little against the six over which a surge is averaged."""
NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Model:
    """What is served, and how long it takes."""

    starts: tuple[float, ...]
    """Seconds from asking for a replica until it is ready: taken in turn, one a replica."""
    service: float = 1.0
    """Seconds of a request whose duration the trace does not tell."""
    concurrency: int = 0
    price_per_hour: float = 0.0


@dataclass(slots=True)
class Outcome:
    """What a policy led to. Times are seconds, money is in the unit of the price."""

    policy: Policy
    requests: int = 0
    cold_starts: int = 0
    """Times that it went from zero to one or more."""
    waits: array[float] = field(default_factory=lambda: array("d"))
    """Of those who had to wait, in no order."""
    span: float = 0.0
    """From the first arrival to the last answer."""
    replica_seconds: float = 0.0
    saved_seconds: float = 0.0
    cost: float = 0.0
    saved: float = 0.0
    """Against replicas that never stop."""

    @property
    def waited(self) -> float:
        """The share of requests that had to wait."""
        return len(self.waits) / self.requests if self.requests else 0.0

    @property
    def mean_wait(self) -> float:
        """Over all requests, those that did not wait included."""
        return sum(self.waits) / self.requests if self.requests else 0.0

    def wait(self, share: float) -> float:
        """The quantile of the waits of those who waited; 0 if nobody did."""
        if not self.waits:
            return 0.0
        ordered = sorted(self.waits)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def replay(trace: Trace, policy: Policy, *, model: Model) -> Outcome:
    """Raises ValueError if replicas take longer to start than the policy lets them."""
    longest, limit = max(model.starts), policy.scale.start_timeout
    if limit and longest >= limit:
        raise ValueError(
            f"a start takes {longest:g} s, and would be given up after startTimeout, {limit:g} s"
        )
    return _World(trace, policy, model).run()


@dataclass(slots=True, eq=False)
class _Server:
    replica: Replica
    ready_at: float
    paced: bool = True
    """Its line opens step by step, as after every start."""
    ready: bool = False
    retired: bool = False


class _World:
    """Everything that happens to one endpoint, in order."""

    def __init__(self, trace: Trace, policy: Policy, model: Model) -> None:
        self._trace = trace
        self._policy = policy
        self._model = model
        self.now = now = trace.arrivals[0]
        scale = policy.scale_at(now)
        self._life = Lifecycle(scale, now=now)
        self._line = Dispatcher(
            concurrency=model.concurrency,
            age=0.0,
            balance=Balance.LEAST_LOADED,
            dice=lambda sides: sides - 1,
        )
        self._ledger = Ledger(
            now=now, always_on=max(policy.scale.min, 1), price_per_hour=model.price_per_hour
        )
        self._resizes = scale.owner is Owner.ACTIVATOR and scale.max > max(scale.min, 1)
        self._starts = cycle(model.starts)
        self._servers: list[_Server] = []
        self._made = 0
        self._quiet: bool | None = None
        self._last_ended = float("-inf")
        self._looked_at = now
        self._look_at = now
        self._changes_at = policy.next_change(now)
        self._ends: list[tuple[float, int, Ticket]] = []
        """A heap of (moment, number of the ticket, ticket)."""
        self._held: dict[Ticket, tuple[float, float]] = {}
        """(arrival, duration) of those in line."""
        self._out = Outcome(policy, requests=len(trace))
        for _ in range(scale.min):  # what is always up was up before the first request
            server = self._server(ready_at=now)
            server.ready, server.paced = True, False
            self._servers.append(server)
        self._ledger.observe(len(self._servers), now=now)
        self._offer()

    def run(self) -> Outcome:
        arrivals, durations = self._trace.arrivals, self._trace.durations
        number, count = 0, len(arrivals)
        ends = self._ends
        while number < count or ends or self._held:
            due = self._next_due()
            while number < count or ends:
                arrival = arrivals[number] if number < count else NEVER
                ended = ends[0][0] if ends else NEVER
                if min(arrival, ended) > due:
                    break
                if ended <= arrival:
                    self.now = ended
                    changed = self._end(heappop(ends)[2])
                else:
                    self.now = arrival
                    changed = self._arrive(durations[number])
                    number += 1
                if changed:
                    due = self._next_due()
            else:
                if not self._held:
                    break
            self.now = due
            self._pass(due)
        return self._finished()

    def _finished(self) -> Outcome:
        out, ledger = self._out, self._ledger
        ledger.observe(len(self._servers), now=self.now)
        out.span = self.now - self._trace.arrivals[0]
        out.replica_seconds, out.saved_seconds = ledger.used, ledger.saved
        out.cost, out.saved = ledger.cost, ledger.cost_saved
        return out

    # requests

    def _arrive(self, duration: float) -> bool:
        """True: when something else is due may have changed."""
        duration = duration if duration >= 0.0 else self._model.service
        ticket = Ticket()
        if self._line.submit(ticket, now=self.now) is not None:
            heappush(self._ends, (self.now + duration, ticket.seq, ticket))
            return self._resizes and self._look_by(self._looked_at + SAMPLE)
        self._held[ticket] = (self.now, duration)
        self._look_by(self.now)
        return True

    def _end(self, ticket: Ticket) -> bool:
        line = self._line
        self._last_ended = self.now
        if granted := line.answered(ticket, now=self.now):
            self._begin(granted)
        if granted := line.release(ticket, now=self.now):
            self._begin(granted)
        return self._resizes and self._look_by(self._looked_at + SAMPLE)

    def _begin(self, granted: Iterable[Ticket]) -> None:
        for ticket in granted:
            arrival, duration = self._held.pop(ticket)
            if self.now > arrival:
                self._out.waits.append(self.now - arrival)
            heappush(self._ends, (self.now + duration, ticket.seq, ticket))

    # what else happens

    def _look_by(self, moment: float) -> bool:
        if moment >= self._look_at:
            return False
        self._look_at = max(moment, self.now)
        return True

    def _next_due(self) -> float:
        moment = min(self._look_at, self._changes_at)
        for server in self._servers:
            if not server.ready and server.ready_at < moment:
                moment = server.ready_at
        step = self._line.next_step
        return moment if step is None else min(moment, step)

    def _pass(self, now: float) -> None:
        if now >= self._changes_at:
            self._changes_at = self._policy.next_change(now)
            self._life.reconfigure(self._policy.scale_at(now))
            self._look_by(now)
        for server in self._servers:
            if not server.ready and server.ready_at <= now:
                server.ready = True
                self._offer()
                self._look_by(now)
        step = self._line.next_step
        if step is not None and step <= now:
            self._begin(self._line.tick(now=now))
        if self._look_at <= now:
            self._look()

    def _look(self) -> None:
        self._looked_at = self.now
        self._look_at = NEVER
        for effect in self._life.observe(self._observation(), now=self.now):
            self._carry_out(effect)
        sampled = self._resizes and self._life.state is State.ACTIVE and self._ends
        if sampled:
            self._look_by(self.now + SAMPLE)

    def _observation(self) -> Observation:
        line = self._line
        return Observation(
            demand=line.waiting + line.in_flight,
            wanted=len(self._servers),
            replicas=tuple(
                SeenReplica(each.replica.id, ready=each.ready, in_flight=line.load(each.replica.id))
                for each in self._servers
            ),
            last_ended=self._last_ended,
            quiet=self._quiet,
        )

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case SetReplicas(count, _, victims):
                self._scale(count, victims)
                self._look_by(self.now)
            case AskQuiet():
                self._quiet = True
                self._look_by(self.now)
            case Revive():
                self._quiet = None
            case Retire(victims):
                for server in self._servers:
                    server.retired = server.replica.id in victims
                self._offer()
            case WakeAt(at):
                self._look_by(at)
            case FailHeld():
                raise AssertionError("starts that take too long are refused beforehand")

    def _scale(self, count: int, victims: Sequence[str]) -> None:
        servers = self._servers
        if not servers and count:
            self._out.cold_starts += 1
        if len(servers) > count:
            surplus = len(servers) - count
            going = [each for each in servers if each.replica.id in victims]
            going += [each for each in reversed(servers) if each not in going]
            gone = going[:surplus]
            self._servers = [each for each in servers if each not in gone]
        while len(self._servers) < count:
            self._servers.append(self._server(ready_at=self.now + next(self._starts)))
        if not count:
            self._quiet = None
        self._ledger.observe(len(self._servers), now=self.now)
        self._offer()

    def _server(self, *, ready_at: float) -> _Server:
        self._made += 1
        return _Server(Replica(f"r{self._made}", "", 0), ready_at)

    def _offer(self) -> None:
        offered = [
            (each.replica, each.paced) for each in self._servers if each.ready and not each.retired
        ]
        self._begin(self._line.offer(offered, now=self.now))
