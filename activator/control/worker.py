"""One endpoint's jobs at this activator: claimed in order, run, and let go in good order.

Decides how many are claimed at a time and which claim yields to a more urgent job. The line itself
is the store's, the slots are the gate's, and how one job fares is `run`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from typing import TYPE_CHECKING, Final

from activator.aiokit.pace import Pace
from activator.aiokit.tasks import AT_ONCE, Tasks
from activator.control.persisting import PAUSE
from activator.control.run import JobRun
from activator.control.upkeep import TICK, Upkeep
from activator.core.jobs import ForbiddenStep, JobState, Superseded, order
from activator.errors import StoreUnavailable
from activator.queueing.jobs import Detached, Lost, Work

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.control.run import MakeOutbound
    from activator.queueing.jobs import Claim, JobStore, Told
    from activator.telemetry.spans import Tracer
    from activator.upstream.registry import LiveEndpoint

_log = logging.getLogger("activator.jobs")

WINDOW: Final = 8
"""Claimed jobs that wait for a slot here: enough to fill slots as they come free, and few enough
to leave the rest of the line to other activators."""
MOST: Final = 64
"""Claimed jobs of one endpoint at one activator, where nothing else bounds them: each keeps a
connection and up to a megabyte of its answer."""
LETTING_GO: Final = 5.0
"""Seconds that the store may take, when the activator stops, to have the claims back."""


class Worker:
    """See the module. `is_gone`: this activator (its id) does no work any more, as far as can be
    seen. `call_hooks`: webhooks of this endpoint are due. `wall` is wall-clock time, as in
    records of jobs. `pace`: shared with those that may wake at the same moment."""

    def __init__(
        self,
        live: LiveEndpoint,
        store: JobStore,
        *,
        outbound: MakeOutbound,
        is_gone: Callable[[str], bool],
        call_hooks: Callable[[str], None],
        clock: Callable[[], float],
        wall: Callable[[], float],
        tracer: Tracer | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._live = live
        self._pace = pace or Pace()
        self._name = live.endpoint.name
        self._store = store
        self._outbound = outbound
        self._is_gone = is_gone
        self._call_hooks = call_hooks
        self._clock = clock
        self._wall = wall
        self._tracer = tracer
        self._runs: dict[str, JobRun] = {}
        self._tasks = Tasks(f"worker/{self._name}")
        self._leaving = Tasks(f"leaving/{self._name}")
        """Give jobs back, also when whoever has let go of them is cancelled."""
        self._wake = asyncio.Event()
        self._claiming = True
        self._claims: asyncio.Task[None] | None = None
        self._heard: Callable[[], None] = _unheard

    def start(self, *, heard: Callable[[], None]) -> None:
        """`heard` is told when there may be something to look after."""
        self._heard = heard
        live = self._live
        live.queued = lambda: self._store.queued(self._name)
        live.take_claim = self.take
        self._listening = self._store.watch(self._name, self._told)
        self._claims = self._tasks.spawn_lasting(self._claim_on, name="claim", again=self._wake.set)

    @property
    def running(self) -> int:
        """Jobs that are at a replica."""
        if not self._runs:
            return 0
        return sum(run.begun for run in self._runs.values())

    def take(self, claim: Claim) -> None:
        """Run a job that is claimed already."""
        run = JobRun(
            self._live,
            self._store,
            claim,
            outbound=self._outbound,
            tasks=self._tasks,
            arrived=self._clock() - (self._wall() - claim.record.job.arrived),
            began=self._wake.set,
            tracer=self._tracer,
        )
        self._runs[claim.id] = run
        self._heard()
        run.task = self._tasks.spawn(self._run(run), name=f"run {claim.id}")

    async def _run(self, run: JobRun) -> None:
        try:
            await run.run()
        except Exception as bug:
            # so did what it was to tell of its end: told until the store has it
            run.leaving = run.leaving or self._leaving.spawn_lasting(
                partial(run.end_broken, bug), name=f"end {run.claim.id}"
            )
            raise
        finally:
            if self._runs.get(run.claim.id) is run:
                del self._runs[run.claim.id]
            self._wake.set()
            self._heard()

    # --- claiming

    def _told(self, told: Told) -> None:
        self._heard()
        match told:
            case Lost(job_id) if job_id in self._runs:
                self._tasks.spawn(self._check(self._runs[job_id]), name="check")
            case Detached(job_id) if job_id in self._runs:
                self._detached(self._runs[job_id])
            case Work():
                self._wake.set()
                self._live.gate.wake()

    def _detached(self, run: JobRun) -> None:
        run.detach()
        if not self._claiming and not run.has_turn:
            self._let_go(run)

    async def _check(self, run: JobRun) -> None:
        """Stop it unless what was told is old news and the job has been claimed anew."""
        record = await run.recorded()
        if record is None or record.job.holder != run.claim.holder:
            run.cancel()

    async def _claim_on(self) -> None:
        while self._claiming:
            await self._wake.wait()
            await self._pace.turn()
            self._wake.clear()
            try:
                await self._claim_some()
            except StoreUnavailable:
                await asyncio.sleep(PAUSE)
                self._wake.set()

    async def _claim_some(self) -> None:
        if not self._store.is_worth_a_claim(self._name):
            return
        waiting = self._waiting
        room = min(WINDOW - len(waiting), MOST - len(self._runs))
        if room > 0:
            await self._claim(room, before=None)
        elif waiting:
            last = max(waiting, key=self._order)
            if await self._claim(1, before=self._order(last)) and not last.has_turn:
                await asyncio.wait({self._let_go(last)})

    async def _claim(self, room: int, *, before: float | None) -> int:
        """Raises StoreUnavailable."""
        # whoever stops claiming does not stop this: what it brings would stay claimed
        claiming = self._leaving.spawn(self._claim_now(room, before=before), name="claim")
        found: int | StoreUnavailable = await asyncio.shield(claiming)
        if isinstance(found, StoreUnavailable):
            raise found
        return found

    async def _claim_now(self, room: int, *, before: float | None) -> int | StoreUnavailable:
        endpoint, live = self._live.endpoint, self._live
        try:
            found = await self._store.claim(
                self._name, room, age=endpoint.queue.age, cold=live.cold, before=before
            )
        except StoreUnavailable as away:
            if not self._claiming:
                self._settle()
            return away
        for claim in found.claims:
            if self._claiming:
                self.take(claim)
            else:
                _give_back(self._store, self._leaving, claim)
        if found.again_in is not None:
            asyncio.get_running_loop().call_later(found.again_in + 0.001, self._wake.set)
        return len(found.claims)

    @property
    def _waiting(self) -> list[JobRun]:
        """Detached ones: whose clients wait have a place in line however many they are."""
        return [run for run in self._runs.values() if not run.has_turn and run.detached]

    def _order(self, run: JobRun) -> float:
        job = run.claim.record.job
        return order(urgency=job.urgency, arrived=job.arrived, age=self._live.endpoint.queue.age)

    async def look_after(self) -> float:
        """What time has brought, and what activators that are gone have left. Returns the seconds
        until it is to be called again; raises StoreUnavailable."""
        store, name = self._store, self._name
        swept = await store.sweep(name)
        if swept.hooks_due:
            self._call_hooks(name)
        claimants = await store.claimants(name)
        for activator in claimants:
            if activator != store.me and self._is_gone(activator):
                await store.requeue_claims_of(activator, name)
        counts = await store.counts(name)
        self._live.metrics.jobs = {str(state): counts.get(state, 0) for state in JobState}
        return TICK if claimants or swept.hooks_due else max(swept.again_in, TICK)

    # --- endings

    def stop_claiming(self) -> None:
        """Detached jobs that wait go back in line; what is at a replica goes on."""
        self._claiming = False
        if self._claims is not None:
            self._claims.cancel()
        self._settle()
        for run in self._waiting:
            self._let_go(run)

    def _settle(self) -> None:
        """What may have been claimed in an answer that never came goes back in line, too."""
        if self._store.owes(self._name):
            self._leaving.spawn_lasting(self._settle_up, name="settle up")

    async def _settle_up(self) -> None:
        while self._store.owes(self._name):
            try:
                await self._store.claim(self._name, 0, age=self._live.endpoint.queue.age)
            except StoreUnavailable:
                await asyncio.sleep(PAUSE)

    async def retire(self) -> None:
        """The endpoint is gone from the configuration: finish what is at its replicas. Others may
        still have it, so that nothing may stay claimed here, whatever the store does meanwhile."""
        self.stop_claiming()
        try:
            while running := [run.task for run in self._runs.values() if run.has_turn and run.task]:
                await asyncio.wait(running)
            for run in self._runs.values():
                self._let_go(run)
            await self._leaving.drained()
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Everything that is still claimed goes back in line, or is repeated if it had begun."""
        self._claiming = False
        if self._claims is not None:
            self._claims.cancel()
        self._settle()
        for run in self._runs.values():
            self._let_go(run)
        if self._leaving:
            await self._give_back()
        self._listening.close()
        await self._leaving.aclose()
        await self._tasks.aclose()
        # the endpoint holds us, and we hold it: it is to be freed at once
        live, self._claims = self._live, None
        if live.take_claim == self.take:
            live.queued, live.take_claim = int, partial(_give_back, self._store, self._leaving)

    async def _give_back(self) -> None:
        try:
            async with asyncio.timeout(LETTING_GO):
                await self._leaving.drained()
        except TimeoutError:
            _log.warning(
                "jobs not given back",
                extra={"action": "jobs_not_given_back", "endpoint": self._name},
            )

    def _let_go(self, run: JobRun) -> asyncio.Task[None]:
        run.cancel()
        if run.leaving is None:
            run.leaving = self._leaving.spawn_lasting(
                run.give_back, name=f"give back {run.claim.id}"
            )
        return run.leaving


