"""`python -m bench.cluster`: what `bench.benchmarks.cluster` measures, in a process of its own.

It moves into a network of its own, starts the control plane of the end-to-end tests there, and
says as JSON what it has measured. All times are seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvloop

from bench.processes import Memory, cpu_seconds
from bench.waiting_path import RULES, WaitingPath
from tests.e2e import audit, model_client, network
from tests.e2e.api import Api
from tests.e2e.control_plane import ControlPlane
from tests.e2e.fleet import endpoint, fleet
from tests.e2e.manifests import PORT, deployment, service
from tests.e2e.missing import Missing
from tests.e2e.space import Space, wants

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.e2e.api import Json

OURS: Final = "activator"
OTHER: Final = "waits for Ready"
READINESS: Final[Json] = {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 10}
"""Kubelet's default period."""
PATIENCE: Final = 90.0
AT_ONCE: Final = 10
"""Deployments that are made at the same time."""
APART: Final = 3.0
"""Seconds between two starts at most: each is to be measured, not the crowd."""
SETTLED: Final = 5.0
"""Seconds for an activator to have seen everything, before its idle time is counted."""


@dataclass(frozen=True, slots=True)
class Start:
    """One cold start."""

    to_patch: float
    """From the request to the API server's getting the patch of the scale."""
    to_first: float
    """From the moment at which the model listens to the request that reaches it."""


@dataclass(frozen=True, slots=True)
class Idle:
    """One activator in front of endpoints at zero."""

    endpoints: int
    rss: int
    pss: int
    cores: float


class Starts:
    """Deployments side by side, each started again and again."""

    def __init__(self, space: Space, log: Path, *, options: argparse.Namespace) -> None:
        self._space = space
        self._log = log
        self._rounds: int = options.rounds
        self._ours = [f"ours-{lane}" for lane in range(options.lanes)]
        self._others = [f"other-{lane}" for lane in range(options.lanes)]
        low, high = options.load_seconds
        self._command = [
            *(sys.executable, "-S", "-m", "bench.recorder", "--host", "0.0.0.0"),
            *("--port", str(PORT), "--load-seconds", str(low), str(high)),
        ]

    async def run(self) -> dict[str, list[Start]]:
        ours, others = self._ours, self._others
        for name in (*ours, *others):
            made = deployment(name=name, gpus=0, command=self._command, readiness=READINESS)
            await self._space.apply(made, service(name=name))
        brief = {"idleTimeout": "500ms"}
        endpoints = [endpoint(self._space.name, name=name, scale=brief) for name in ours]
        access = await self._space.account("waiting", rules=RULES)
        async with fleet(self._space, endpoints=endpoints) as activators, Api(access) as api:
            waiting = WaitingPath(api, self._space.name)

            async def by_activator(name: str, target: str) -> None:
                reply = await activators[0].get(target, within=PATIENCE)
                assert reply.status == 200, reply

            async def by_waiting(name: str, target: str) -> None:
                await waiting.get(name, target, port=PORT)

            async with asyncio.TaskGroup() as running:
                taken = {
                    OURS: [running.create_task(self._lane(each, by_activator)) for each in ours],
                    OTHER: [running.create_task(self._lane(each, by_waiting)) for each in others],
                }
        return {
            path: [start for lane in lanes for start in lane.result()]
            for path, lanes in taken.items()
        }

    async def _lane(self, name: str, ask: Callable[[str, str], Awaitable[None]]) -> list[Start]:
        return [await self._start(name, ask) for _ in range(self._rounds)]

    async def _start(self, name: str, ask: Callable[[str, str], Awaitable[None]]) -> Start:
        await asyncio.sleep(random.uniform(0, APART))
        sent = time.time()
        await ask(name, f"/{name}/first")
        pod = await self._space.until_pod(lambda it: it["metadata"]["labels"]["app"] == name)
        journal = json.loads(await model_client.ask(pod, "/journal"))
        patches = audit.rescalings(self._log, namespace=self._space.name, name=name)
        patched = min(each.at for each in patches if each.at >= sent)
        if name in self._others:  # the activator sees to that by itself
            await self._space.scale(name, 0)
        await self._at_zero(name)
        return Start(
            to_patch=patched - sent, to_first=journal["arrivals"][0][0] - journal["listening_at"]
        )

    async def _at_zero(self, name: str) -> None:
        await self._space.until("Deployment", name, wants(0), within=PATIENCE)
        await self._space.until_pods(
            lambda them: all(it["metadata"]["labels"]["app"] != name for it in them),
            within=PATIENCE,
        )


async def _idle(space: Space, *, count: int, seconds: float) -> Idle:
    names = [f"model-{number}" for number in range(count)]
    for at in range(0, count, AT_ONCE):
        made = (space.apply(deployment(name=name)) for name in names[at : at + AT_ONCE])
        await asyncio.gather(*made)
    async with asyncio.timeout(PATIENCE):  # the controllers are busy with them for a while
        while len(await space.api.list("ReplicaSet", space.name)) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.5)
    endpoints = [endpoint(space.name, name=name) for name in names]
    async with fleet(space, endpoints=endpoints) as activators:
        activator = activators[0]
        await asyncio.sleep(SETTLED)
        told = (await activator.ask_admin("/api/endpoints")).json()["endpoints"]
        assert [each["state"] for each in told] == ["inactive"] * count
        used, began = cpu_seconds(activator.pid), time.monotonic()
        await asyncio.sleep(seconds)
        cores = (cpu_seconds(activator.pid) - used) / (time.monotonic() - began)
        memory = Memory([activator.pid])
    return Idle(count, rss=memory.rss, pss=memory.pss, cores=cores)


async def _measure(plane: ControlPlane, options: argparse.Namespace) -> dict[str, object]:
    async with Api(plane.admin) as api:
        quiet, busy = Space(api, "quiet"), Space(api, "busy")
        for space in (quiet, busy):
            await space.open()
        idle = await _idle(quiet, count=options.endpoints, seconds=options.idle_seconds)
        starts = await Starts(busy, plane.audit_log, options=options).run()
    told = {path: [asdict(each) for each in taken] for path, taken in starts.items()}
    return {"idle": asdict(idle), "starts": told}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.cluster", description=__doc__)
    parser.add_argument("--lanes", type=int, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--load-seconds", type=float, nargs=2, required=True)
    parser.add_argument("--endpoints", type=int, required=True)
    parser.add_argument("--idle-seconds", type=float, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-cluster-") as folder:
        try:
            plane = ControlPlane(Path(folder))
            network.enter()
        except Missing as lack:
            print(f"no cluster can be started, because {lack}", file=sys.stderr)
            return 1
        try:
            plane.start()
            print(json.dumps(uvloop.run(_measure(plane, options))))
        finally:
            plane.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
