"""A scripted Kubernetes API server on loopback: objects, lists, watches, patches, and faults.

It keeps the semantics that the activator relies on and was seen to keep by Kubernetes 1.36:
resource versions that rise, watches from a version, 410 for what is forgotten, a `/scale`
without `replicas` at zero, JSON patches whose `test` of null passes where nothing is, 422 for a
test that fails. Nothing happens by itself: controllers are tests' to play (`kube_controllers`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as RBAC sees it."""

    verb: str
    resource: str
    namespace: str
    name: str = ""
    query: dict[str, str] = field(default_factory=dict)
    body: Any = None


class StatusError(Exception):
    def __init__(self, code: int, reason: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.code = code
        self.headers: dict[str, str] = more.pop("headers", {})
        self.status: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "code": code,
            "reason": reason,
            "message": message,
            **more,
        }


class KubeServer:
    """`objects[(resource, namespace)][name]`; a resource is its plural."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], dict[str, Object]] = defaultdict(dict)
        self.asked: list[Asked] = []
        self.token = ""
        """Bearer that is accepted; empty: every one."""
        self.forbidden: set[tuple[str, str]] = set()
        """(verb, resource) that RBAC denies."""
        self.logs: dict[str, str] = {}
        """By pod, or `pod/previous`."""
        self.busy = 0
        """So many of the next requests are answered 429."""
        self.is_away = False
        """Connections are reset."""
        self.refused = 0
        """So many were."""
        self.stalled = False
        """Requests are taken and not answered, until it is over."""
        self.oldest = 0
        """Versions before this are forgotten."""
        self.is_mute = False
        """Watches say nothing, not even that they have begun to end."""
        self.is_short = False
        """Watches end as soon as they have begun."""
        self.page = 10_000
        self.before_patch: list[Callable[[Asked], None]] = []
        """One is called with each patch: what somebody else does just before it."""
        self.kinds: dict[str, list[Object]] = {}
        """What discovery tells, by group and version."""
        self._version = 100
        self._history: list[tuple[int, str, tuple[str, str], Object]] = []
        self.moved = asyncio.Event()
        self._streams: set[asyncio.Task[Any]] = set()
        self.port = 0

    # --- what tests do ---------------------------------------------------------------------------

    def put(self, resource: str, obj: Object) -> Object:
        """Create or replace; returns it as stored."""
        metadata = obj["metadata"]
        key = resource, metadata.setdefault("namespace", "models")
        known = self.objects[key].get(metadata["name"])
        metadata.setdefault("uid", known["metadata"]["uid"] if known else str(uuid.uuid4()))
        if known and _wanted_of(known, resource) != _wanted_of(obj, resource):
            metadata["generation"] = known["metadata"].get("generation", 1) + 1
        else:
            metadata.setdefault("generation", 1)
        return self._store("MODIFIED" if known else "ADDED", key, obj)

    def change(self, resource: str, name: str, change: Callable[[Object], None]) -> Object:
        obj: Object = json.loads(json.dumps(self.objects[resource, "models"][name]))
        change(obj)
        return self.put(resource, obj)

    def delete(self, resource: str, name: str, namespace: str = "models") -> None:
        obj = self.objects[resource, namespace].pop(name)
        self._store("DELETED", (resource, namespace), obj, keep=False)

    def get(self, resource: str, name: str) -> Object:
        return self.objects[resource, "models"][name]

    def names(self, resource: str) -> list[str]:
        return sorted(self.objects[resource, "models"])

    def cut_watches(self) -> None:
        for task in list(self._streams):
            task.cancel()

    def forget(self) -> None:
        """Watches from any version so far are answered 410."""
        self.oldest = self._version + 1
        self._store("ADDED", ("configmaps", "other"), {"metadata": {"name": "x"}}, keep=False)

    def watches(self) -> list[Asked]:
        return [each for each in self.asked if each.verb == "watch"]

    def lists(self) -> list[Asked]:
        return [each for each in self.asked if each.verb == "list"]

    def patches(self, resource: str) -> list[Asked]:
        return [each for each in self.asked if (each.verb, each.resource) == ("patch", resource)]

    def _store(self, how: str, key: tuple[str, str], obj: Object, *, keep: bool = True) -> Object:
        self._version += 1
        obj["metadata"]["resourceVersion"] = str(self._version)
        if keep:
            self.objects[key][obj["metadata"]["name"]] = obj
        stored: Object = json.loads(json.dumps(obj))
        self._history.append((self._version, how, key, stored))
        self.moved.set()
        self.moved = asyncio.Event()
        return stored

    # --- HTTP -------------------------------------------------------------------------------------

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.is_away:
            self.refused += 1
            if request.transport is not None:
                request.transport.abort()
            raise web.HTTPServiceUnavailable
        while self.stalled:
            await asyncio.sleep(0.02)
        try:
            return await self._handle(request)
        except StatusError as error:
            return web.json_response(error.status, status=error.code, headers=error.headers)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            raise StatusError(401, "Unauthorized", "Unauthorized")
        if self.busy:
            self.busy -= 1
            raise StatusError(429, "TooManyRequests", "slow down", headers={"Retry-After": "1"})
        path = request.path.strip("/").split("/")
        parts = path[2:] if path[0] == "api" else path[3:]
        if not parts:
            told = self.kinds.get("/".join(path[1:]))
            if told is None:
                raise StatusError(404, "NotFound", "the server could not find the resource")
            return web.json_response({"kind": "APIResourceList", "resources": told})
        assert parts[0] == "namespaces", request.path
        namespace, resource, *rest = parts[1:]
        return await self._dispatch(request, namespace, resource, rest)

    async def _dispatch(
        self, request: web.Request, namespace: str, resource: str, rest: list[str]
    ) -> web.StreamResponse:
        name, subresource = [*rest, "", ""][:2]
        is_watch = request.query.get("watch") == "1"
        verb = {"PATCH": "patch", "POST": "create", "PUT": "update"}.get(
            request.method, "get" if name else "watch" if is_watch else "list"
        )
        full = f"{resource}/{subresource}" if subresource else resource
        body = json.loads(await request.read() or b"null")
        asked = Asked(verb, full, namespace, name, dict(request.query), body)
        self.asked.append(asked)
        if (verb, full) in self.forbidden:
            raise StatusError(
                403,
                "Forbidden",
                f'{full} is forbidden: User "activator" cannot {verb} resource "{full}"'
                f' in the namespace "{namespace}"',
            )
        key = resource, namespace
        if verb == "list":
            return web.json_response(self._list(key, request))
        if verb == "watch":
            return await self._watch(key, request)
        if verb == "create":
            if body["metadata"]["name"] in self.objects[key]:
                name = body["metadata"]["name"]
                raise StatusError(409, "AlreadyExists", f'{resource} "{name}" already exists')
            return web.json_response(self.put(resource, body), status=201)
        obj = self.objects[key].get(name)
        if obj is None:
            raise StatusError(404, "NotFound", f'{resource} "{name}" not found')
        if subresource == "log":
            which = f"{name}/previous" if request.query.get("previous") == "true" else name
            if which not in self.logs:
                raise StatusError(400, "BadRequest", f"no log of {which}")
            lines = self.logs[which].splitlines(keepends=True)
            return web.Response(text="".join(lines[-int(request.query["tailLines"]) :]))
        if verb == "update":
            if body["metadata"].get("resourceVersion") != obj["metadata"]["resourceVersion"]:
                raise StatusError(409, "Conflict", "the object has been modified")
            obj = self.put(resource, body)
        if verb == "patch":
            if self.before_patch:
                self.before_patch.pop(0)(asked)
            obj = self._patch(key, name, subresource, request.content_type, body)
        return web.json_response(scale_of(obj) if subresource == "scale" else obj)

    def _list(self, key: tuple[str, str], request: web.Request) -> Object:
        items = [self.objects[key][name] for name in sorted(self.objects[key])]
        start = int(request.query.get("continue", "0"))
        end = start + min(self.page, int(request.query.get("limit", "10000")))
        metadata: Object = {"resourceVersion": str(self._version)}
        if end < len(items):
            metadata["continue"] = str(end)
        return {"kind": "List", "metadata": metadata, "items": items[start:end]}

    async def _watch(self, key: tuple[str, str], request: web.Request) -> web.StreamResponse:
        since = int(request.query["resourceVersion"])
        response = web.StreamResponse()
        response.content_type = "application/json"
        await response.prepare(request)
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        try:
            # whoever watches may leave at any time
            with contextlib.suppress(ConnectionResetError):
                try:
                    async with asyncio.timeout(float(request.query["timeoutSeconds"])):
                        await self._stream(key, since, response)
                except TimeoutError:
                    await _say(response, "BOOKMARK", self._bookmark())
        finally:
            self._streams.discard(task)
        return response

    async def _stream(self, key: tuple[str, str], since: int, response: web.StreamResponse) -> None:
        if since < self.oldest:
            error = StatusError(410, "Expired", "too old resource version")
            await _say(response, "ERROR", error.status)
            return
        while not self.is_short:
            moved = self.moved
            if not self.is_mute:
                for version, how, of, obj in self._history:
                    if version > since and of == key:
                        await _say(response, how, obj)
                since = self._version
            await moved.wait()

    def _bookmark(self) -> Object:
        return {"metadata": {"resourceVersion": str(self._version)}}

    def _patch(
        self, key: tuple[str, str], name: str, subresource: str, content_type: str, body: Any
    ) -> Object:
        obj: Object = json.loads(json.dumps(self.objects[key][name]))
        target = scale_of(obj) if subresource == "scale" else obj
        if content_type == "application/json-patch+json":
            _apply(target, body)
        else:
            told = body.get("metadata", {}).get("resourceVersion")
            if told not in (None, obj["metadata"]["resourceVersion"]):
                raise StatusError(409, "Conflict", "the object has been modified")
            _merge(target, body)
        if subresource == "scale":
            obj["spec"]["replicas"] = target["spec"].get("replicas", 0)
            if obj["spec"]["replicas"] < 0:
                raise StatusError(422, "Invalid", "must be greater than or equal to 0")
        if obj == self.objects[key][name]:
            return obj
        return self.put(key[0], obj)


def scale_of(obj: Object) -> Object:
    metadata = {key: obj["metadata"].get(key) for key in ("name", "namespace", "uid")}
    metadata["resourceVersion"] = obj["metadata"]["resourceVersion"]
    count = obj["spec"].get("replicas", 0)
    labels = obj["spec"].get("selector", {}).get("matchLabels") or obj.get("podLabels") or {}
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": count} if count else {},
        "status": {"replicas": count, "selector": selector},
    }


def _wanted_of(obj: Object, resource: str) -> Any:
    """What moves the generation; of Deployments an annotation does, too."""
    annotations = obj["metadata"].get("annotations") if resource == "deployments" else None
    return obj.get("spec"), annotations or {}


async def _say(response: web.StreamResponse, how: str, obj: Object) -> None:
    await response.write(json.dumps({"type": how, "object": obj}).encode() + b"\n")


def _apply(target: Object, operations: list[Object]) -> None:
    for step in operations:
        *parents, last = [
            part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:]
        ]
        at: Any = target
        for part in parents:
            if part not in at:
                raise StatusError(422, "Invalid", "the server rejected our request")
            at = at[part]
        match step["op"]:
            case "test":
                if at.get(last) != step["value"]:
                    raise StatusError(
                        422,
                        "Invalid",
                        "the server rejected our request due to an error in our request",
                    )
            case "add" | "replace":
                at[last] = step["value"]
            case "remove":
                del at[last]


def _merge(target: Object, changes: Object) -> None:
    for key, value in changes.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            _merge(target.setdefault(key, {}), value)
        else:
            target[key] = value


@contextlib.asynccontextmanager
async def kube_server(*, certificate: Path | None = None) -> AsyncIterator[KubeServer]:
    """With a certificate (its key beside it) over TLS."""
    server = KubeServer()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        server.cut_watches()
        await runner.cleanup()


def kubeconfig(directory: Path, port: int, *, token: str = "t0") -> Path:
    """A kubeconfig with the token in a file of its own, as rotated ones are."""
    (directory / "token").write_text(token)
    path = directory / "kubeconfig"
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
                "users": [{"name": "u", "user": {"tokenFile": str(directory / "token")}}],
            }
        )
    )
    return path
