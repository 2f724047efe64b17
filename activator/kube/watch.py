"""One collection of objects, kept as the server has it: list, then watch, for as long as it takes.

Decides when to list again (the server has forgotten so far back), when a watch is renewed (it
ended, broke, or was silent for longer than it may last), and how long to wait after a failure.
What the objects mean is not known here: `read` makes of each what its readers want to keep.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from activator.core.backoff import Backoff
from activator.errors import fault_of_ours
from activator.kube.errors import (
    Expired,
    Forbidden,
    KubeError,
    Missing,
    Unreachable,
    error_of_status,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from activator.kube.client import KubeClient

_log = logging.getLogger("activator.kube")

T = TypeVar("T")

PAGE: Final = "500"
"""Objects in one answer of a list: some megabytes of pods."""
RETRY: Final = Backoff(first=0.25, factor=2.0, cap=10.0)
MEND: Final = Backoff(first=2.0, factor=2.0, cap=30.0)


@dataclass(frozen=True, slots=True)
class WatchTimes:
    """Seconds."""

    lasts: float = 45.0
    """One watch, as the server is asked to end it: a renewal costs one request, and a connection
    that died without a word is noticed by then."""
    grace: float = 5.0
    """Beyond that, until a watch that has said nothing counts as dead."""
    retry: Backoff = RETRY
    """Between attempts: an API server that was restarted is back within seconds, and requests
    wait for it."""
    mend: Backoff = MEND
    """While the rights do not suffice, or the kind does not exist: a person mends that."""
    short: float = 1.0
    """A watch that ended sooner than this counts as a failure, or ending at once would spin."""


@dataclass(slots=True)
class _Reader(Generic[T]):
    changed: Callable[[], None]
    concerns: Callable[[T], bool] | None


class Watch(Generic[T]):
    """The objects of one path. `run` until cancelled; readers may come and go meanwhile."""

    def __init__(
        self,
        client: KubeClient,
        path: str,
        *,
        what: str,
        read: Callable[[dict[str, Any]], T | None],
        clock: Callable[[], float],
        dice: Callable[[], float],
        times: WatchTimes | None = None,
        troubled: Callable[[str, KubeError | None], None] = lambda what, error: None,
    ) -> None:
        """`what`: for people (`pods in namespace models`). `read` gives None for what nobody
        keeps. `troubled` is told when the collection can no longer be followed, and when it can
        be again (None)."""
        self.items: dict[str, T] = {}
        """By uid. As last known, however long ago: see `trouble`."""
        self.is_known = False
        """It was listed at least once."""
        self.trouble: KubeError | None = None
        """Why it cannot be followed just now."""
        self.what = what
        self._client = client
        self.path = path
        self._read = read
        self._clock = clock
        self._dice = dice
        self._times = times or WatchTimes()
        self._troubled = troubled
        self._versions: dict[str, str] = {}
        self._version = ""
        """Where the watch goes on; empty: list first."""
        self._readers: dict[int, _Reader[T]] = {}
        self._numbers = 0
        self._failures = 0
        """In a row, of one sort."""
        self._needs_mending = False
        self._outages = 0
        """That were over when it failed last."""
        self._is_fresh = False
        """It was listed, and nothing has been heard since."""

    def subscribe(
        self, changed: Callable[[], None], *, concerns: Callable[[T], bool] | None = None
    ) -> Callable[[], None]:
        """`changed` is called after each change of an object that `concerns` it, before or after
        it, and whenever the collection was listed anew or its trouble changed. Returns how to
        unsubscribe."""
        self._numbers += 1
        number = self._numbers
        self._readers[number] = _Reader(changed, concerns)

        def unsubscribe() -> None:
            self._readers.pop(number, None)

        return unsubscribe

    @property
    def is_read(self) -> bool:
        return bool(self._readers)

    def put(self, raw: Mapping[str, Any]) -> None:
        """An object as the answer to a call has it: the watch will tell it a moment later."""
        uid = raw.get("metadata", {}).get("uid")
        if uid in self._versions:
            self._take(dict(raw))

    async def run(self) -> None:
        while True:
            began = self._clock()
            try:
                if not self._version:
                    await self._list()
                await self._follow()
                if self._clock() - began >= self._times.short:
                    self._failures, self._is_fresh = 0, False
                    continue
                error: KubeError = Unreachable(f"{self.what}: the watch ends as soon as it begins")
            except Expired as expired:
                self._version = ""
                if not self._is_fresh:
                    continue  # what a server that was restarted says of everything before
                error = expired
            except KubeError as failed:
                error = failed
                self._is_fresh = False  # it may be another server by now
            except (AttributeError, KeyError, TypeError) as odd:
                self._version = ""
                error = Unreachable(f"{self.what}: the answer is not understood ({odd!r})")
            except Exception as bug:  # it begins again; until then nothing is heard of changes
                self._version, self._failures = "", 2
                self._tell_trouble(Unreachable(f"{self.what}: {fault_of_ours(bug)}"))
                raise
            # a server that has just come back knows no rights yet, and its lists may be older than
            # what it remembers
            sort = _needs_mending(error), self._client.outage.count
            if sort != (self._needs_mending, self._outages):
                self._failures = 0
            self._needs_mending, self._outages = sort
            self._failures += 1
            self._tell_trouble(error)
            await self._pause(error)

    async def _pause(self, error: KubeError) -> None:
        """Until the next attempt."""
        dice, times = self._dice(), self._times
        if self._needs_mending:
            await asyncio.sleep(times.mend.delay(self._failures, dice=dice))
            return
        delay = times.retry.delay(self._failures, dice=dice)
        asked = error.retry_after if isinstance(error, Unreachable) else None
        if asked is None:
            await self._client.outage.pause(delay)
        else:  # not all at once when the time that the server named is over
            await asyncio.sleep(asked + delay)

    async def _list(self) -> None:
        found: dict[str, tuple[str, T | None]] = {}
        params = {"limit": PAGE}
        while True:
            page = await self._client.get(self.path, **params)
            for raw in page.get("items") or ():
                metadata = raw["metadata"]
                found[metadata["uid"]] = metadata["resourceVersion"], self._understood(raw)
            metadata = page.get("metadata") or {}
            if not metadata.get("continue"):
                break
            params["continue"] = metadata["continue"]
        self.items = {uid: item for uid, (_, item) in found.items() if item is not None}
        self._versions = {uid: version for uid, (version, _) in found.items()}
        self._version = metadata.get("resourceVersion", "")
        self.is_known = self._is_fresh = True
        self._well()
        self._notify_all()

    async def _follow(self) -> None:
        times = self._times
        lasts = times.lasts * (1 + self._dice() / 4)  # those that begin together end apart
        params = {
            "watch": "1",
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(max(1, round(lasts))),
        }
        silence = lasts + times.grace
        async with self._client.watching(self.path, params=params, silence=silence) as events:
            self._well()
            async for event in events:
                self._on_event(event)
                self._failures, self._is_fresh = 0, False

    def _on_event(self, event: dict[str, Any]) -> None:
        raw = event.get("object") or {}
        if event.get("type") == "ERROR":
            raise error_of_status(int(raw.get("code") or 500), raw, what=self.what)
        version = raw["metadata"]["resourceVersion"]
        match event.get("type"):
            case "ADDED" | "MODIFIED":
                self._take(raw)
            case "DELETED":
                uid = raw["metadata"]["uid"]
                self._versions.pop(uid, None)
                self._notify(self.items.pop(uid, None), None)
        self._version = version

    def _take(self, raw: dict[str, Any]) -> None:
        metadata = raw["metadata"]
        uid, version = metadata["uid"], metadata["resourceVersion"]
        if _is_older(version, than=self._versions.get(uid)):
            return
        self._versions[uid] = version
        before, after = self.items.get(uid), self._understood(raw)
        if after is None:
            self.items.pop(uid, None)
        else:
            self.items[uid] = after
        if before != after:
            self._notify(before, after)

    def _understood(self, raw: dict[str, Any]) -> T | None:
        """One object that is not as its kind should be must not cost all the others."""
        try:
            return self._read(raw)
        except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
            _log.warning(
                "object not understood",
                extra={
                    "action": "object_not_understood",
                    "object": f"{self.what}: {raw['metadata'].get('name')}",
                    "reason": repr(error),
                },
            )
            return None

    def _notify(self, before: T | None, after: T | None) -> None:
        for reader in list(self._readers.values()):
            concerns = reader.concerns
            if concerns is None or any(
                each is not None and concerns(each) for each in (before, after)
            ):
                reader.changed()

    def _notify_all(self) -> None:
        for reader in list(self._readers.values()):
            reader.changed()

    def _well(self) -> None:
        if self.trouble is not None:
            self.trouble = None
            self._troubled(self.what, None)
            self._notify_all()

    def _tell_trouble(self, error: KubeError) -> None:
        if self._failures < 2 and not self._needs_mending:
            return  # connections break, and servers behind a load balancer take turns
        was, self.trouble = self.trouble, error
        if was is None or type(was) is not type(error):
            self._troubled(self.what, error)
            self._notify_all()


def _needs_mending(error: KubeError) -> bool:
    """By a person: it will not be over in a moment."""
    return isinstance(error, Forbidden | Missing)


def _is_older(version: str, *, than: str | None) -> bool:
    """Resource versions are whole numbers that rise (KEP-5504; before that in practice)."""
    try:
        return bool(than) and int(version) < int(than or 0)
    except ValueError:
        return False
