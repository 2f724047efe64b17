"""The Kubernetes cluster that this activator's endpoints live in, where any do.

Its client is heavy (some tenths of a second and tens of megabytes at import), so it is imported
when the first such endpoint is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from activator.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.coordination.kubernetes_lease import KubernetesLeaseStore
    from activator.core.election import Pace
    from activator.core.endpoint import KubernetesBackend
    from activator.drivers.kubernetes import KubernetesDriver
    from activator.kube.errors import KubeError
    from activator.sources.kubernetes import KubernetesSource
    from activator.telemetry.events import EventLog


class OneCluster:
    """Made in a running event loop, with the first endpoint that needs it."""

    def __init__(self, events: EventLog) -> None:
        from activator.kube.cluster import Cluster  # noqa: PLC0415 - only where it is used

        self._events = events
        self._troubled: dict[str, type[KubeError]] = {}
        """What cannot be followed, and the sort of reason."""
        self._drivers: WeakValueDictionary[str, KubernetesDriver] = WeakValueDictionary()
        """The latest of each endpoint, as long as anybody works with it: they come and go."""
        self._cluster = Cluster(troubled=self._on_trouble, mute=self._on_mute)

    def make_driver(self, endpoint: str, backend: KubernetesBackend) -> KubernetesDriver:
        from activator.drivers.kubernetes import KubernetesDriver  # noqa: PLC0415 - as above

        made = self._drivers[endpoint] = KubernetesDriver(
            endpoint,
            backend,
            cluster=self._cluster,
            note=lambda action, reason: self._note(endpoint, action, reason),
        )
        return made

    def tell(
        self, endpoint: str, *, reason: str, message: str, is_warning: bool, told: str
    ) -> None:
        """On its workload, if it has one and that is not `told` (a uid); never waits."""
        driver = self._drivers.get(endpoint)
        if driver is not None:
            driver.tell(reason=reason, message=message, is_warning=is_warning, told=told)

    def make_source(self, changed: Callable[[], None]) -> KubernetesSource:
        from activator.sources.kubernetes import KubernetesSource  # noqa: PLC0415 - as above

        return KubernetesSource(self._cluster, changed=changed)

    def make_lease_store(
        self,
        *,
        namespace: str,
        name: str,
        pace: Pace,
        finishing: Callable[[], float],
        troubled: Callable[[str | None], None],
    ) -> KubernetesLeaseStore:
        """`namespace`: empty for the one that this pod is in. Raises StartError: it is no pod."""
        from activator.coordination.kubernetes_lease import (  # noqa: PLC0415 - as above
            KubernetesLeaseStore,
        )
        from activator.kube.access import own_namespace  # noqa: PLC0415 - as above

        where = namespace or own_namespace()
        if where is None:
            raise StartError(f"store.url: this is no pod, so write memory+lease://NAMESPACE/{name}")
        return KubernetesLeaseStore(
            self._cluster.client,
            namespace=where,
            name=name,
            pace=pace,
            finishing=finishing,
            troubled=troubled,
        )

    async def aclose(self) -> None:
        """After every driver, the source, and the lease."""
        await self._cluster.aclose()

    def _note(self, endpoint: str, action: str, reason: str) -> None:
        self._events.record(endpoint, action, reason)

    def _on_trouble(self, what: str, error: KubeError | None) -> None:
        """Of a collection that is watched. One event for each sort of trouble when it begins, one
        when all is well."""
        if error is not None:
            if type(error) not in self._troubled.values():
                self._events.record("", "cluster_trouble", f"cannot follow {what}: {error}")
            self._troubled[what] = type(error)
        elif self._troubled.pop(what, None) and not self._troubled:
            self._events.record("", "cluster_followed", "everything is followed again")

    def _on_mute(self, namespace: str, error: KubeError) -> None:
        self._events.record(
            "", "cluster_mute", f"no events can be written in namespace {namespace}: {error}"
        )
