"""A cluster that is told what to do, and as many activators' drivers as a test wants."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from activator.core.backoff import Backoff
from activator.core.endpoint import KubernetesBackend
from activator.drivers.kubernetes import KubernetesDriver
from activator.kube.access import Access
from activator.kube.client import KubeClient
from activator.kube.cluster import Cluster
from activator.kube.watch import WatchTimes
from tests.kube_controllers import Controllers, running_cluster
from tests.kube_server import KubeServer, kubeconfig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

M = KubernetesBackend("models", "apps/v1", "Deployment", "m", port="http")
QUICK = WatchTimes(retry=Backoff(first=0.02, cap=0.1), mend=Backoff(first=0.05, cap=0.1))


class Place:
    """A cluster, and as many activators' drivers as a test wants."""

    def __init__(self, server: KubeServer, controllers: Controllers, config: Path) -> None:
        self.server = server
        self.controllers = controllers
        self.notes: list[tuple[str, str]] = []
        self._config = config
        self.clusters: list[Cluster] = []

    def cluster(self) -> Cluster:
        access = Access({"KUBECONFIG": str(self._config)})
        self.clusters.append(Cluster(KubeClient(access), times=QUICK))
        return self.clusters[-1]

    def driver(
        self,
        backend: KubernetesBackend = M,
        *,
        cluster: Cluster | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> KubernetesDriver:
        return KubernetesDriver(
            backend.name,
            backend,
            cluster=cluster or self.cluster(),
            note=lambda action, reason: self.notes.append((action, reason)),
            clock=clock,
        )

    def count(self, plural: str = "deployments", name: str = "m") -> int:
        found = self.server.get(plural, name)["spec"]["replicas"]
        assert isinstance(found, int)
        return found


@contextlib.asynccontextmanager
async def standing(folder: Path) -> AsyncIterator[Place]:
    async with running_cluster() as (server, controllers):
        made = Place(server, controllers, kubeconfig(folder, server.port))
        try:
            yield made
        finally:
            for cluster in made.clusters:
                await cluster.aclose()
