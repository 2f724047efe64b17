"""The controllers and the kubelet of the scripted API server: what makes pods of workloads.

Pods follow the counts of Deployments (through a ReplicaSet's rules) and StatefulSets; their
containers run at once, or do what a test says.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from activator.aiokit.tasks import Tasks
from tests.kube_server import kube_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.kube_server import KubeServer, Object

NODE = "node-1"


def workload(name: str, *, replicas: int = 0, kind: str = "Deployment", **spec: Any) -> Object:
    return {
        "metadata": {"name": name, "namespace": "models"},
        "kind": kind,
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"spec": {"containers": [container()]}},
            **spec,
        },
        "status": {},
    }


def container(**more: Any) -> Object:
    ports = [{"name": "http", "containerPort": 8000}]
    return {"name": "server", "image": "registry.example.com/server:1", "ports": ports, **more}


class Controllers:
    """Runs until closed."""

    def __init__(self, server: KubeServer) -> None:
        self.server = server
        self.makes_pods = True
        self.exit_code: int | None = None
        """Containers end with it as soon as they run, again and again."""
        self.start_delay = 0.0
        self.stop_delay = 0.02
        self.restart_delay = 0.1
        self.address = "127.0.0.1"
        self.serve: Callable[[str], Awaitable[tuple[str, int]]] | None = None
        """Starts what a pod runs: where it answers."""
        self._count = 0
        self._tasks = Tasks("controllers")
        self._tasks.spawn(self._run(), name="run")

    async def aclose(self) -> None:
        await self._tasks.aclose()

    async def _run(self) -> None:
        while True:
            moved = self.server.moved
            for plural in ("deployments", "statefulsets"):
                for name in self.server.names(plural):
                    self._reconcile(plural, self.server.get(plural, name))
            await moved.wait()
            await asyncio.sleep(0.005)

    def _reconcile(self, plural: str, owner: Object) -> None:
        labels = owner["spec"]["selector"]["matchLabels"]
        mine = [
            pod
            for pod in self.server.objects["pods", "models"].values()
            if pod["metadata"]["labels"] == labels and not pod["metadata"].get("deletionTimestamp")
        ]
        wanted = owner["spec"].get("replicas", 0)
        if len(mine) > wanted:
            for pod in _first_to_go(mine, by_ordinal=plural == "statefulsets")[
                wanted - len(mine) :
            ]:
                self._delete(pod["metadata"]["name"])
        elif self.makes_pods:
            for _ in range(wanted - len(mine)):
                self._create(plural, owner, {pod["metadata"]["name"] for pod in mine})

    def _create(self, plural: str, owner: Object, taken: set[str]) -> None:
        base = owner["metadata"]["name"]
        self._count += 1
        name = f"{base}-{self._count}"
        if plural == "statefulsets":
            number = next(it for it in range(100) if f"{base}-{it}" not in taken)
            name = f"{base}-{number}"
            taken.add(name)
        kind = "ReplicaSet" if plural == "deployments" else "StatefulSet"
        self.server.put(
            "pods",
            {
                "metadata": {
                    "name": name,
                    "labels": dict(owner["spec"]["selector"]["matchLabels"]),
                    "creationTimestamp": f"2026-01-01T00:00:{self._count:02}Z",
                    "ownerReferences": [{"kind": kind, "name": base, "controller": True}],
                    "annotations": {},
                },
                "spec": dict(owner["spec"]["template"]["spec"]),
                "status": {"phase": "Pending"},
            },
        )
        self._tasks.spawn(self._bring_up(name), name=f"start {name}")

    async def _bring_up(self, name: str) -> None:
        await asyncio.sleep(self.start_delay)
        restarts = 0
        address, port = f"127.0.0.{2 + int(name.rsplit('-', 1)[1]) % 250}", 8000
        if self.serve is not None:
            address, port = await self.serve(name)
        while self._is_alive(name):
            run = {"state": {"running": {}}, "restartCount": restarts, "ready": True}
            if restarts:
                run["lastState"] = {"terminated": {"exitCode": self.exit_code}}
            self._status(name, run, address, port)
            if self.exit_code is None:
                return
            await asyncio.sleep(self.restart_delay / 2)
            ended = {"terminated": {"exitCode": self.exit_code, "reason": "Error"}}
            if self._is_alive(name):
                self._status(name, {"state": ended, "restartCount": restarts}, address)
            await asyncio.sleep(self.restart_delay / 2)
            restarts += 1

    def _status(self, name: str, status: Object, address: str, port: int = 8000) -> None:
        def change(pod: Object) -> None:
            pod["spec"]["nodeName"] = NODE
            first = pod["spec"]["containers"][0]["name"]
            pod["spec"]["containers"][0]["ports"] = [{"name": "http", "containerPort": port}]
            pod["status"] = {
                "phase": "Running",
                "podIP": address,
                "podIPs": [{"ip": address}],
                "conditions": [
                    {"type": "PodScheduled", "status": "True"},
                    {"type": "Ready", "status": "True" if status.get("ready") else "False"},
                ],
                "containerStatuses": [{"name": first, **status}],
            }

        self.server.change("pods", name, change)

    def _is_alive(self, name: str) -> bool:
        pod = self.server.objects["pods", "models"].get(name)
        return pod is not None and not pod["metadata"].get("deletionTimestamp")

    def _delete(self, name: str) -> None:
        def mark(pod: Object) -> None:
            pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

        self.server.change("pods", name, mark)
        self._tasks.spawn(self._take_away(name), name=f"stop {name}")

    async def _take_away(self, name: str) -> None:
        await asyncio.sleep(self.stop_delay)
        self.server.delete("pods", name)


def _first_to_go(pods: list[Object], *, by_ordinal: bool) -> list[Object]:
    """Last in the list go first."""
    if by_ordinal:
        return sorted(pods, key=lambda pod: int(pod["metadata"]["name"].rsplit("-", 1)[1]))

    def rank(pod: Object) -> tuple[bool, int, str]:
        is_ready = any(
            each["type"] == "Ready" and each["status"] == "True"
            for each in pod["status"].get("conditions", ())
        )
        cost = pod["metadata"]["annotations"].get("controller.kubernetes.io/pod-deletion-cost", 0)
        return not is_ready, -int(cost), pod["metadata"]["creationTimestamp"]

    return sorted(pods, key=rank)


@contextlib.asynccontextmanager
async def running_cluster() -> AsyncIterator[tuple[KubeServer, Controllers]]:
    async with kube_server() as server:
        controllers = Controllers(server)
        try:
            yield server, controllers
        finally:
            await controllers.aclose()
