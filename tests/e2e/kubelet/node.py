"""The node itself: its object and its lease, the pods bound to it, their events and their logs."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import ssl
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web

from activator.aiokit.tasks import Tasks
from tests.e2e import network
from tests.e2e.api import STRATEGIC, Refused, path
from tests.e2e.kubelet.pod import Pod
from tests.e2e.kubelet.status import timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.e2e.api import Api, Json

VERSION = "v1.36.3"
LOG_PORT = 10250

_HEARTBEAT = 10.0
_LEASE_SECONDS = 40
_FIRST_ADDRESS = 16
"""Of those in the pods' network."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What the command line says."""

    name: str
    gpus: int
    folder: Path
    ca: Path
    certificate: Path
    key: Path


class Node:
    """`run` until cancelled."""

    def __init__(self, api: Api, identity: Identity) -> None:
        self.api = api
        self.address = network.HOST
        self._identity = identity
        self._pods: dict[str, Pod] = {}
        self._seen_gone: set[str] = set()
        self._since = timestamp()
        self._addresses = count(_FIRST_ADDRESS)
        self._gpus: dict[int, str] = {}
        self._tasks = Tasks("kubelet")

    async def run(self) -> None:
        runner = await self._serve_logs()
        try:
            await self._register()
            self._tasks.spawn(self._beat(), name="heartbeat")
            await self._follow_pods()
        finally:
            await self._tasks.aclose()
            await asyncio.gather(*(each.aclose() for each in self._pods.values()))
            await runner.cleanup()

    # --- what pods ask

    def take_address(self) -> str:
        """Never one that was used before: what still goes to an old pod meets nobody."""
        pods = ipaddress.ip_network(network.PODS)
        return str(pods[next(self._addresses) % pods.num_addresses])

    def take_gpus(self, count: int, *, pod: str) -> Sequence[int]:
        free = [each for each in range(self._identity.gpus) if each not in self._gpus]
        taken = free[:count]
        self._gpus |= dict.fromkeys(taken, pod)
        return taken

    def forget(self, pod: Pod) -> None:
        self._pods.pop(pod.uid, None)
        self._seen_gone.add(pod.uid)
        self._gpus = {gpu: owner for gpu, owner in self._gpus.items() if owner != pod.uid}

    def event(self, pod: Json, kind: str, reason: str, message: str, container: str) -> None:
        self._tasks.spawn(self._record(pod, kind, reason, message, container), name="event")

    async def _record(
        self, pod: Json, kind: str, reason: str, message: str, container: str
    ) -> None:
        meta = pod["metadata"]
        name = f"{meta['name']}.{uuid.uuid4().hex[:16]}"
        about = {"apiVersion": "v1", "kind": "Pod"}
        about |= {key: meta[key] for key in ("namespace", "name", "uid")}
        if container:
            about["fieldPath"] = f"spec.containers{{{container}}}"
        now = timestamp()
        event = {
            "kind": "Event",
            "metadata": {"name": name, "namespace": meta["namespace"]},
            "involvedObject": about,
            "type": kind,
            "reason": reason,
            "message": message,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": "kubelet", "host": self._identity.name},
        }
        with contextlib.suppress(Refused, aiohttp.ClientError, TimeoutError):  # as the kubelet does
            await self.api.create(event)

    # --- the pods

    async def _follow_pods(self) -> None:
        mine = f"spec.nodeName={self._identity.name}"
        async for change in self.api.follow(path("Pod"), fieldSelector=mine):
            meta = change.of["metadata"]
            pod = self._pods.get(meta["uid"])
            if change.kind == "DELETED":
                if pod is not None:
                    pod.vanish()
            elif pod is None and meta["uid"] not in self._seen_gone:
                pod = Pod(change.of, host=self, folder=self._identity.folder)
                self._pods[pod.uid] = pod
            if pod is not None and "deletionTimestamp" in meta and change.kind != "DELETED":
                pod.terminate(float(meta.get("deletionGracePeriodSeconds", 30)))

    # --- the node's own objects

    async def _register(self) -> None:
        name = self._identity.name
        labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}
        with contextlib.suppress(Refused):  # it may be there already; its status tells
            await self.api.create(node)
        await self._tell_status()

    async def _beat(self) -> None:
        while True:
            with contextlib.suppress(Refused, aiohttp.ClientError, TimeoutError):
                await self._renew()
                await self._tell_status()
            await asyncio.sleep(_HEARTBEAT)

    async def _renew(self) -> None:
        name = self._identity.name
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": name, "renewTime": now, "leaseDurationSeconds": _LEASE_SECONDS}
        meta = {"name": name, "namespace": "kube-node-lease"}
        try:
            await self.api.merge("Lease", meta["namespace"], name, {"spec": spec})
        except Refused as refusal:
            if refusal.status != 404:
                raise
            await self.api.create({"kind": "Lease", "metadata": meta, "spec": spec})

    async def _tell_status(self) -> None:
        now = timestamp()
        room = {"cpu": "32", "memory": "256Gi", "pods": "200"}
        room["nvidia.com/gpu"] = str(self._identity.gpus)
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
        ready["lastTransitionTime"] = self._since
        info = dict.fromkeys(("machineID", "systemUUID", "bootID"), "e2e")
        info |= {"kubeletVersion": VERSION, "kubeProxyVersion": "", "operatingSystem": "linux"}
        info |= {"osImage": "processes", "containerRuntimeVersion": "process://1"}
        info |= {"kernelVersion": os.uname().release, "architecture": "amd64"}
        status = {
            "capacity": room,
            "allocatable": room,
            "conditions": [{**ready, "lastHeartbeatTime": now, "message": "it is"}],
            "addresses": [{"type": "InternalIP", "address": self.address}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": LOG_PORT}},
            "nodeInfo": info,
        }
        where = path("Node", "", self._identity.name, "status")
        await self.api.call("PATCH", where, {"status": status}, content=STRATEGIC)

    # --- logs

    async def _serve_logs(self) -> web.AppRunner:
        """For the API server, which proves itself with a certificate."""
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._log)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self._identity.ca)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(self._identity.certificate, self._identity.key)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, self.address, LOG_PORT, ssl_context=context).start()
        return runner

    async def _log(self, request: web.Request) -> web.Response:
        asked = request.match_info
        for pod in self._pods.values():
            if (pod.namespace, pod.name) != (asked["namespace"], asked["pod"]):
                continue
            if (container := pod.container(asked["container"])) is not None:
                file = container.log(previous=request.query.get("previous") == "true")
                if file.exists():
                    lines = file.read_bytes().splitlines(keepends=True)
                    last = int(request.query.get("tailLines", len(lines)))
                    return web.Response(body=b"".join(lines[len(lines) - last :]))
        raise web.HTTPNotFound(text="no such log")
