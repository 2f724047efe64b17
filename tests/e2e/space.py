"""A namespace of a test's own, and what tests do and wait for in it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from tests.e2e.api import Refused, path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.e2e.api import Access, Api, Json

WITHIN = 30.0
"""Seconds for what a cluster does, on a busy machine."""
BACK_WITHIN = 90.0
"""Seconds until the controllers are at work again after an outage: their pauses grow with it."""
_EVERY = 0.05


class Space:
    """One namespace, through an administrator's eyes."""

    def __init__(self, api: Api, name: str) -> None:
        self.api = api
        self.name = name

    async def open(self) -> None:
        """Pods can be made when this returns."""
        await self.api.create({"kind": "Namespace", "metadata": {"name": self.name}})
        deadline = time.monotonic() + BACK_WITHIN
        while not await self.api.list("ServiceAccount", self.name):
            assert time.monotonic() < deadline, "the namespace gets no service account"
            await asyncio.sleep(_EVERY)

    async def close(self) -> None:
        """Its pods have gone when this returns; the rest goes when the cluster finds the time."""
        for kind in ("Deployment", "StatefulSet", "ReplicaSet"):  # nobody makes pods any more
            await self.api.call("DELETE", path(kind, self.name), {"propagationPolicy": "Orphan"})
        deadline = time.monotonic() + WITHIN
        while await self.api.list("Pod", self.name):
            assert time.monotonic() < deadline, "the namespace keeps its pods"
            await self.api.call("DELETE", path("Pod", self.name), {"gracePeriodSeconds": 0})
            await asyncio.sleep(_EVERY)
        await self.api.delete("Namespace", "", self.name)

    # --- objects

    async def apply(self, *manifests: Json) -> None:
        for each in manifests:
            await self.api.create(each | {"metadata": {**each["metadata"], "namespace": self.name}})

    async def get(self, kind: str, name: str, sub: str = "") -> Json:
        return await self.api.get(kind, self.name, name, sub)

    async def scale(self, name: str, replicas: int, *, kind: str = "Deployment") -> None:
        await self.api.scale(kind, self.name, name, replicas)

    async def pods(self) -> list[Json]:
        return await self.api.list("Pod", self.name)

    async def events(self, reason: str = "") -> list[Json]:
        found = await self.api.list("Event", self.name)
        return [each for each in found if reason in {"", each.get("reason")}]

    async def log(self, pod: str, **query: str) -> str:
        where = f"/api/v1/namespaces/{self.name}/pods/{pod}/log"
        return await self.api.text(where, **query)

    async def account(
        self, name: str, *, rules: Sequence[Json], also: Sequence[Space] = ()
    ) -> Access:
        """A service account that may do in this namespace, and `also` in these, what the rules
        say, and nothing more."""
        rbac = {"apiGroup": "rbac.authorization.k8s.io"}
        here = {"metadata": {"name": name}}
        subject = {"kind": "ServiceAccount", "name": name, "namespace": self.name}
        role = {**rbac, "kind": "Role", "name": name}
        await self.apply({"kind": "ServiceAccount", **here})
        for each in (self, *also):
            await each.apply(
                {"kind": "Role", **here, "rules": list(rules)},
                {"kind": "RoleBinding", **here, "subjects": [subject], "roleRef": role},
            )
        where = path("ServiceAccount", self.name, name, "token")
        answer = await self.api.call("POST", where, {"spec": {}})
        return self.api.access.as_token(answer["status"]["token"])

    # --- waiting

    async def until_pods(
        self, check: Callable[[list[Json]], object], *, within: float = WITHIN
    ) -> list[Json]:
        """The pods, once they satisfy `check`."""
        deadline = time.monotonic() + within
        while not check(pods := await self.pods()):
            told = [(each["metadata"]["name"], each.get("status")) for each in pods]
            assert time.monotonic() < deadline, f"not so within {within} s: {told}"
            await asyncio.sleep(_EVERY)
        return pods

    async def until_pod(self, check: Callable[[Json], object], *, within: float = WITHIN) -> Json:
        """The first pod that satisfies `check`."""
        pods = await self.until_pods(lambda them: any(map(check, them)), within=within)
        return next(filter(check, pods))

    async def until(
        self,
        kind: str,
        name: str,
        check: Callable[[Json], object],
        *,
        within: float = WITHIN,
    ) -> Json:
        deadline = time.monotonic() + within
        while True:
            try:
                found = await self.get(kind, name)
            except Refused as refusal:
                found = {"status": str(refusal)}
            else:
                if check(found):
                    return found
            assert time.monotonic() < deadline, f"not so within {within} s: {found.get('status')}"
            await asyncio.sleep(_EVERY)

    async def until_younger_than(self, created: Json) -> None:
        """What is made from now on is younger than this by the cluster's own clock, which tells
        whole seconds."""
        deadline = time.monotonic() + WITHIN
        while True:
            about = {"name": "clock", "namespace": self.name}
            clock = {"kind": "ServiceAccount", "metadata": about}
            now = (await self.api.create(clock))["metadata"]["creationTimestamp"]
            await self.api.delete("ServiceAccount", self.name, "clock")
            if now > created["metadata"]["creationTimestamp"]:
                return
            assert time.monotonic() < deadline, f"it is {now} still"
            await asyncio.sleep(_EVERY)

    async def tell_what_happened(self) -> None:
        """For whoever reads why a test failed."""
        for pod in await self.pods():
            print(f"--- pod {pod['metadata']['name']}: {pod.get('status')}")
        for event in await self.events():
            about = event["involvedObject"]
            print("   ", event["reason"], about["kind"], about["name"], event["message"])


def wants(replicas: int) -> Callable[[Json], bool]:
    """Of a workload: so many are asked for."""
    return lambda workload: workload["spec"].get("replicas", 0) == replicas


def condition(of: Json, kind: str) -> Json:
    """One of an object's conditions; empty if it has none such."""
    found: list[Json] = of.get("status", {}).get("conditions") or []
    return next((each for each in found if each["type"] == kind), {})


def is_ready(pod: Json) -> bool:
    return condition(pod, "Ready").get("status") == "True"


def container(pod: Json) -> Json:
    """The status of its first container; empty while there is none."""
    found: list[Json] = pod.get("status", {}).get("containerStatuses") or [{}]
    return found[0]


def waits_for(pod: Json) -> str:
    """The reason for which its first container waits."""
    return str(container(pod).get("state", {}).get("waiting", {}).get("reason", ""))
