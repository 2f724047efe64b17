"""A client of the API server for tests and for their kubelet: JSON over HTTP, and watches.

Not the product's own client: what is to prove the product must not share its mistakes. It retries
nothing, apart from `follow`, which lists again for as long as somebody listens.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import aiohttp
import yaml

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Json: TypeAlias = dict[str, Any]
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"

_ANSWERED_WITHIN = 30.0
_LINE = 8 << 20
"""Bytes of the longest event of a watch."""
_AGAIN = 0.25
"""Seconds before a list is tried again."""

_PLURALS = {
    "Namespace": "api/v1/namespaces",
    "Node": "api/v1/nodes",
    "Pod": "api/v1/pods",
    "Service": "api/v1/services",
    "ServiceAccount": "api/v1/serviceaccounts",
    "ResourceQuota": "api/v1/resourcequotas",
    "Event": "api/v1/events",
    "Deployment": "apis/apps/v1/deployments",
    "ReplicaSet": "apis/apps/v1/replicasets",
    "StatefulSet": "apis/apps/v1/statefulsets",
    "EndpointSlice": "apis/discovery.k8s.io/v1/endpointslices",
    "Lease": "apis/coordination.k8s.io/v1/leases",
    "Role": "apis/rbac.authorization.k8s.io/v1/roles",
    "RoleBinding": "apis/rbac.authorization.k8s.io/v1/rolebindings",
    "ClusterRole": "apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "HorizontalPodAutoscaler": "apis/autoscaling/v2/horizontalpodautoscalers",
    "CustomResourceDefinition": "apis/apiextensions.k8s.io/v1/customresourcedefinitions",
}


class Refused(Exception):
    """The API server answered, and not with success."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status} {message}")
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class Access:
    """Where an API server is, and as whom one speaks to it."""

    server: str
    ca: str
    """The certificates that its own is checked against, as PEM; empty: the system's."""
    token: str = ""
    certificate: str = ""
    """Of the client, with its key, as PEM."""

    @classmethod
    def from_kubeconfig(cls, path: Path) -> Access:
        """Its current context. Users with exec plugins or passwords are not understood."""
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        chosen = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], chosen["cluster"])["cluster"]
        user = _named(config["users"], chosen["user"])["user"]
        token = user.get("token", "")
        if "tokenFile" in user:
            token = Path(user["tokenFile"]).read_text(encoding="utf-8").strip()
        return cls(
            server=cluster["server"].rstrip("/"),
            ca=_pem(cluster, "certificate-authority"),
            token=token,
            certificate=_pem(user, "client-certificate") + _pem(user, "client-key"),
        )

    def as_token(self, token: str) -> Access:
        """The same API server, as somebody else."""
        return Access(server=self.server, ca=self.ca, token=token)

    def write_kubeconfig(self, path: Path) -> Path:
        ca = {"certificate-authority-data": base64.b64encode(self.ca.encode()).decode()}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "e2e", "cluster": {"server": self.server, **ca}}],
            "users": [{"name": "e2e", "user": {"token": self.token}}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": "e2e"}}],
            "current-context": "e2e",
        }
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return path

    def tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.ca or None)
        if self.certificate:
            with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:  # ssl reads files only
                file.write(self.certificate)
                file.flush()
                context.load_cert_chain(file.name)
        return context


def _named(entries: list[Json], name: str) -> Json:
    return next(each for each in entries if each["name"] == name)


def _pem(source: Json, key: str) -> str:
    if data := source.get(f"{key}-data"):
        return base64.b64decode(data).decode()
    if name := source.get(key):
        return Path(os.path.expanduser(name)).read_text(encoding="utf-8")
    return ""


@dataclass(frozen=True, slots=True)
class Change:
    """Something that a watch has said; `LISTED` are the objects that were there before it."""

    kind: str
    """LISTED, ADDED, MODIFIED or DELETED."""
    of: Json


