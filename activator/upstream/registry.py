"""The endpoints that are alive in this process, and the replicas of each that may be forwarded to.

`control` feeds it (replicas, refusals, expectations), `proxy` reads it for every request. It
decides nothing; `core.routing` says which endpoint a request belongs to.
"""

from __future__ import annotations

from functools import partial
from math import inf
from typing import TYPE_CHECKING

from activator.core.endpoint import Replica, Service
from activator.core.fallback import Conduct
from activator.core.key_usage import KeyMeter
from activator.core.outlook import Outlook
from activator.core.routing import RouteTable
from activator.upstream.pool import Pool, UpstreamKit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import date

    from activator.aiokit.tasks import Tasks
    from activator.core.catalogue import ModelCard
    from activator.core.dispatch import Ticket
    from activator.core.effects import FailedStart
    from activator.core.endpoint import Endpoint, Fallback
    from activator.queueing.jobs import Claim
    from activator.telemetry.metrics import EndpointMetrics
    from activator.upstream.gate import Gate
    from activator.wire.client import ClientConnection


class LiveReplica:
    """A replica with its connections, and when it last showed progress."""

    __slots__ = ("_clock", "_owed", "moved_at", "pool", "replica", "unproven")

    def __init__(self, replica: Replica, kit: UpstreamKit, *, tls: bool = False) -> None:
        self.replica = replica
        self.pool = Pool(replica, kit, tls=tls)
        self.unproven = True
        """It has not begun an answer yet."""
        self._clock = kit.clock
        self.moved_at = kit.clock()
        """When the last byte came (loop time); whoever relays it says so."""
        self._owed = 0

    def owes(self, *, now: float) -> None:
        """One more request waits for its next byte."""
        if not self._owed:
            self.moved_at = now  # it had nothing to show progress on until now
        self._owed += 1

    def owes_less(self) -> None:
        """One less does: it has ended, or nobody can take a byte from it for the time being."""
        self._owed -= 1

    def answered(self, *, now: float) -> None:
        """All of an answer that was owed has come at once."""
        self.moved_at = now
        self._owed -= 1

    def connection_for(self, *, repeatable: bool, now: float) -> ClientConnection | None:
        """One at hand, as `Pool.take`, for a request to be sent at once; it `owes` the answer."""
        connection = self.pool.take(repeatable=repeatable, now=now)
        if connection is not None:
            if not self._owed:
                self.moved_at = now
            self._owed += 1
        return connection

    def answered_by(self, connection: ClientConnection, now: float) -> None:
        """As `answered`; the connection is given back."""
        self.moved_at = now
        self._owed -= 1
        self.pool.give(connection, now)

    @property
    def last_byte(self) -> float:
        """When it last showed progress (loop time): now, as long as nobody waits for a byte.

        A tunnel may be silent and a client slow without the replica being stuck.
        """
        return self.moved_at if self._owed else self._clock()


class RetryBudget:
    """Bounds requests that are sent twice although the first replica may have worked on them:
    a tenth of what is sent, and a few at once, so that a sick endpoint is not hit twice as hard."""

    __slots__ = ("_left", "is_full")

    MOST = 10.0
    EARNED = 0.1

    def __init__(self) -> None:
        self._left = self.MOST
        self.is_full = True
        """There is nothing to `earn`."""

    def earn(self) -> None:
        """A request has been answered."""
        self._left = min(self.MOST, self._left + self.EARNED)
        self.is_full = self._left >= self.MOST

    def take(self) -> bool:
        if self._left < 1:
            return False
        self._left -= 1
        self.is_full = False
        return True


class LiveFallback:
    """Who answers for an endpoint while it is cold, and how that has gone."""

    __slots__ = ("_told", "_told_since", "conduct", "fallback", "server")

    def __init__(self, fallback: Fallback, kit: UpstreamKit) -> None:
        self.fallback = fallback
        self.conduct = Conduct()
        self._told: set[str] = set()
        self._told_since = 0.0
        self.server: LiveReplica | None = None
        """None: it is another endpoint."""
        if isinstance(fallback.to, Service):
            where = Replica("fallback", fallback.to.host, fallback.to.port)
            self.server = LiveReplica(where, kit, tls=fallback.to.tls)
            self.server.unproven = False

    def is_news(self, words: str, *, since: float) -> bool:
        """Not told before of this cold period; `since`: when the endpoint was last warm."""
        if since != self._told_since:
            self._told_since = since
            self._told.clear()
        is_news = words not in self._told
        self._told.add(words)
        return is_news

    def in_words(self, *, day: date, now: float) -> str:
        most = self.fallback.max_per_day
        return f"{self.fallback.name} {self.conduct.in_words(day=day, most=most, now=now)}".rstrip()

    def close(self) -> None:
        if self.server is not None:
            self.server.pool.close()


