"""An activation path that waits for the cluster's word: it orders a replica, and forwards once an
EndpointSlice calls an address ready, which is when kubelet's probe has found that and it was told.

It does nothing else, and keeps no line: what is compared is the waiting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp

from tests.e2e.api import path

if TYPE_CHECKING:
    from tests.e2e.api import Api, Json

RULES: tuple[Json, ...] = (
    {"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["patch"]},
    {
        "apiGroups": ["discovery.k8s.io"],
        "resources": ["endpointslices"],
        "verbs": ["list", "watch"],
    },
)
"""The rights that it needs."""


class WaitingPath:
    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    async def get(self, name: str, target: str, *, port: int) -> None:
        """Ask the Deployment of this name, and the Service likewise, which is at zero."""
        await self._api.scale("Deployment", self._namespace, name, 1)
        address = await self._ready(name)
        url = f"http://{address}:{port}{target}"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            await answer.read()

    async def _ready(self, name: str) -> str:
        mine = {"labelSelector": f"kubernetes.io/service-name={name}"}
        async for change in self._api.follow(path("EndpointSlice", self._namespace), **mine):
            for each in change.of.get("endpoints") or ():
                if each["conditions"].get("ready"):
                    return str(each["addresses"][0])
        raise AssertionError("a collection is followed without end")
