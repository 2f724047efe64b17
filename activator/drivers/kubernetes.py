"""Replicas as the pods of a workload in a Kubernetes cluster.

Tells what the cluster shows (`kubernetes_view`) as replicas (`kubernetes_sightings`), and has the
workload scaled (`kubernetes_orders`). Pods outlive the activator: whoever comes next takes them
over as they are.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from activator.aiokit.tasks import Tasks
from activator.core.backoff import Backoff
from activator.core.diagnosis import cannot_create
from activator.core.pods import DELETION_COST, are_marked, pods_to_mark, serving
from activator.core.selectors import selector_of
from activator.drivers.base import DriverError, Exit, Snapshot
from activator.drivers.kubernetes_lines import LastLines
from activator.drivers.kubernetes_orders import WorkloadOrders, driver_error
from activator.drivers.kubernetes_sightings import Sightings
from activator.drivers.kubernetes_view import ClusterView
from activator.kube.client import MERGE_PATCH
from activator.kube.cluster import PODS
from activator.kube.errors import Forbidden, KubeError, Missing
from activator.kube.notes import Note, Subject

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.core.diagnosis import ClusterEvent
    from activator.core.endpoint import KubernetesBackend
    from activator.core.pods import Pod
    from activator.core.workloads import Workload
    from activator.drivers.base import Sighting
    from activator.drivers.kubernetes_sightings import Unexplained
    from activator.kube.cluster import Cluster, Resource

CREATE_PATIENCE: Final = 0.75
"""Seconds for which pods cannot be created before that counts: controllers try again at once, and
a webhook that was away may be back."""
MARKED_WITHIN: Final = 5.0
"""Seconds until a mark that was set must be seen; what sets the pods' order sees it no sooner."""
GOES_WITHIN: Final = 10.0
"""Seconds after an order for fewer within which a pod that goes, goes because of it."""
AGAIN: Final = Backoff(first=0.5, factor=2.0, cap=30.0)
"""Between questions that the cluster did not answer before anything could be followed."""


