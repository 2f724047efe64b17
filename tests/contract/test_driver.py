"""What every driver must keep, over all of them: `drivers.base.Driver`."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from activator.core.endpoint import DockerBackend, KubernetesBackend, ProcessBackend, StaticBackend
from activator.drivers.base import DriverError, Phase
from activator.drivers.docker import DockerDriver
from activator.drivers.kubernetes import KubernetesDriver
from activator.drivers.process import ProcessDriver
from activator.drivers.static import StaticDriver
from activator.kube.access import Access
from activator.kube.client import KubeClient
from activator.kube.cluster import Cluster
from tests.docker_engine import Program, scripted_engine
from tests.driving import driving
from tests.kube_controllers import running_cluster, workload
from tests.kube_server import kubeconfig
from tests.scripted import ScriptedDriver
from tests.sharing import hall
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from activator.drivers.base import Driver, Snapshot


@dataclass
class Case:
    driver: Driver
    """Its replicas start and run until they are stopped."""
    failing: Driver
    """Its replicas end as soon as they are started."""


@dataclass
class Addresses:
    given: list[str] = field(default_factory=list)
    disposed: list[str] = field(default_factory=list)

    async def give(self, replica_id: str) -> tuple[str, int]:
        self.given.append(replica_id)
        return "127.0.0.1", 20000 + len(self.given)

    async def dispose(self, replica_id: str) -> None:
        self.disposed.append(replica_id)


def process_case() -> Case:
    return Case(
        driver=ProcessDriver("m", ProcessBackend(("sleep", "60"))),
        failing=ProcessDriver("m", ProcessBackend(("false",))),
    )


def scripted_case() -> Case:
    addresses = Addresses()
    failing = ScriptedDriver("m", factory=addresses.give)
    failing.fail_next("exited with code 1", times=100)
    return Case(
        driver=ScriptedDriver("m", factory=addresses.give, dispose=addresses.dispose),
        failing=failing,
    )


@contextlib.asynccontextmanager
async def plain(make: Callable[[], Case]) -> AsyncIterator[Case]:
    yield make()


@contextlib.asynccontextmanager
async def kubernetes_case() -> AsyncIterator[Case]:
    """Over HTTP, against a scripted API server and controllers."""
    async with contextlib.AsyncExitStack() as stack:
        drivers: list[Driver] = []
        for exit_code in (None, 1):
            server, controllers = await stack.enter_async_context(running_cluster())
            controllers.exit_code = exit_code
            server.put("deployments", workload("m"))
            directory = Path(stack.enter_context(TemporaryDirectory()))
            access = Access({"KUBECONFIG": str(kubeconfig(directory, server.port))})
            cluster = Cluster(KubeClient(access))
            stack.push_async_callback(cluster.aclose)
            backend = KubernetesBackend("models", "apps/v1", "Deployment", "m", port="http")
            drivers.append(KubernetesDriver("m", backend, cluster=cluster))
        yield Case(*drivers)


@contextlib.asynccontextmanager
async def docker_case() -> AsyncIterator[Case]:
    """Over a Unix socket, against a scripted engine."""
    with TemporaryDirectory() as directory:
        async with scripted_engine(Path(directory)) as engine:
            engine.programs[("false",)] = Program(exits=1)

            def driver(*command: str) -> DockerDriver:
                backend = DockerBackend(
                    image="model:1", port=80, command=command, engine=engine.address
                )
                return DockerDriver("m", backend)

            yield Case(driver=driver("sleep", "60"), failing=driver("false"))


@contextlib.asynccontextmanager
async def owned_case(*, store: str, by_another: bool) -> AsyncIterator[Case]:
    """`by_another`: the replicas are another activator's, and what is driven only looks on."""
    async with hall(store) as h, contextlib.AsyncExitStack() as stack:

        async def shared(local: Callable[[str], Driver]) -> Driver:
            drivers = [await h.owned("m", local) for _ in range(1 + by_another)]
            if by_another:
                await stack.enter_async_context(driving(drivers[1]))
                return WokenByAnother(*drivers)
            return drivers[0]

        yield Case(driver=await shared(_lasting), failing=await shared(_failing))


def _lasting(series: str) -> ScriptedDriver:
    # others may miss what lasts no longer than it takes to tell them
    return ScriptedDriver(series, factory=Addresses().give, stop_delay=0.05)


def _failing(series: str) -> ScriptedDriver:
    driver = ScriptedDriver(series, factory=Addresses().give)
    driver.fail_next("exited with code 1", times=100)
    return driver