def path(kind: str, namespace: str = "", name: str = "", sub: str = "") -> str:
    """Of an object, of one of its subresources, or (without `name`) of all objects of a kind."""
    root, _, plural = _PLURALS[kind].rpartition("/")
    place = f"/{root}/namespaces/{namespace}/{plural}" if namespace else f"/{root}/{plural}"
    return "/".join(part for part in (place, name, sub) if part)


class Api:
    """One connection pool; used as `async with Api(access) as api`."""

    def __init__(self, access: Access) -> None:
        self.access = access
        headers = {"User-Agent": "activator-e2e"}
        if access.token:
            headers["Authorization"] = f"Bearer {access.token}"
        self._headers = headers

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self.access.tls(), limit=0)
        timeout = aiohttp.ClientTimeout(total=_ANSWERED_WITHIN)
        self._session = aiohttp.ClientSession(
            connector=connector, headers=self._headers, timeout=timeout, read_bufsize=_LINE
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._session.close()

    # --- one call

    async def call(
        self, method: str, where: str, body: object = None, *, content: str = "", **query: str
    ) -> Json:
        """Raises Refused, or what aiohttp raises where there was no answer."""
        text = await self._text(method, where, body, content=content, query=query)
        found: Json = json.loads(text)
        return found

    async def text(self, where: str, **query: str) -> str:
        """What is no JSON: logs."""
        return await self._text("GET", where, query=query)

    async def _text(
        self,
        method: str,
        where: str,
        body: object = None,
        *,
        content: str = "",
        query: dict[str, str],
    ) -> str:
        headers = {} if body is None else {"Content-Type": content or "application/json"}
        async with self._session.request(
            method,
            self.access.server + where,
            params=query,
            data=None if body is None else json.dumps(body),
            headers=headers,
        ) as answer:
            text = await answer.text()
            if answer.status >= 400:
                raise Refused(answer.status, _message(text))
            return text

    # --- objects

    async def create(self, manifest: Json) -> Json:
        meta = manifest["metadata"]
        where = path(manifest["kind"], meta.get("namespace", ""))
        return await self.call("POST", where, manifest)

    async def get(self, kind: str, namespace: str, name: str, sub: str = "") -> Json:
        return await self.call("GET", path(kind, namespace, name, sub))

    async def list(self, kind: str, namespace: str = "", **query: str) -> list[Json]:
        found: list[Json] = (await self.call("GET", path(kind, namespace), **query))["items"]
        return found

    async def merge(
        self, kind: str, namespace: str, name: str, change: Json, *, sub: str = ""
    ) -> Json:
        return await self.call("PATCH", path(kind, namespace, name, sub), change, content=MERGE)

    async def scale(self, kind: str, namespace: str, name: str, replicas: int) -> None:
        await self.merge(kind, namespace, name, {"spec": {"replicas": replicas}}, sub="scale")

    async def delete(self, kind: str, namespace: str, name: str, **options: object) -> None:
        await self.call("DELETE", path(kind, namespace, name), options or None)

    # --- watching

    async def follow(self, where: str, **query: str) -> AsyncIterator[Change]:
        """What is there, then each change, without end: lists anew after every kind of failure.

        What was deleted between two lists goes unmentioned.
        """
        while True:
            try:
                listed = await self.call("GET", where, **query)
                for each in listed["items"]:
                    yield Change("LISTED", each)
                version = listed["metadata"]["resourceVersion"]
                async for change in self._watch(where, version, query):
                    yield change
            except (aiohttp.ClientError, TimeoutError, Refused):
                await asyncio.sleep(_AGAIN)

    async def _watch(
        self, where: str, version: str, query: dict[str, str]
    ) -> AsyncIterator[Change]:
        params = {**query, "watch": "1", "resourceVersion": version}
        unbounded = aiohttp.ClientTimeout(total=None)
        async with self._session.get(
            self.access.server + where, params=params, timeout=unbounded
        ) as answer:
            if answer.status >= 400:
                raise Refused(answer.status, _message(await answer.text()))
            async for line in answer.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise Refused(event["object"].get("code", 500), event["object"]["message"])
                yield Change(event["type"], event["object"])


def _message(text: str) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text[:300]
