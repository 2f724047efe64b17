"""What one endpoint sees of a cluster: its workload, its pods, the events about them, its Service.

Every collection is watched once for all endpoints of a namespace; this is one endpoint's share of
it. Which pods are its own follows from a selector: the workload's, or its scale's.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from activator.core.autoscalers import Autoscaler, read_autoscaler
from activator.core.diagnosis import ClusterEvent, read_event
from activator.core.pods import Pod, read_pod
from activator.core.slices import Slice, SliceAddress, addresses, read_slice
from activator.core.workloads import Workload, read_workload
from activator.kube.cluster import AUTOSCALERS, ENDPOINT_SLICES, EVENTS, PODS
from activator.kube.errors import Missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from activator.core.endpoint import KubernetesBackend
    from activator.core.selectors import Selector
    from activator.kube.cluster import Cluster, Following, Resource
    from activator.kube.errors import KubeError


class ClusterView:
    """From the moment on at which the kind of the target is known, until `close`."""

    def __init__(
        self,
        cluster: Cluster,
        resource: Resource,
        backend: KubernetesBackend,
        *,
        changed: Callable[[], None],
    ) -> None:
        self._backend = backend
        namespace = backend.namespace
        self.path = resource.path(namespace, backend.name)
        """Of the workload."""
        self.workload: Workload | None = None
        """As of the last `refresh`: it is asked for at every change of any pod of the namespace."""
        self.scale_selector: Selector | None = None
        """Of the workload's scale, where the workload itself does not say."""
        self._workloads: Following[Workload] = cluster.follow(
            resource,
            namespace,
            read=read_workload,
            changed=changed,
            concerns=lambda each: each.name == backend.name,
        )
        self._pods: Following[Pod] = cluster.follow(
            PODS, namespace, read=read_pod, changed=changed, concerns=self._is_ours
        )
        self._events: Following[ClusterEvent] = cluster.follow(
            EVENTS, namespace, read=read_event, changed=changed, concerns=self._is_about_ours
        )
        self._followings: list[Following[Any]] = [self._workloads, self._pods, self._events]
        # good to know; where the right is missing it is not known
        self._autoscalers: Following[Autoscaler] = cluster.follow(
            AUTOSCALERS,
            namespace,
            read=read_autoscaler,
            changed=changed,
            concerns=self._is_on_ours,
            is_needed=False,
        )
        self._slices: Following[Slice] | None = None
        if backend.service:
            self._slices = cluster.follow(
                ENDPOINT_SLICES,
                namespace,
                read=read_slice,
                changed=changed,
                concerns=lambda each: each.service == backend.service,
            )
            self._followings.append(self._slices)

    def close(self) -> None:
        for following in (*self._followings, self._autoscalers):
            following.close()

    def put(self, raw: Mapping[str, Any]) -> None:
        """The workload as the answer to a call has it."""
        self._workloads.watch.put(raw)

    def refresh(self) -> Workload | None:
        items = self._workloads.watch.items.values()
        self.workload = next((each for each in items if each.name == self._backend.name), None)
        return self.workload

    @property
    def why_no_workload(self) -> KubeError | None:
        """None: it is there, or is still being asked for."""
        watch = self._workloads.watch
        if self.workload is None and watch.is_known:
            where = f"in namespace {self._backend.namespace}"
            return Missing(f"{self._backend.target} does not exist {where}")
        return watch.trouble

    @property
    def are_pods_known(self) -> bool:
        return self._pods.watch.is_known

    @property
    def why_no_pods(self) -> KubeError | None:
        """None: they are known, or are still being asked for."""
        return None if self.are_pods_known else self._pods.watch.trouble

    @property
    def trouble(self) -> str:
        """What cannot be followed just now; empty: everything is."""
        told = [each.watch.trouble for each in self._followings]
        return "; ".join(str(each) for each in told if each is not None)

    def pods(self) -> list[Pod]:
        """Oldest first."""
        return sorted(
            (each for each in self._pods.watch.items.values() if self._is_ours(each)),
            key=lambda each: (each.created, each.name),
        )

    def events_of(self, pods: Iterable[Pod]) -> dict[str, list[ClusterEvent]]:
        """By pod uid."""
        ours = {pod.uid for pod in pods}
        found: dict[str, list[ClusterEvent]] = defaultdict(list)
        for event in self._events.watch.items.values() if ours else ():
            if event.about in ours:
                found[event.about].append(event)
        return found

    def refused_creation(self) -> ClusterEvent | None:
        """The latest event that says so. Kinds without a condition for it say it like this."""
        mine = self.workload
        events = [
            each
            for each in self._events.watch.items.values()
            if mine and each.about == mine.uid and each.reason == "FailedCreate"
        ]
        return max(events, key=lambda each: (each.at, each.count), default=None)

    def addresses(self, pods: Sequence[Pod]) -> dict[str, SliceAddress] | None:
        """By pod uid, of the Service; None: none is named."""
        if self._slices is None:
            return None
        return addresses(
            self._slices.watch.items.values(),
            service=self._backend.service,
            port=self._backend.port,
            preferred=[pod.addresses[0] for pod in pods if pod.addresses],
        )

    @property
    def autoscaler(self) -> str:
        """Who else scales the workload; empty: nobody is known."""
        found = [it for it in self._autoscalers.watch.items.values() if self._is_on_ours(it)]
        return str(min(found, key=lambda each: each.name)) if found else ""

    @property
    def selector(self) -> Selector | None:
        mine = self.workload
        return (mine.selector if mine else None) or self.scale_selector

    def _is_ours(self, pod: Pod) -> bool:
        selector = self.selector
        return selector is not None and selector.matches(pod.labels)

    def _is_on_ours(self, autoscaler: Autoscaler) -> bool:
        backend = self._backend
        return (autoscaler.kind, autoscaler.target) == (backend.kind, backend.name)

    def _is_about_ours(self, event: ClusterEvent) -> bool:
        mine = self.workload
        if mine is not None and event.about == mine.uid:
            return True
        pod = self._pods.watch.items.get(event.about)
        return pod is not None and self._is_ours(pod)
