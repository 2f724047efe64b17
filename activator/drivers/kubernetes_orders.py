"""Scaling a workload by patches that are taken only if the cluster is as they take it to be.

Nobody locks anything: from zero the patch tests that nothing is asked for, otherwise that the
workload is the one that was looked at. What is refused is looked at again: if only the pods' coming
and going has moved the version, the order still stands.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from activator.core.declarations import EPOCH, REMEMBERED
from activator.core.workloads import read_workload
from activator.drivers.base import DriverError
from activator.kube.client import JSON_PATCH, MERGE_PATCH
from activator.kube.errors import Forbidden, KubeError, Missing, Outdated, Rejected

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.core.workloads import Workload
    from activator.kube.client import KubeClient

TRIES: Final = 5
"""Of one order, while only the version moves: pods that come and go move it some times a second."""


class WorkloadOrders:
    """Of one workload."""

    def __init__(
        self,
        client: KubeClient,
        path: str,
        *,
        what: str,
        changed: Callable[[dict[str, Any]], None],
        note: Callable[[str, str], None],
    ) -> None:
        """`what`: for people. `changed` is given the workload as an answer has it."""
        self._client = client
        self._path = path
        self._what = what
        self._changed = changed
        self._note = note
        self._may_remember = True

    async def scale(
        self, count: int, *, seen: Workload, before: int | None = None, fence: str = ""
    ) -> None:
        """As `drivers.base.Driver.scale` has it; `seen` may be old. Raises DriverError."""
        try:
            for _ in range(TRIES):
                wanted = await self._wanted(seen)
                if fence and fence != seen.fence:
                    raise DriverError(f"{self._what} has been revived, or rescaled, since")
                if before not in (None, wanted) or count == wanted:
                    return
                after = seen if count else await self._remember(wanted, seen)
                if fence and after is not None:
                    fence = after.fence  # it may have changed with what we have just written
                if after and await self._patch_scale(count, wanted=wanted, seen=after):
                    await self._look()
                    return
                refused_at, seen = after.version if after else "", await self._look()
                if seen.version == refused_at:
                    raise DriverError(f"{self._what} cannot have {count} replicas", lasting=True)
        except KubeError as error:
            raise driver_error(error) from error
        raise DriverError(f"{self._what} changes faster than it can be scaled")

    async def bump_epoch(self) -> None:
        """Raises DriverError."""
        try:
            await self._annotate({EPOCH: str(time.time_ns())})
        except KubeError as error:
            raise driver_error(error) from error

    async def _patch_scale(self, count: int, *, wanted: int, seen: Workload) -> bool:
        """False: the cluster is not as the patch takes it to be. At zero a scale has no
        `replicas` at all, and null is what equals nothing: then any version will do."""
        test: dict[str, Any] = {"op": "test", "path": "/spec/replicas", "value": None}
        if wanted:
            test = {"op": "test", "path": "/metadata/resourceVersion", "value": seen.version}
        order = {"op": "add", "path": "/spec/replicas", "value": count}
        try:
            await self._client.patch(f"{self._path}/scale", [test, order], content_type=JSON_PATCH)
        except Outdated:
            return False
        return True

    async def _wanted(self, seen: Workload) -> int:
        if seen.replicas is not None:
            return seen.replicas
        scale = await self._client.get(f"{self._path}/scale")
        return int((scale.get("spec") or {}).get("replicas") or 0)

    async def _remember(self, count: int, seen: Workload) -> Workload | None:
        """For whoever wakes it next. Only if nothing has changed since: of some kinds even an
        annotation moves the generation, and nobody could tell ours from another's change. None:
        something has. Not worth keeping a GPU for: a missing right is only noted."""
        if not self._may_remember or seen.remembered == count:
            return seen
        try:
            return await self._annotate({REMEMBERED: str(count)}, version=seen.version)
        except Outdated:
            return None
        except (Forbidden, Rejected) as error:
            self._may_remember = False
            self._note("count_not_remembered", str(error))
            return seen

    async def _annotate(self, annotations: dict[str, str], *, version: str = "") -> Workload:
        """`version`: only of the workload as it was then."""
        metadata: dict[str, Any] = {"annotations": annotations}
        if version:
            metadata["resourceVersion"] = version
        raw = await self._client.patch(self._path, {"metadata": metadata}, content_type=MERGE_PATCH)
        self._changed(raw)
        return read_workload(raw)

    async def _look(self) -> Workload:
        raw = await self._client.get(self._path)
        self._changed(raw)
        return read_workload(raw)


def driver_error(error: KubeError) -> DriverError:
    return DriverError(str(error), lasting=isinstance(error, Forbidden | Missing | Rejected))