class KubernetesDriver:
    """Implements `drivers.base.Driver`. One `run` in its life."""

    def __init__(
        self,
        name: str,
        backend: KubernetesBackend,
        *,
        cluster: Cluster,
        note: Callable[[str, str], None] = lambda action, reason: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`note`: an outcome worth an event, and its reason."""
        self._name = name
        self._backend = backend
        self._cluster = cluster
        self._note = note
        self._clock = clock
        self._tasks = Tasks(f"kubernetes/{name}")
        self._lines = LastLines(cluster.client, backend.namespace, tasks=self._tasks, clock=clock)
        self._sightings = Sightings(backend.port, clock=clock)
        self._changed = asyncio.Event()
        self._looked = asyncio.Event()
        self._report: Callable[[Snapshot], None] | None = None
        self._last: Snapshot | None = None
        self._view: ClusterView | None = None
        self._orders: WorkloadOrders | None = None
        self._scale_count: int | None = None
        """What is wanted, for a kind that tells it only in its scale."""
        self._scale_asked_at = ""
        """The workload's version then."""
        self._lasting: KubeError | None = None
        """Why nothing can be ordered until somebody mends it."""
        self._lacks_since: float | None = None
        self._look_again_at: float | None = None
        """Though nothing changes: whether pods still cannot be created is told only then."""
        self._old_refusal: ClusterEvent | None = None
        """That pods could not be created, from before they were asked for this time."""
        self._chosen = set[str]()
        """Pods that are to go by our last order, and until when others may go for it."""
        self._chosen_until = float("-inf")
        self._going = set[str]()
        self._progress = ""
        self._has_ended = False

    # --- the driver's verbs ----------------------------------------------------------------------

    async def run(self, report: Callable[[Snapshot], None]) -> None:
        """Works until cancelled; the pods stay."""
        self._report = report
        try:
            await self._tasks.lasting(self._look_on, name="look")
        finally:
            self._has_ended = True
            self._report = None
            if self._view is not None:
                self._view.close()
            await self._tasks.aclose()

    async def _look_on(self) -> None:
        if self._view is None:
            self._follow(await self._resource())
        while True:
            self._changed.clear()
            self._look()
            await self._until_changed()

    async def scale(
        self,
        replicas: int,
        *,
        victims: tuple[str, ...] = (),
        before: int | None = None,
        fence: str = "",
    ) -> None:
        if replicas < 0:
            raise DriverError(f"cannot run {replicas} replicas")
        view, orders, workload = self._at_hand()
        if victims and replicas:
            await self._mark(view, victims)
            self._chosen = {self._sightings.pod_of(each) for each in victims}
            self._chosen_until = self._clock() + GOES_WITHIN
        await orders.scale(replicas, seen=workload, before=before, fence=fence)
        if workload.replicas is None:
            await self._read_scale(view)
        self._look()

    async def bump_fence(self) -> None:
        _, orders, _ = self._at_hand()
        await orders.bump_epoch()
        self._look()

    async def discard(self) -> None:
        """Whoever made the workload keeps it, as it is."""

    def tell(self, *, reason: str, message: str, is_warning: bool, told: str = "") -> None:
        """An event on the workload, if it is known; never waits. `told`: the uid of an object
        that has it already."""
        workload = self._view.workload if self._view is not None else None
        if workload is not None and workload.uid != told and not self._has_ended:
            it = self._backend
            about = Subject(it.group_version, it.kind, it.namespace, workload.name, workload.uid)
            self._cluster.notes.write(Note(about, reason, message, is_warning))

    def last_lines(self, replica_id: str) -> tuple[str, ...]:
        name = self._sightings.pod_of(replica_id)
        if not name or self._view is None or self._has_ended:
            return ()
        pod = next((each for each in self._view.pods() if each.name == name), None)
        container = serving(pod, self._backend.port) if pod else None
        if container is None or not container.is_running:
            return ()
        return self._lines.known(replica_id, pod=name, container=container.name)

    def _at_hand(self) -> tuple[ClusterView, WorkloadOrders, Workload]:
        if self._has_ended:
            raise DriverError(f"endpoint {self._name} is shutting down")
        if self._lasting is not None:
            raise driver_error(self._lasting)
        workload = self._view.workload if self._view else None
        if self._view is None or self._orders is None or workload is None:
            trouble = self._last.trouble if self._last else "it was not seen yet"
            raise DriverError(f"{self._backend.target} cannot be scaled: {trouble}")
        return self._view, self._orders, workload

    async def _mark(self, view: ClusterView, victims: tuple[str, ...]) -> None:
        """Say which pods go first, and wait until that is seen."""
        marks = pods_to_mark(view.pods(), victims, name_of=self._sightings.pod_of)
        try:
            for pod, cost in marks.items():
                await self._cluster.client.patch(
                    PODS.path(self._backend.namespace, pod),
                    {"metadata": {"annotations": {DELETION_COST: cost}}},
                    content_type=MERGE_PATCH,
                )
            async with asyncio.timeout(MARKED_WITHIN):
                while not are_marked(view.pods(), marks):
                    await self._looked.wait()
        except KubeError as error:
            raise driver_error(error) from error
        except TimeoutError:
            raise DriverError("the marks of the pods that are to go were not seen") from None

    # --- looking ---------------------------------------------------------------------------------

    async def _resource(self) -> Resource:
        """The kind of the target, as the cluster knows it."""
        failures = 0
        while True:
            try:
                return await self._cluster.resource(self._backend.group_version, self._backend.kind)
            except KubeError as error:
                failures += 1
                self._tell_nothing(error)
                await self._cluster.client.outage.pause(AGAIN.delay(failures))

    def _follow(self, resource: Resource) -> None:
        self._view = ClusterView(self._cluster, resource, self._backend, changed=self._changed.set)
        self._orders = WorkloadOrders(
            self._cluster.client,
            self._view.path,
            what=self._backend.target,
            changed=self._view.put,
            note=self._note,
        )

    def _look(self) -> None:
        """Tell what there is, if it is not what was told last."""
        self._looked.set()
        self._looked = asyncio.Event()
        view = self._view
        workload = view.refresh() if view else None
        if view is None or workload is None:
            if view is not None and view.why_no_workload is not None:
                self._tell_nothing(view.why_no_workload)
            return
        self._lasting = None
        if view.why_no_pods is not None:
            self._tell_nothing(view.why_no_pods)
        if workload.replicas is None or view.selector is None:
            self._ask_scale(view, workload)
        is_counted = workload.replicas is not None or self._scale_count is not None
        is_known = is_counted and (workload.selector is not None or self._scale_count is not None)
        if is_known and view.are_pods_known:
            self._tell(self._snapshot(view, workload))

    def _snapshot(self, view: ClusterView, workload: Workload) -> Snapshot:
        wanted, pods = self._wanted(workload), view.pods()
        replicas, unexplained = self._sightings.look(
            pods, view.events_of(pods), addresses=view.addresses(pods)
        )
        for each in unexplained:
            self._tasks.spawn(self._explain(each), name=f"ending of {each.pod}")
        self._note_others(workload, pods)
        self._lines.keep_only({each.id for each in replicas})
        exits = [*self._sightings.exits, *self._refused_creation(view, workload, pods)]
        has_told = self._last is not None and not self._last.is_blind
        return Snapshot(
            wanted=wanted,
            replicas=tuple(_told_late(each, workload.progress) for each in replicas),
            # the first look is at what was before us: what is in the way now is told after it
            exits=tuple(exits) if has_told else (),
            fence=workload.fence,
            remembered=0 if wanted else workload.remembered,
            autoscaler=view.autoscaler,
            trouble=view.trouble,
        )

    def _wanted(self, workload: Workload) -> int:
        return self._scale_count or 0 if workload.replicas is None else workload.replicas

    def _refused_creation(
        self, view: ClusterView, workload: Workload, pods: list[Pod]
    ) -> list[Exit]:
        """Pods that are asked for and refused by the API server, once that has lasted."""
        event = view.refused_creation()
        self._look_again_at = None
        if not self._wanted(workload) or any(not each.is_over for each in pods):
            self._lacks_since, self._old_refusal = None, event
            return []
        told = workload.cannot_create
        if not told and event is not None and event != self._old_refusal:
            told = event.message
        if not told:
            return []
        now = self._clock()
        if self._lacks_since is None:
            self._lacks_since = now
        if now - self._lacks_since < CREATE_PATIENCE:
            self._look_again_at = self._lacks_since + CREATE_PATIENCE
            return []
        return [Exit(f"{workload.name}.create.{workload.generation}", cannot_create(told))]

    def _note_others(self, workload: Workload, pods: list[Pod]) -> None:
        """What happens otherwise than was ordered, and what the workload says of itself."""
        going = {pod.name for pod in pods if pod.is_deleting}
        if self._clock() < self._chosen_until:
            for name in sorted(going - self._going - self._chosen):
                told = ", ".join(sorted(self._chosen))
                self._note("other_pod_goes", f"{name} is stopped, though {told} was to go")
        self._going = going
        if workload.progress and workload.progress != self._progress:
            self._note("progress_deadline", workload.progress)
        self._progress = workload.progress

    def _tell_nothing(self, error: KubeError) -> None:
        """Nothing can be seen. What only a person can mend is told as it is: orders are refused
        for it, and those who wait are not left waiting."""
        is_lasting = isinstance(error, Forbidden | Missing)
        self._lasting = error if is_lasting else None
        if self._last is None or self._last.is_blind or is_lasting:
            self._tell(Snapshot(wanted=0, trouble=str(error), is_blind=not is_lasting))

    def _tell(self, snapshot: Snapshot) -> None:
        if self._report is None or snapshot == self._last:
            return
        is_first = self._last is None or self._last.is_blind
        self._last = snapshot
        self._report(snapshot)
        if is_first and not snapshot.is_blind:
            self._changed.set()

    async def _until_changed(self) -> None:
        at = self._look_again_at
        try:
            async with asyncio.timeout(None if at is None else max(0.0, at - self._clock())):
                await self._changed.wait()
        except TimeoutError:
            return

    # --- asking ----------------------------------------------------------------------------------

    def _ask_scale(self, view: ClusterView, workload: Workload) -> None:
        """Once for each version: a selector may come with a status."""
        if self._scale_asked_at != workload.version:
            self._scale_asked_at = workload.version
            self._tasks.spawn(self._read_scale(view), name="scale")

    async def _read_scale(self, view: ClusterView) -> None:
        try:
            told = await self._cluster.client.get(f"{view.path}/scale")
        except KubeError as error:
            self._tell_nothing(error)
            await asyncio.sleep(AGAIN.first)
            self._scale_asked_at = ""
        else:
            self._scale_count = int((told.get("spec") or {}).get("replicas") or 0)
            view.scale_selector = selector_of((told.get("status") or {}).get("selector"))
        self._changed.set()

    async def _explain(self, unexplained: Unexplained) -> None:
        failure = unexplained.failure
        lines = await self._lines.of_ending(
            unexplained.pod, failure.container, is_previous=failure.is_previous
        )
        self._sightings.told(failure, lines)
        self._changed.set()


def _told_late(sighting: Sighting, why: str) -> Sighting:
    """With what its workload says about being late, if it does."""
    return replace(sighting, detail=f"{sighting.detail}; {why}") if why else sighting