class WokenByAnother:
    """One activator's driver, but for the order that starts from zero: that is another's."""

    def __init__(self, driver: Driver, other: Driver) -> None:
        self._driver = driver
        self._other = other
        self._wakes = True
        self._reports = 0
        self.bump_fence = driver.bump_fence
        self.discard = driver.discard
        self.last_lines = driver.last_lines

    async def run(self, report: Callable[[Snapshot], None]) -> None:
        def see(snapshot: Snapshot) -> None:
            self._wakes = not snapshot.wanted
            self._reports += 1
            report(snapshot)

        try:
            await self._driver.run(see)
        finally:
            self._wakes = False

    async def scale(
        self,
        replicas: int,
        *,
        victims: tuple[str, ...] = (),
        before: int | None = None,
        fence: str = "",
    ) -> None:
        if not self._wakes or replicas <= 0:
            await self._driver.scale(replicas, victims=victims, before=before, fence=fence)
            return
        reports = self._reports
        await self._other.scale(replicas, victims=victims, before=before, fence=fence)
        await eventually(lambda: self._reports > reports)


OURS: dict[str, Callable[[], AbstractAsyncContextManager[Case]]] = {
    "process": partial(plain, process_case),
    "scripted": partial(plain, scripted_case),
    "docker": docker_case,
    "owned-memory": partial(owned_case, store="memory", by_another=False),
    "owned-redis": partial(owned_case, store="redis", by_another=False),
    "another-memory": partial(owned_case, store="memory", by_another=True),
    "another-redis": partial(owned_case, store="redis", by_another=True),
}
"""Their replicas run where the activator puts them, and an end stays an end."""


@pytest.fixture(params=[*OURS, "kubernetes"])
async def case(request: pytest.FixtureRequest) -> AsyncIterator[Case]:
    async with OURS.get(request.param, kubernetes_case)() as made:
        yield made


@pytest.fixture(params=[*OURS])
async def own_case(request: pytest.FixtureRequest) -> AsyncIterator[Case]:
    async with OURS[request.param]() as made:
        yield made


async def test_a_report_comes_at_once_and_the_work_ends_when_cancelled(case: Case) -> None:
    async with driving(case.driver) as driven:
        assert driven.now.wanted == len(driven.now.replicas)
        assert not driven.run.done()

        await driven.end()

        assert driven.run.cancelled()


async def test_static_replicas_are_told_at_once() -> None:
    async with driving(StaticDriver("m", StaticBackend((("127.0.0.1", 1),)))) as driven:
        assert driven.now.wanted == len(driven.now.replicas)
        assert not driven.run.done()

        await driven.end()

        assert driven.run.cancelled()


async def test_replicas_asked_for_are_started_at_addresses_of_their_own(case: Case) -> None:
    async with driving(case.driver) as driven:
        await case.driver.scale(3)
        replicas = await driven.until_started(3)

        assert len({r.id for r in replicas}) == 3
        assert len({(r.host, r.port) for r in replicas}) == 3
        assert driven.now.wanted == 3
        assert all(r.requested_at <= r.since for r in replicas)


async def test_the_same_order_twice_changes_nothing(case: Case) -> None:
    async with driving(case.driver) as driven:
        await case.driver.scale(2)
        before = await driven.until_started(2)

        await case.driver.scale(2, victims=(before[0].id,))
        await case.driver.scale(2)

        assert await driven.until_started(2) == before


async def test_victims_go_first_then_the_youngest(case: Case) -> None:
    async with driving(case.driver) as driven:
        await case.driver.scale(4)
        first, second, third, _ = [r.id for r in await driven.until_started(4)]

        await case.driver.scale(2, victims=(second, "unknown"))

        await driven.until(lambda s: [r.id for r in s.replicas] == [first, third])
        assert driven.now.wanted == 2


async def test_a_replica_is_never_started_again_under_the_same_id(case: Case) -> None:
    async with driving(case.driver) as driven:
        await case.driver.scale(1)
        [before] = await driven.until_started(1)
        await case.driver.scale(0)
        await driven.until_empty()

        await case.driver.scale(1)

        [after] = await driven.until_started(1)
        assert after.id != before.id
        assert driven.now.exits == ()


async def test_what_is_being_stopped_is_not_wanted_and_gets_nothing_new(case: Case) -> None:
    async with driving(case.driver) as driven:
        await case.driver.scale(1)
        await driven.until_started(1)

        await case.driver.scale(0)
        await driven.until_empty()

    stopping = [s for s in driven.seen if any(r.phase is Phase.STOPPING for r in s.replicas)]
    assert stopping
    assert all(s.wanted == 0 for s in stopping)