class LiveEndpoint:
    """One endpoint at work: its gate, its replicas, and what control lets the proxy know."""

    __slots__ = (
        "_retries", "answer_within", "answered", "arrived", "endpoint", "eta", "fallback", "gate",
        "keys", "kit", "metrics", "models", "outlook", "queued", "record", "refusal", "replicas",
        "sole", "state", "take_claim", "tasks", "unreachable", "waiting_for", "warm_since",
        "warmed",
    )  # fmt: skip

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        gate: Gate,
        metrics: EndpointMetrics,
        kit: UpstreamKit,
        tasks: Tasks,
    ) -> None:
        self.endpoint = endpoint
        self.gate = gate
        self.metrics = metrics
        self.kit = kit
        self.tasks = tasks
        self._retries: RetryBudget | None = None
        """None: nothing has been taken that is not earned back."""
        self.fallback = self._made_fallback()
        self.answer_within = _answer_within(endpoint)
        """Seconds in which an answer must have begun; infinite: it may take its time."""
        self.keys = KeyMeter()
        """What API keys use of it, here."""
        self.replicas: dict[str, LiveReplica] = {}
        self.sole: LiveReplica | None = None
        """The one that is there, if it is one."""
        self.warm_since = -1.0
        """When the first of the present replicas became ready (loop time)."""
        self.refusal: Callable[[], tuple[FailedStart, float] | None] = _no_refusal
        """While the breaker is open: why nothing is started, and for how many seconds."""
        self.eta: Callable[[], float | None] = _no_eta
        """Seconds until a replica is expected to be ready; None: no earlier start to learn from."""
        self.waiting_for: Callable[[], str] = _nothing_known
        """What a request that waits is waiting for, in words."""
        self.unreachable: Callable[[str, str], None] = _untold
        """Tell control that a replica (id) refused or reset a connection, and how."""
        self.answered: Callable[[str], None] = _unasked
        """Tell control that a replica (id) has begun its first answer."""
        self.state: Callable[[], str] = _unborn
        """As `core.lifecycle.State` has it."""
        self.outlook: Callable[[], Outlook] = Outlook
        """What whoever waits may be told of it."""
        self.warmed: Callable[[], None] = _nobody_looks
        """Called when a replica may be forwarded to after there was none."""
        self.arrived: Callable[[Replica], None] = _unnoticed
        """Told of each replica that may be forwarded to for the first time."""
        self.models: tuple[ModelCard, ...] = ()
        """What its replicas have said they serve."""
        self.queued: Callable[[], int] = int
        """Jobs in line that nobody has claimed, over all activators."""
        self.take_claim: Callable[[Claim], None] = _nobody_works
        """Run a job that this activator has claimed."""
        self.record: Callable[[str, str], object] = _unrecorded
        """Tell operators of an outcome: its name, and in words."""

    @property
    def cold(self) -> bool:
        """No replica could be given a request now, whatever its load."""
        return not self.replicas

    def offer(self, replicas: Iterable[tuple[Replica, bool]]) -> None:
        """The replicas that may get something new now (True: just started, to be paced)."""
        offered = list(replicas)
        current = {replica.id for replica, _ in offered}
        for gone in self.replicas.keys() - current:
            self.replicas.pop(gone).pool.close()
        warms = bool(offered) and not self.replicas
        if warms:
            self.warm_since = self.kit.clock()
        for replica, _ in offered:
            if replica.id not in self.replicas:
                self.replicas[replica.id] = LiveReplica(replica, self.kit)
                self.arrived(replica)
        self.sole = next(iter(self.replicas.values())) if len(self.replicas) == 1 else None
        self.gate.offer(offered)
        if warms:
            self.warmed()

    def first_byte(self, ticket: Ticket, at: LiveReplica) -> None:
        """Of the answer to a request that has a slot there."""
        self.gate.ledger.answered(ticket)
        if self._retries is not None:
            self.earn_retry()
        if at.unproven:
            at.unproven = False
            self.answered(at.replica.id)

    def earn_retry(self) -> None:
        """A part of one: a request has been answered."""
        retries = self._retries
        if retries is not None:
            retries.earn()
            if retries.is_full:
                self._retries = None

    def take_retry(self) -> bool:
        """Whether a request may be sent once more, which is then taken from the budget."""
        if self._retries is None:
            self._retries = RetryBudget()
        return self._retries.take()

    def reconfigure(self, endpoint: Endpoint) -> None:
        before, self.endpoint = self.endpoint, endpoint
        self.answer_within = _answer_within(endpoint)
        self.gate.configure(endpoint)
        if endpoint.fallback != before.fallback:
            if self.fallback is not None:
                self.fallback.close()
            self.fallback = self._made_fallback()

    def close(self) -> None:
        """After its last request, and its replicas."""
        self.gate.close()
        if self.fallback is not None:
            self.fallback.close()
        # whoever is asked and told holds us: of thousands that come and go each is to be freed at
        # once, since the collector looks seldom
        self.refusal, self.eta, self.waiting_for = _no_refusal, _no_eta, _nothing_known
        self.unreachable, self.answered, self.arrived = _untold, _unasked, _unnoticed
        self.state, self.outlook, self.record = _unborn, Outlook, _unrecorded
        self.warmed = _nobody_looks
        self.metrics.gauges = None
        # what was used until now is still read
        self.keys.used_elsewhere = partial(bool, self.keys.used_elsewhere())
        self.gate.held_elsewhere = _nothing_held

    def _made_fallback(self) -> LiveFallback | None:
        fallback = self.endpoint.fallback
        return None if fallback is None else LiveFallback(fallback, self.kit)


