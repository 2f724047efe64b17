"""Events on objects of the cluster, written in the background: what `kubectl describe` shows.

Decides how often at most, what is the same event once more (its count rises), and what is given up
when there is too much to say. Nobody ever waits for one to be written.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from activator.kube.client import MERGE_PATCH
from activator.kube.errors import KubeError, Missing, Outdated, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.kube.client import KubeClient

PENDING: Final = 200
"""Events that wait to be written at most; then the oldest is given up."""
KNOWN: Final = 1000
"""Events whose repetition is recognised."""
PAUSE: Final = 0.2
"""Seconds between two: events are for people, and the API server has more to do."""
RETRY: Final = 5.0
"""Seconds until the next attempt while nobody answers."""
LONGEST: Final = 1000
"""Characters of a message: the API server's bound is 1 KiB."""

_COMPONENT = "activator"


@dataclass(frozen=True, slots=True)
class Subject:
    """The object that an event is about."""

    group_version: str
    kind: str
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Note:
    about: Subject
    reason: str
    """In CamelCase, for machines."""
    message: str
    is_warning: bool

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.about.namespace}/events"

    @property
    def name(self) -> str:
        """The same for the same event, whichever activator writes it."""
        it = self.about
        told = "\0".join((it.uid, it.kind, it.name, self.reason, self.message))
        return f"{it.name[:200].rstrip('.-')}.{hashlib.sha256(told.encode()).hexdigest()[:16]}"


class Notes:
    """Of one cluster. `run` until cancelled."""

    def __init__(
        self,
        client: KubeClient,
        *,
        wall: Callable[[], float],
        refused: Callable[[str, KubeError], None] = lambda namespace, error: None,
        pause: float = PAUSE,
    ) -> None:
        """`refused`: events cannot be written in this namespace, told once until one can."""
        self._client = client
        self._wall = wall
        self._tell_refused = refused
        self._pause = pause
        self._pending: OrderedDict[Note, int] = OrderedDict()
        """And how often it has happened since it was written."""
        self._counts: OrderedDict[Note, int] = OrderedDict()
        self._refused: set[str] = set()
        self._something = asyncio.Event()

    def write(self, note: Note) -> None:
        """At some time soon; never waits."""
        self._pending[note] = self._pending.get(note, 0) + 1
        if len(self._pending) > PENDING:
            self._pending.popitem(last=False)
        self._something.set()

    async def run(self) -> None:
        while True:
            await self._something.wait()
            note = next(iter(self._pending), None)
            if note is None:
                self._something.clear()
                continue
            times = self._pending[note]
            try:
                await self._write(note, times)
            except Unreachable:
                await asyncio.sleep(RETRY)
                continue
            except KubeError as error:
                self._on_refusal(note.about.namespace, error)
            except Exception:
                self._pending.pop(note, None)  # the others are written all the same
                raise
            else:
                self._refused.discard(note.about.namespace)
            left = self._pending.get(note, 0) - times
            if left <= 0:
                self._pending.pop(note, None)
            else:
                self._pending[note] = left
            await asyncio.sleep(self._pause)

    async def _write(self, note: Note, times: int) -> None:
        count = self._counts.pop(note, 0)
        if count:
            try:
                await self._repeat(note, count=count + times)
            except Missing:
                count = 0  # the cluster forgets events after an hour
        if not count:
            try:
                await self._client.post(note.path, self._event(note, times))
            except Outdated:
                await self._repeat(note)  # another activator has told it, or we before a restart
        self._counts[note] = count + times
        if len(self._counts) > KNOWN:
            self._counts.popitem(last=False)

    async def _repeat(self, note: Note, *, count: int = 0) -> None:
        change: dict[str, Any] = {"lastTimestamp": self._now()}
        if count:
            change["count"] = count
        await self._client.patch(f"{note.path}/{note.name}", change, content_type=MERGE_PATCH)

    def _event(self, note: Note, times: int) -> dict[str, Any]:
        about, now = note.about, self._now()
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": note.name, "namespace": about.namespace},
            "involvedObject": {
                "apiVersion": about.group_version,
                "kind": about.kind,
                "namespace": about.namespace,
                "name": about.name,
                "uid": about.uid,
            },
            "reason": note.reason,
            "message": note.message[:LONGEST],
            "type": "Warning" if note.is_warning else "Normal",
            "source": {"component": _COMPONENT},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": times,
        }

    def _now(self) -> str:
        return datetime.fromtimestamp(self._wall(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _on_refusal(self, namespace: str, error: KubeError) -> None:
        if namespace not in self._refused:
            self._refused.add(namespace)
            self._tell_refused(namespace, error)
