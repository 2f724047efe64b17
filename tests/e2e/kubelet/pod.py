"""One pod on the node, from its sandbox to its end, and the status that the API server has of it.

`terminate` may be told again, with a shorter grace period; the pod is gone from the API server when
its processes have ended, not before.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from copy import deepcopy
from typing import TYPE_CHECKING, Protocol

import aiohttp

from activator.aiokit.tasks import Tasks
from tests.e2e.api import STRATEGIC, Refused, path
from tests.e2e.kubelet.container import Container
from tests.e2e.kubelet.orders import Orders
from tests.e2e.kubelet.sandbox import Sandbox
from tests.e2e.kubelet.status import Failure, PodStatus, waiting

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.e2e.api import Api, Json

_AGAIN = 0.5
"""Seconds before an API server that did not answer is told again."""
_PULL_BACKOFF = 10.0


class Host(Protocol):
    """What a pod needs of its node."""

    api: Api
    address: str

    def event(self, pod: Json, kind: str, reason: str, message: str, container: str) -> None: ...

    def take_address(self) -> str: ...

    def take_gpus(self, count: int, *, pod: str) -> Sequence[int]: ...

    def forget(self, pod: Pod) -> None: ...


class Pod:
    """Runs from its making on."""

    def __init__(self, manifest: Json, *, host: Host, folder: Path) -> None:
        meta = manifest["metadata"]
        self.namespace: str = meta["namespace"]
        self.name: str = meta["name"]
        self.uid: str = meta["uid"]
        self.orders = Orders.of(manifest)
        self.grace = float(manifest["spec"].get("terminationGracePeriodSeconds", 30))
        self._manifest = manifest
        self._host = host
        self._folder = folder / self.uid
        self._status = PodStatus(manifest, host=host.address)
        self._sandbox: Sandbox | None = None
        self._failure: Failure | None = None
        self._ending = False
        """Nothing is started any more."""
        self._end: asyncio.Task[None] | None = None
        self._deleted = False
        self._dirty = asyncio.Event()
        self._told: Json = {}
        """The status that the API server was told last."""
        self._telling = asyncio.Lock()
        """One status after the other: the last one stands."""
        self._address = host.take_address()
        self._containers = [self._container(each) for each in manifest["spec"]["containers"]]
        self._work = Tasks(self.name)
        self._care = Tasks(self.name)
        self._reporting = self._care.spawn(self._report(), name="status")
        self._work.spawn(self._run(), name="run")

    def container(self, name: str) -> Container | None:
        return next((each for each in self._containers if each.name == name), None)

    # --- running

    async def _run(self) -> None:
        if self.orders.refuse:
            why = f"Pod was rejected: {self.orders.refuse}"
            self._fail(Failure(self.orders.refuse, why))
            return
        sandbox = self._sandbox = await Sandbox.open(self._address)
        self.changed()
        await self._pull()
        if deadline := self._manifest["spec"].get("activeDeadlineSeconds"):
            self._work.spawn(self._expire(float(deadline)), name="deadline")
        for each in self._containers:
            self._work.spawn(each.run(sandbox), name=each.name)

    async def _pull(self) -> None:
        image = self._containers[0].seen.image
        if self.orders.pull_seconds:
            self.event("Normal", "Pulling", f'Pulling image "{image}"')
            await asyncio.sleep(self.orders.pull_seconds)
            took = f"{self.orders.pull_seconds}s"
            self.event("Normal", "Pulled", f'Successfully pulled image "{image}" in {took}')
        while error := self.orders.pull_error:
            said = f'failed to pull image "{image}": {error}'
            self.event("Normal", "Pulling", f'Pulling image "{image}"')
            self.event("Warning", "Failed", f"Failed to pull image: {said}")
            self.event("Warning", "Failed", "Error: ErrImagePull")
            self._wait_for_image("ErrImagePull", said)
            await asyncio.sleep(1.0)
            back_off = f'Back-off pulling image "{image}"'
            self.event("Normal", "BackOff", back_off)
            self.event("Warning", "Failed", "Error: ImagePullBackOff")
            self._wait_for_image("ImagePullBackOff", f"{back_off}: ErrImagePull: {said}")
            await asyncio.sleep(_PULL_BACKOFF)

    def _wait_for_image(self, reason: str, message: str) -> None:
        for each in self._containers:
            each.seen.state = waiting(reason, message)
        self.changed()

    async def _expire(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        why = "Pod was active on the node longer than the specified deadline"
        self._fail(Failure("DeadlineExceeded", why))
        await self._end_containers(self.grace)

    def _fail(self, failure: Failure) -> None:
        self._failure = failure
        self._ending = True
        self.event("Warning", failure.reason, failure.message)
        self.changed()

    def _container(self, spec: Json) -> Container:
        environment = {"PATH": os.environ["PATH"], "HOME": "/root", "HOSTNAME": self.name}
        environment |= {each["name"]: each.get("value", "") for each in spec.get("env", [])}
        limits = spec.get("resources", {}).get("limits", {})
        if count := int(limits.get("nvidia.com/gpu", 0)):
            gpus = self._host.take_gpus(count, pod=self.uid)
            environment["NVIDIA_VISIBLE_DEVICES"] = ",".join(map(str, gpus))
        folder = self._folder / spec["name"]
        return Container(spec, pod=self, folder=folder, environment=environment)

    # --- what its containers ask and say

    def restarts(self, exit_code: int) -> bool:
        return not self._ending and self._status.restarts(exit_code)

    def changed(self) -> None:
        self._dirty.set()

    def event(self, kind: str, reason: str, message: str, container: str = "") -> None:
        self._host.event(self._manifest, kind, reason, message, container)

    # --- the end

    def terminate(self, grace: float) -> None:
        """SIGTERM now, SIGKILL after `grace` seconds; sooner if told so again."""
        if self._end is not None:
            asyncio.get_running_loop().call_later(grace, self._kill)
            return
        self._ending = True
        self._end = self._care.spawn(self._terminate(grace), name="end")

    def vanish(self) -> None:
        """The API server has it no more: no grace, and nobody to report to."""
        self._deleted = True
        self.terminate(0.0)

    async def _terminate(self, grace: float) -> None:
        for each in self._containers:
            if each.runs:
                self.event("Normal", "Killing", f"Stopping container {each.name}", each.name)
        await self._end_containers(grace)
        await self._work.aclose()
        if self._sandbox is not None:
            await self._sandbox.close()
        self._reporting.cancel()
        if not self._deleted:
            await self._tell()
            await self._delete()
        self._host.forget(self)
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _end_containers(self, grace: float) -> None:
        for each in self._containers:
            each.tell(signal.SIGTERM)
        last = asyncio.get_running_loop().call_later(grace, self._kill)
        try:
            while any(each.runs for each in self._containers):
                await asyncio.sleep(0.01)
        finally:
            last.cancel()

    def _kill(self) -> None:
        for each in self._containers:
            each.kill()

    async def aclose(self) -> None:
        """The kubelet ends: its processes with it, the pod's object stays."""
        self._kill()
        await self._work.aclose()
        await self._care.aclose()
        if self._sandbox is not None:
            await self._sandbox.close()

    # --- what the API server is told

    async def _report(self) -> None:
        self._dirty.set()
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            await self._tell()

    async def _tell(self) -> None:
        async with self._telling:
            status = self._status.told(
                [each.seen for each in self._containers],
                address=self._sandbox.address if self._sandbox else None,
                failure=self._failure,
                ended=self._ending,
            )
            if status != self._told:
                body = {"metadata": {"uid": self.uid}, "status": status}
                await self._insist("PATCH", body, sub="status", content=STRATEGIC)
                self._told = deepcopy(status)

    async def _delete(self) -> None:
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}}
        await self._insist("DELETE", body)

    async def _insist(self, method: str, body: Json, *, sub: str = "", content: str = "") -> None:
        """Until the API server has answered; a pod that is not there any more is fine."""
        where = path("Pod", self.namespace, self.name, sub)
        while not self._deleted:
            try:
                await self._host.api.call(method, where, body, content=content)
            except Refused as refusal:
                # forbidden: an API server that has just come back has not read its roles yet
                if refusal.status in {403, 429} or refusal.status >= 500:
                    await asyncio.sleep(_AGAIN)
                    continue
                if refusal.status not in {404, 409}:
                    raise
            except (aiohttp.ClientError, TimeoutError):
                await asyncio.sleep(_AGAIN)
                continue
            return