class Registry:
    """All live endpoints, and the table that finds one."""

    def __init__(self) -> None:
        self._live: dict[str, LiveEndpoint] = {}
        self.routes = RouteTable()
        self.added: Callable[[LiveEndpoint], None] = _unheard
        self.removed: Callable[[LiveEndpoint], None] = _unheard
        self.rerouted: Callable[[], None] = _nobody_looks
        """Called when requests find other endpoints than before."""

    def __getitem__(self, name: str) -> LiveEndpoint:
        return self._live[name]

    def get(self, name: str) -> LiveEndpoint | None:
        return self._live.get(name)

    def __iter__(self) -> Iterator[LiveEndpoint]:
        return iter(list(self._live.values()))

    def add(self, live: LiveEndpoint) -> None:
        self._live[live.endpoint.name] = live
        self.added(live)

    def remove(self, name: str) -> LiveEndpoint:
        live = self._live.pop(name)
        self.removed(live)
        return live

    def route(self, routes: RouteTable) -> None:
        """From now on requests find these endpoints; each must be alive."""
        self.routes = routes
        self.rerouted()


def _answer_within(endpoint: Endpoint) -> float:
    timeouts = endpoint.timeouts
    return min(timeouts.first_byte or inf, timeouts.total or inf)


def _no_refusal() -> tuple[FailedStart, float] | None:
    return None


def _no_eta() -> float | None:
    return None


def _nothing_known() -> str:
    return "no replica is ready"


def _untold(replica_id: str, detail: str) -> None:
    """Control has not taken the endpoint over yet."""


def _unasked(replica_id: str) -> None:
    """Nobody times a cold start now."""


def _unborn() -> str:
    return "inactive"


def _nobody_looks() -> None:
    """Nobody has looked at it yet."""


def _unnoticed(replica: Replica) -> None:
    """Nobody wants to know."""


def _nobody_works(claim: Claim) -> None:
    raise AssertionError("jobs of this endpoint have no worker")


def _nothing_held() -> tuple[int, int]:
    return 0, 0


def _unrecorded(action: str, reason: str) -> None:
    """Nobody keeps events yet."""


def _unheard(live: LiveEndpoint) -> None:
    """Nobody has asked to be told."""
