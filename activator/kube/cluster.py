"""One cluster as everybody in this process sees it: one client, and one watch for each collection.

However many endpoints look at a namespace, its pods are watched once; a watch ends when its last
reader has gone.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from activator.aiokit.tasks import Tasks
from activator.kube.client import KubeClient
from activator.kube.errors import Missing
from activator.kube.notes import Notes
from activator.kube.watch import Watch

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from activator.kube.errors import KubeError
    from activator.kube.watch import WatchTimes

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object, and where the objects of a namespace are."""

    group_version: str
    """`v1`, `apps/v1`."""
    plural: str
    kind: str

    def path(self, namespace: str, name: str = "", subresource: str = "") -> str:
        root = "/apis" if "/" in self.group_version else "/api"
        parts = (root, self.group_version, "namespaces", namespace, self.plural, name, subresource)
        return "/".join(part for part in parts if part)


PODS = Resource("v1", "pods", "Pod")
EVENTS = Resource("v1", "events", "Event")
SERVICES = Resource("v1", "services", "Service")
DEPLOYMENTS = Resource("apps/v1", "deployments", "Deployment")
STATEFUL_SETS = Resource("apps/v1", "statefulsets", "StatefulSet")
ENDPOINT_SLICES = Resource("discovery.k8s.io/v1", "endpointslices", "EndpointSlice")
LEASES = Resource("coordination.k8s.io/v1", "leases", "Lease")
AUTOSCALERS = Resource("autoscaling/v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")

_KNOWN = {
    (each.group_version, each.kind): each
    for each in (
        DEPLOYMENTS,
        STATEFUL_SETS,
        Resource("apps/v1", "replicasets", "ReplicaSet"),
        Resource("v1", "replicationcontrollers", "ReplicationController"),
    )
}
"""Kinds whose plural need not be asked for."""


@dataclass(slots=True)
class _Shared:
    watch: Watch[Any]
    task: asyncio.Task[None]


def _untold(what: str, error: KubeError | None) -> None:
    """Not worth telling."""


class Following(Generic[T]):
    """One reader's share of a watch; `close` gives it back."""

    def __init__(self, watch: Watch[T], close: Callable[[], None]) -> None:
        self.watch = watch
        self.close = close


class Cluster:
    """Made in a running event loop; asks nothing before somebody needs it."""

    def __init__(
        self,
        client: KubeClient | None = None,
        *,
        troubled: Callable[[str, KubeError | None], None] = lambda what, error: None,
        mute: Callable[[str, KubeError], None] = lambda namespace, error: None,
        times: WatchTimes | None = None,
        clock: Callable[[], float] = time.monotonic,
        dice: Callable[[], float] = random.random,
    ) -> None:
        """`troubled`: a collection can no longer be followed, or (None) can be again. `mute`: no
        events can be written in this namespace."""
        self.client = client or KubeClient()
        self._troubled = troubled
        self._mute = mute
        self._times = times
        self._clock = clock
        self._dice = dice
        self._tasks = Tasks("kube")
        self._shared: dict[str, _Shared] = {}
        self._resources: dict[tuple[str, str], Resource] = dict(_KNOWN)
        self._notes: Notes | None = None

    @property
    def notes(self) -> Notes:
        """What we write on objects."""
        if self._notes is None:
            self._notes = Notes(self.client, wall=time.time, refused=self._mute)
            self._tasks.spawn_lasting(self._notes.run, name="notes")
        return self._notes

    def follow(
        self,
        resource: Resource,
        namespace: str,
        *,
        read: Callable[[dict[str, Any]], T | None],
        changed: Callable[[], None],
        concerns: Callable[[T], bool] | None = None,
        is_needed: bool = True,
    ) -> Following[T]:
        """`read` must be the same for all readers of a collection: the first one's is used; so
        must `is_needed` (False: nobody is told if it cannot be followed)."""
        path = resource.path(namespace)
        shared = self._shared.get(path)
        if shared is None:
            watch: Watch[T] = Watch(
                self.client,
                path,
                what=f"{resource.plural} in namespace {namespace}",
                read=read,
                clock=self._clock,
                dice=self._dice,
                times=self._times,
                troubled=self._troubled if is_needed else _untold,
            )
            task = self._tasks.spawn_lasting(watch.run, name=f"watch {path}")
            shared = self._shared[path] = _Shared(watch, task)
        unsubscribe = shared.watch.subscribe(changed, concerns=concerns)

        def close() -> None:
            unsubscribe()
            if not shared.watch.is_read and self._shared.get(path) is shared:
                del self._shared[path]
                shared.task.cancel()

        return Following(shared.watch, close)

    async def resource(self, group_version: str, kind: str) -> Resource:
        """Raises Missing: the cluster has no such kind."""
        known = self._resources.get((group_version, kind))
        if known is not None:
            return known
        root = "/apis" if "/" in group_version else "/api"
        try:
            told = await self.client.get(f"{root}/{group_version}")
        except Missing:
            told = {}
        for each in told.get("resources") or ():
            if each.get("kind") == kind and "/" not in each["name"]:
                found = Resource(group_version, each["name"], kind)
                self._resources[group_version, kind] = found
                return found
        raise Missing(f"the cluster knows no {kind} in {group_version}")

    async def aclose(self) -> None:
        await self._tasks.aclose()
        self._shared.clear()
        await self.client.aclose()
