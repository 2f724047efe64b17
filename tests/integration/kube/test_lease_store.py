"""What a Lease of the cluster holds, and what comes of it when others write to it too.

What every store of the lease's record promises is in `contract/test_lease.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from activator.coordination.kubernetes_lease import FINISHING, KubernetesLeaseStore
from activator.core.election import LeaseRecord, Pace
from activator.errors import StoreUnavailable
from activator.kube.access import Access, own_namespace
from activator.kube.client import KubeClient
from tests.kube_server import KubeServer, kube_server, kubeconfig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.kube_server import Object

NOBODY = LeaseRecord()


class Wall:
    now = 1_800_000_000.25

    def __call__(self) -> float:
        return self.now


class Place:
    """A cluster, and stores of its Lease `models/activator`."""

    def __init__(self, server: KubeServer, config: Path) -> None:
        self.server = server
        self.wall = Wall()
        self.finishing = 0.0
        self.troubles: list[str | None] = []
        self.clients: list[KubeClient] = []
        self._config = config

    def store(self, *, pace: Pace | None = None) -> KubernetesLeaseStore:
        self.clients.append(KubeClient(Access({"KUBECONFIG": str(self._config)})))
        return KubernetesLeaseStore(
            self.clients[-1],
            namespace="models",
            name="activator",
            pace=pace or Pace(),
            finishing=lambda: self.finishing,
            troubled=self.troubles.append,
            wall=self.wall,
        )

    @property
    def lease(self) -> Object:
        return self.server.get("leases", "activator")


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with kube_server() as server, contextlib.AsyncExitStack() as endings:
        made = Place(server, kubeconfig(tmp_path, server.port))
        yield made
        for each in made.clients:
            endings.push_async_callback(each.aclose)


async def test_what_the_object_says(place: Place) -> None:
    store = place.store()
    assert await store.look() == NOBODY

    record, done = await store.acquire("a_1", seen=NOBODY, term=1)

    assert done
    assert (record.holder, record.term) == ("a_1", 1)
    assert place.lease["spec"] == {
        "holderIdentity": "a_1",
        "leaseDurationSeconds": 10,
        "leaseTransitions": 1,
        "acquireTime": "2027-01-15T08:00:00.250000Z",
        "renewTime": "2027-01-15T08:00:00.250000Z",
    }


async def test_a_renewal_moves_it_even_if_the_clock_stands_or_goes_back(place: Place) -> None:
    store = place.store()
    records = [(await store.acquire("a", seen=NOBODY, term=1))[0]]
    for step in (0.0, -10.0, 0.5):
        place.wall.now += step
        record, done = await store.renew("a", term=1)
        assert done
        records.append(record)

    assert len({each.beat for each in records}) == 4
    assert place.lease["spec"]["acquireTime"] == "2027-01-15T08:00:00.250000Z"


async def test_what_others_have_written_on_it_stays_and_costs_nobody_the_lease(
    place: Place,
) -> None:
    store = place.store()
    await store.acquire("a", seen=NOBODY, term=1)

    def label(lease: Object) -> None:
        lease["metadata"]["labels"] = {"team": "ml"}

    place.server.change("leases", "activator", label)
    _, done = await store.renew("a", term=1)

    assert done
    assert place.lease["metadata"]["labels"] == {"team": "ml"}


async def test_of_two_that_have_seen_the_same_one_takes_it(place: Place) -> None:
    one, other = place.store(), place.store()
    seen = await one.look()
    assert await other.look() == seen

    assert (await one.acquire("a", seen=seen, term=1))[1]
    record, done = await other.acquire("b", seen=seen, term=1)

    assert not done
    assert record.holder == "a"


async def test_one_that_was_overtaken_is_told_by_whom(place: Place) -> None:
    one, other = place.store(), place.store()
    await one.acquire("a", seen=NOBODY, term=1)
    await other.acquire("b", seen=await other.look(), term=2)

    record, done = await one.renew("a", term=1)
    await one.give_back("a", term=1)

    assert not done
    assert (record.holder, record.term) == ("b", 2)
    assert place.lease["spec"]["holderIdentity"] == "b"


async def test_one_that_is_given_back_says_how_long_it_has_something_in_flight(
    place: Place,
) -> None:
    store = place.store()
    await store.acquire("a", seen=NOBODY, term=1)
    place.finishing = 610.0

    await store.give_back("a", term=1)

    record = await place.store().look()
    assert (record.holder, record.term, record.finishing) == ("", 1, 610.0)
    taken, _ = await store.acquire("b", seen=record, term=2)
    assert taken.finishing == 0.0
    assert FINISHING not in place.lease["metadata"]["annotations"]


@pytest.mark.parametrize("words", ["soon", "-5", "nan", "inf"])
async def test_what_is_no_number_there_is_nothing(place: Place, words: str) -> None:
    place.server.put(
        "leases", {"metadata": {"name": "activator", "annotations": {FINISHING: words}}}
    )
    assert await place.store().look() == NOBODY


async def test_a_lease_that_was_deleted_is_made_anew(place: Place) -> None:
    store = place.store()
    await store.acquire("a", seen=NOBODY, term=1)
    place.server.delete("leases", "activator")

    assert await store.renew("a", term=1) == (NOBODY, False)
    assert (await store.acquire("a", seen=NOBODY, term=2))[1]


async def test_what_is_not_answered_is_told_and_asked_anew(place: Place) -> None:
    store = place.store()
    await store.acquire("a", seen=NOBODY, term=1)
    place.server.forbidden.add(("update", "leases"))
    with pytest.raises(StoreUnavailable, match=r"models/activator.* cannot update resource"):
        await store.renew("a", term=1)
    place.server.forbidden.clear()
    place.server.is_away = True
    with pytest.raises(StoreUnavailable):
        await store.renew("a", term=1)
    place.server.is_away = False

    assert (await store.renew("a", term=1))[1]
    assert [bool(each) for each in place.troubles] == [False, True, True, False]


async def test_a_cluster_that_is_silent_is_not_waited_for(place: Place) -> None:
    store = place.store(pace=Pace(late=0.1))
    await until_answered(store)
    place.server.stalled = True
    with pytest.raises(StoreUnavailable, match="did not answer in time"):
        await store.look()
    assert place.troubles[-1] == "the cluster did not answer in time"
    place.server.stalled = False
    await until_answered(store)
    assert place.troubles[-1] is None


async def until_answered(store: KubernetesLeaseStore) -> None:
    """Connecting, or a busy machine, may take longer than this store waits."""
    async with asyncio.timeout(5.0):
        while True:
            with contextlib.suppress(StoreUnavailable):
                await store.look()
                return


async def test_the_rights_that_it_takes(place: Place) -> None:
    store = place.store()
    await store.acquire("a", seen=await store.look(), term=1)
    await store.renew("a", term=1)
    await store.give_back("a", term=1)

    asked = {(each.verb, each.resource, each.name) for each in place.server.asked}
    assert asked == {
        ("get", "leases", "activator"),
        ("create", "leases", ""),
        ("update", "leases", "activator"),
    }


def test_a_pod_knows_its_namespace(tmp_path: Path) -> None:
    assert own_namespace(service_account=tmp_path) is None
    (tmp_path / "namespace").write_text("llm\n")
    assert own_namespace(service_account=tmp_path) == "llm"