async def test_a_stop_and_a_start_never_overlap(own_case: Case) -> None:
    async with driving(own_case.driver) as driven:
        await own_case.driver.scale(1)
        [before] = await driven.until_started(1)
        await own_case.driver.scale(0)
        await own_case.driver.scale(1)
        await driven.until(lambda s: _started(s) and before.id not in _started(s))

    for snapshot in driven.seen:
        assert len([r for r in snapshot.replicas if r.phase is not Phase.REQUESTED]) <= 1


async def test_an_unasked_end_lowers_what_is_wanted_and_is_told_with_its_cause(
    own_case: Case,
) -> None:
    async with driving(own_case.failing) as driven:
        await own_case.failing.scale(1)
        exit_ = await driven.until_exit()

        assert exit_.id
        assert "exited with code 1" in exit_.cause.message
        assert driven.now.wanted == 0
        assert driven.now.replicas == ()


async def test_an_unasked_end_is_told_with_its_cause(case: Case) -> None:
    async with driving(case.failing) as driven:
        await case.failing.scale(1)
        await driven.until(lambda s: s.exits)

        assert driven.now.exits[0].id
        assert "exited with code 1" in driven.now.exits[0].cause.message


async def test_the_ends_that_are_told_are_bounded(own_case: Case) -> None:
    async with driving(own_case.failing) as driven:
        ended: list[str] = []
        for _ in range(10):
            await own_case.failing.scale(1)
            await driven.until(partial(_has_told_another_exit, tuple(ended)))
            await driven.until_empty()
            ended.append(driven.now.exits[-1].id)

        assert [e.id for e in driven.now.exits] == ended[-8:]


async def test_orders_that_make_no_sense_or_come_too_late_are_refused(case: Case) -> None:
    async with driving(case.driver):
        with pytest.raises(DriverError, match="-1"):
            await case.driver.scale(-1)

    with pytest.raises(DriverError):
        await case.driver.scale(1)


async def test_an_order_with_the_fence_of_a_snapshot_is_taken(case: Case) -> None:
    async with driving(case.driver) as driven:
        await case.driver.scale(1)
        [replica] = await driven.until_started(1)

        await case.driver.scale(0, victims=(replica.id,), fence=driven.now.fence)

        await driven.until_empty()


async def test_an_order_that_was_prepared_before_a_revival_is_refused(case: Case) -> None:
    async with driving(case.driver) as driven:
        await case.driver.scale(1)
        [replica] = await driven.until_started(1)
        prepared = driven.now.fence

        await case.driver.bump_fence()

        assert driven.now.fence != prepared
        with pytest.raises(DriverError, match="revived"):
            await case.driver.scale(0, victims=(replica.id,), fence=prepared)
        assert [r.id for r in await driven.until_started(1)] == [replica.id]
        await case.driver.scale(0, fence=driven.now.fence)


async def test_an_order_that_goes_by_a_count_is_void_once_there_is_another(case: Case) -> None:
    async with driving(case.driver) as driven:
        await case.driver.scale(3, before=0)
        replicas = await driven.until_started(3)

        await case.driver.scale(2, before=1)
        await case.driver.scale(5, before=0)

        assert await driven.until_started(3) == replicas
        await case.driver.scale(4, before=3)
        assert driven.now.wanted == 4


async def test_what_was_reported_is_no_older_than_an_order_that_has_been_taken(case: Case) -> None:
    async with driving(case.driver) as driven:
        await case.driver.scale(2)
        assert driven.now.wanted == 2
        replicas = await driven.until_started(2)

        await case.driver.scale(1, victims=(replicas[0].id,), fence=driven.now.fence)

        assert driven.now.wanted == 1


async def test_an_order_that_was_prepared_before_another_is_refused(case: Case) -> None:
    async with driving(case.driver) as driven:
        await case.driver.scale(2)
        replicas = await driven.until_started(2)
        prepared = driven.now.fence
        await case.driver.scale(3)

        with pytest.raises(DriverError):
            await case.driver.scale(1, victims=(replicas[0].id,), fence=prepared)

        assert driven.now.wanted == 3


def _has_told_another_exit(known: tuple[str, ...], snapshot: Snapshot) -> bool:
    return bool(snapshot.exits) and snapshot.exits[-1].id not in known


def _started(snapshot: Snapshot) -> list[str]:
    return [r.id for r in snapshot.replicas if r.phase is Phase.STARTED]
