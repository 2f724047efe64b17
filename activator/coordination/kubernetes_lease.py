"""The lease's record as a Lease of the cluster (`coordination.k8s.io/v1`), for activators that
share no other store.

Every change is conditional on the object being the one that was read. Its times are for people, and
to see that it has moved: nobody compares another's clock with its own. Fields mean what they mean
to client-go's leader election; its giving back is not called out, and is seen at the next look.
"""

from __future__ import annotations

import asyncio
import math
import time
from copy import deepcopy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from activator.core.election import LeaseRecord
from activator.errors import StoreUnavailable
from activator.kube.cluster import LEASES
from activator.kube.errors import KubeError, Missing, Outdated

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from activator.core.election import Pace
    from activator.kube.client import KubeClient

T = TypeVar("T")

FINISHING: Final = "activator.dev/finishing"
"""Seconds that the one who gave the lease back may need for what it had in flight."""
TRIES: Final = 2
"""Of one renewal: somebody else may have written to the object."""
_STAMP: Final = "%Y-%m-%dT%H:%M:%S.%fZ"


class KubernetesLeaseStore:
    """Implements `lease.LeaseStore`."""

    def __init__(
        self,
        client: KubeClient,
        *,
        namespace: str,
        name: str,
        pace: Pace,
        finishing: Callable[[], float] = lambda: 0.0,
        troubled: Callable[[str | None], None] = lambda why: None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`finishing`: asked when it is given back; 0: nothing is in flight. `troubled`: the
        cluster cannot be asked, and why; or (None) can be again."""
        self._client = client
        self._name = name
        self._namespace = namespace
        self._path = LEASES.path(namespace, name)
        self._lapse = max(1, math.ceil(pace.lapse))
        # between a renewal and the end of leading two must go unanswered, or it is not known which
        # of the two it was: that the cluster answers nobody, or that this process stood still
        self._patience = 1.5 * pace.late
        self._finishing = finishing
        self._troubled = troubled
        self._wall = wall
        self._raw: dict[str, Any] | None = None
        """As last read; None: there is none."""
        self._is_read = False
        self._stamped = 0.0

    def __str__(self) -> str:
        return f"{self._namespace}/{self._name}"

    async def look(self) -> LeaseRecord:
        return await self._asked(self._read())

    async def acquire(self, act: str, *, seen: LeaseRecord, term: int) -> tuple[LeaseRecord, bool]:
        return await self._asked(self._acquire(act, seen=seen, term=term))

    async def renew(self, act: str, *, term: int) -> tuple[LeaseRecord, bool]:
        return await self._asked(self._renew(act, term=term))

    async def give_back(self, act: str, *, term: int) -> None:
        await self._asked(self._give_back(act, term=term))

    def listen(self, given_back: Callable[[], None]) -> None:
        """Nobody calls it out: a look a second costs the cluster less than a watch for each."""

    # --- asking

    async def _asked(self, question: Coroutine[Any, Any, T]) -> T:
        try:
            async with asyncio.timeout(self._patience):
                answer = await question
        except TimeoutError:
            self._is_read = False
            why = "the cluster did not answer in time"
        except KubeError as error:
            self._is_read = False
            why = str(error)
        else:
            self._troubled(None)
            return answer
        self._troubled(why)
        raise StoreUnavailable(f"lease {self}: {why}")

    async def _acquire(self, act: str, *, seen: LeaseRecord, term: int) -> tuple[LeaseRecord, bool]:
        if not self._is_read:
            await self._read()
        if self._record != seen:
            return self._record, False
        now = self._stamp()
        spec = {
            "holderIdentity": act,
            "leaseDurationSeconds": self._lapse,
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": term,
        }
        return await self._written(spec)

    async def _renew(self, act: str, *, term: int) -> tuple[LeaseRecord, bool]:
        for _ in range(TRIES):
            if not self._is_read:
                await self._read()
            if not self._is_held_by(act, term):
                break
            record, done = await self._written({"renewTime": self._stamp()})
            if done:
                return record, True
        return self._record, False

    async def _give_back(self, act: str, *, term: int) -> None:
        finishing = self._finishing()
        for _ in range(TRIES):
            if not self._is_read:
                await self._read()
            if not self._is_held_by(act, term):
                return
            spec = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._stamp()}
            _, done = await self._written(spec, finishing=finishing)
            if done:
                return

    async def _read(self) -> LeaseRecord:
        try:
            self._raw = await self._client.get(self._path)
        except Missing:
            self._raw = None
        self._is_read = True
        return self._record

    async def _written(
        self, spec: dict[str, Any], *, finishing: float = 0.0
    ) -> tuple[LeaseRecord, bool]:
        """The object as it was read, but for this. False: it is another by now."""
        raw = deepcopy(self._raw) or {
            "apiVersion": LEASES.group_version,
            "kind": LEASES.kind,
            "metadata": {"name": self._name, "namespace": self._namespace},
        }
        raw["spec"] = {**(raw.get("spec") or {}), **spec}
        annotations = raw["metadata"].setdefault("annotations", {})
        annotations.pop(FINISHING, None)
        if finishing:
            annotations[FINISHING] = f"{finishing:.0f}"
        try:
            if self._raw is None:
                self._raw = await self._client.post(LEASES.path(self._namespace), raw)
            else:
                self._raw = await self._client.put(self._path, raw)
        except (Outdated, Missing):
            return await self._read(), False
        return self._record, True

    # --- the record

    def _is_held_by(self, act: str, term: int) -> bool:
        record = self._record
        return (record.holder, record.term) == (act, term)

    @property
    def _record(self) -> LeaseRecord:
        if self._raw is None:
            return LeaseRecord()
        spec = self._raw.get("spec") or {}
        annotations = self._raw["metadata"].get("annotations") or {}
        return LeaseRecord(
            holder=spec.get("holderIdentity") or "",
            term=int(spec.get("leaseTransitions") or 0),
            beat=_beat(spec.get("renewTime") or ""),
            finishing=_seconds(annotations.get(FINISHING) or ""),
        )

    def _stamp(self) -> str:
        """Now, and not when it was stamped last, whatever the clock says."""
        self._stamped = max(self._wall(), self._stamped + 1e-5)
        return datetime.fromtimestamp(self._stamped, UTC).strftime(_STAMP)


def _beat(renewed: str) -> int:
    """A number that is another whenever the time is."""
    try:
        at = datetime.fromisoformat(renewed)
    except ValueError:
        return 0
    return int(at.timestamp() * 1e6)


def _seconds(text: str) -> float:
    """What somebody else has written there is nothing."""
    try:
        seconds = float(text)
    except ValueError:
        return 0.0
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0
