"""Which driver runs an endpoint's replicas: the one that its backend names."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from activator.core.endpoint import (
    DockerBackend,
    KubernetesBackend,
    ProcessBackend,
    StaticBackend,
)
from activator.drivers.static import StaticDriver

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from activator.app.cluster import OneCluster
    from activator.app.stores import Stores
    from activator.drivers.base import Driver
    from activator.upstream.registry import LiveEndpoint


class Drivers:
    """Makes them, for one activator."""

    def __init__(
        self,
        stores: Stores,
        *,
        cluster: Callable[[], OneCluster],
        instance: str,
        patience: Callable[[LiveEndpoint], float],
        given: Mapping[str, Driver],
    ) -> None:
        """`instance`: whose containers ours are, of several installations at one engine.
        `patience`: seconds for which requests that are in flight may still go on. `given`: by
        endpoint, instead of the one its backend names."""
        self._stores = stores
        self._cluster = cluster
        self._instance = instance
        self._patience = patience
        self._given = given

    def make(self, live: LiveEndpoint) -> Driver:
        name, backend = live.endpoint.name, live.endpoint.backend
        if (given := self._given.get(name)) is not None:
            return given
        match backend:
            case ProcessBackend():
                return self._share(live, lambda term: _process_driver(name, backend, term=term))
            case KubernetesBackend():
                return self._cluster().make_driver(name, backend)
            case DockerBackend():
                return self._share(live, lambda _: self._docker_driver(name, backend), lasting=True)
            case StaticBackend():
                return StaticDriver(name, backend)

    def _docker_driver(self, name: str, backend: DockerBackend) -> Driver:
        # imported only where an endpoint needs it: eight modules
        from activator.drivers.docker import DockerDriver  # noqa: PLC0415
        from activator.drivers.docker_existing import ExistingContainerDriver  # noqa: PLC0415

        if backend.container is None:
            return DockerDriver(name, backend, instance=self._instance)
        return ExistingContainerDriver(name, backend)

    def _share(
        self, live: LiveEndpoint, make: Callable[[int], Driver], *, lasting: bool = False
    ) -> Driver:
        """Of replicas that one activator starts for all. `make`: for one term; `lasting`: they
        outlive it."""
        name, board = live.endpoint.name, self._stores.board

        def in_flight(replica_id: str) -> int:
            elsewhere = board.elsewhere(name).loads
            return live.gate.loads.get(replica_id, 0) + elsewhere.get(replica_id, 0)

        return self._stores.share(
            name,
            make,
            in_flight=in_flight,
            patience=lambda: self._patience(live),
            lasting=lasting,
        )


def _process_driver(name: str, backend: ProcessBackend, *, term: int) -> Driver:
    """The replicas of each term have ids of their own."""
    # as the other drivers: only where an endpoint needs it
    from activator.drivers.process import ProcessDriver  # noqa: PLC0415

    series = name if term == 1 else f"{name}-{term}"
    return ProcessDriver(name, backend, series=series, environ=_environment())


@cache
def _environment() -> Mapping[str, str]:
    """PATH begins with the directory of the interpreter that runs us, so that `python` in a
    command is the one whose packages the activator was installed with."""
    parts = (str(Path(sys.executable).parent), os.environ.get("PATH", ""))
    return {"PATH": os.pathsep.join(part for part in parts if part)}