class Workers:
    """The workers of all endpoints."""

    def __init__(
        self, make: Callable[[LiveEndpoint], Worker], *, clock: Callable[[], float]
    ) -> None:
        self._make = make
        self._workers: dict[str, Worker] = {}
        self._claiming = True
        self._tasks = Tasks("workers")
        self._upkeep = Upkeep(clock=clock)

    def start(self) -> None:
        self._upkeep.start()

    def heard(self, endpoint: str) -> None:
        """There may be something to look after."""
        self._upkeep.heard(endpoint)

    def add(self, live: LiveEndpoint) -> None:
        worker = self._workers[live.endpoint.name] = self._make(live)
        name = live.endpoint.name
        self._upkeep.add(name, worker.look_after)
        worker.start(heard=lambda: self._upkeep.heard(name))
        if not self._claiming:
            worker.stop_claiming()

    def remove(self, live: LiveEndpoint) -> None:
        worker = self._workers.pop(live.endpoint.name)
        self._upkeep.remove(live.endpoint.name)
        self._tasks.spawn(worker.retire(), name=f"retire {live.endpoint.name}")

    @property
    def running(self) -> int:
        return sum(worker.running for worker in self._workers.values())

    async def stop_claiming(self) -> None:
        """Nor do workers of endpoints that are added later."""
        self._claiming = False
        for number, worker in enumerate(list(self._workers.values()), start=1):
            worker.stop_claiming()
            if number % AT_ONCE == 0:  # a task of each ends in the next turn of the loop
                await asyncio.sleep(0)

    async def aclose(self) -> None:
        await self._upkeep.aclose()
        await self._tasks.end_all([worker.aclose for worker in self._workers.values()])
        await self._tasks.aclose()


def _give_back(store: JobStore, tasks: Tasks, claim: Claim) -> None:
    """Nobody runs jobs of its endpoint here any more."""

    async def give_back() -> None:
        with contextlib.suppress(Superseded, ForbiddenStep):  # it is another's by now
            await store.give_back(claim)

    tasks.spawn_lasting(give_back, name=f"give back {claim.id}")


def _unheard() -> None:
    """It has not been started."""
