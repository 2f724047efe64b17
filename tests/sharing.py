"""What several activators of one test share: a store in memory, or a real Redis.

async with hall(kind) as h:
    one, other = await h.roster(), await h.roster()
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from activator.coordination.base import Outcome, Share
from activator.coordination.board import SharedBoard
from activator.coordination.deeds import SharedDeeds
from activator.coordination.kubernetes_lease import KubernetesLeaseStore
from activator.coordination.lease import SharedLease
from activator.coordination.redis_board import RedisBoardStore
from activator.coordination.redis_deeds import RedisDeedStore
from activator.coordination.redis_lease import RedisLeaseStore
from activator.coordination.redis_roster import RedisRosterStore
from activator.coordination.redis_wishes import RedisWishStore
from activator.coordination.roster import SharedRoster
from activator.coordination.shared_memory import SharedMemory
from activator.coordination.wishes import SharedWishes
from activator.core.election import Pace
from activator.drivers.owned import OwnedDriver
from activator.kube.access import Access
from activator.kube.client import KubeClient
from activator.redisio.link import Link
from tests.kube_server import kube_server, kubeconfig
from tests.redis_server import fresh_prefix, shared_server
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from activator.coordination.board import BoardStore
    from activator.coordination.lease import LeaseStore
    from activator.coordination.wishes import WishStore
    from activator.drivers.base import Driver

BEAT = 0.05
SILENCE = 0.3
PACE = Pace(lapse=0.6, hold=0.4, renew=0.1, look=0.05)
KINDS = [pytest.param("memory", id="memory"), pytest.param("redis", id="redis")]
LEASE_KINDS = [*KINDS, pytest.param("kubernetes", id="kubernetes")]


def nobody_knows(_record: Mapping[str, object]) -> bool:
    """Activators of one test share a process: none of them is ever seen to end."""
    return False


@asynccontextmanager
async def opened(url: str, prefix: str) -> AsyncIterator[Link]:
    link = Link(url, prefix=prefix, timeout=2.0)
    await link.open()
    try:
        yield link
    finally:
        await link.aclose()


class Hall:
    """Made by `hall`; whatever it opened is closed with it."""

    def __init__(self, kind: str, endings: AsyncExitStack, *, url: str, prefix: str) -> None:
        self.memory = None if kind == "redis" else SharedMemory()
        self.cluster: Path | None = None
        """A kubeconfig, where the lease is in a cluster."""
        self.url = url
        self.prefix = prefix
        self._endings = endings

    async def link(self) -> Link:
        """One activator's own, with Redis."""
        return await self._endings.enter_async_context(opened(self.url, self.prefix))

    async def roster(
        self, *, ended: Callable[[Mapping[str, object]], bool] = nobody_knows
    ) -> SharedRoster:
        store = self.memory or RedisRosterStore(await self.link())
        roster = SharedRoster(store, beat=BEAT, silence=SILENCE, ended=ended)
        await roster.open()
        self._endings.push_async_callback(roster.aclose)
        return roster

    async def board(
        self, roster: SharedRoster, *, overruled: Callable[[str, str], None] = lambda *_: None
    ) -> SharedBoard:
        """Of an activator that leads, if anybody asks."""
        if self.memory:
            store: BoardStore = self.memory.board
        else:
            link = await self.link()
            store = RedisBoardStore(link)
        loop = asyncio.get_running_loop()
        board = SharedBoard(
            store, roster, term=lambda: 1, overruled=overruled, call_later=loop.call_later
        )
        self._endings.push_async_callback(board.aclose)
        if not self.memory:
            await eventually(lambda: link._hub.hears(link.keys.shared("board")))
        return board

    async def deeds(
        self,
        roster: SharedRoster,
        *,
        ended: Callable[[Mapping[str, object]], bool] = nobody_knows,
        where: Mapping[str, object] | None = None,
    ) -> SharedDeeds:
        store = self.memory.deeds if self.memory else RedisDeedStore(await self.link())
        deeds = SharedDeeds(store, roster, pace=PACE, look=BEAT, ended=ended, where=where)
        deeds.open()
        self._endings.push_async_callback(deeds.aclose)
        return deeds

    async def owned(
        self,
        name: str,
        make: Callable[[str], Driver],
        *,
        deeds: SharedDeeds | None = None,
        in_flight: Callable[[str], int] = lambda _: 0,
        patience: float = 0.0,
        lasting: bool = False,
    ) -> OwnedDriver:
        """One activator's driver of an endpoint; `make` is told what ids begin with."""
        deeds = deeds or await self.deeds(await self.roster())
        return OwnedDriver(
            name,
            deeds.of(name),
            make=lambda term: make(f"{name}-{term}"),
            in_flight=in_flight,
            patience=lambda: patience,
            lasting=lasting,
        )

    async def lease(self, roster: SharedRoster) -> SharedLease:
        store: LeaseStore
        if self.cluster is not None:
            store = self.lease_store(self.cluster)
        else:
            store = self.memory or RedisLeaseStore(await self.link())
        lease = SharedLease(store, roster, pace=PACE)
        lease.open()
        self._endings.push_async_callback(lease.aclose)
        return lease

    def lease_store(self, kubeconfig: Path) -> KubernetesLeaseStore:
        client = KubeClient(Access({"KUBECONFIG": str(kubeconfig)}))
        self._endings.push_async_callback(client.aclose)
        return KubernetesLeaseStore(client, namespace="models", name="activator", pace=PACE)

    async def wishes(self, me: str, *, leading: bool = False) -> SharedWishes:
        if self.memory:
            store: WishStore = self.memory.wishes
        else:
            link = await self.link()
            store = RedisWishStore(link)
        wishes = SharedWishes(store, me, leading=lambda: leading)
        await wishes.open()
        self._endings.push_async_callback(wishes.aclose)
        if not self.memory:
            await eventually(lambda: link._hub.hears(link.keys.shared("wishes")))
        return wishes

    async def forget_drains(self, endpoint: str) -> None:
        """The store loses what it has kept of them."""
        if self.memory:
            self.memory.board.drains.clear()
        else:
            link = await self.link()
            await link.command("DEL", link.keys.of(endpoint, "drain"))

    async def forget_wishes(self) -> None:
        """The store loses what it has kept of them."""
        if self.memory:
            self.memory.wishes.kept.clear()
        else:
            link = await self.link()
            await link.command("DEL", link.keys.shared("wishes"))


@asynccontextmanager
async def hall(kind: str, *, url: str = "") -> AsyncIterator[Hall]:
    async with AsyncExitStack() as endings:
        redis = kind == "redis"
        url = url or (shared_server().url if redis else "")
        made = Hall(kind, endings, url=url, prefix=fresh_prefix() if redis else "")
        if kind == "kubernetes":
            server = await endings.enter_async_context(kube_server())
            folder = Path(endings.enter_context(TemporaryDirectory()))
            made.cluster = kubeconfig(folder, server.port)
        yield made


async def kill(part: SharedRoster | SharedLease) -> None:
    """It stops where it stands, and says nothing."""
    await part._tasks.aclose()


@dataclass
class Activator:
    """One member of a board: quiet only if it has nothing."""

    demand: int = 0
    last_ended: float = float("-inf")
    holds_back: bool = False
    patience: float = 3600.0
    withheld: frozenset[str] = frozenset()
    loads: dict[str, int] = field(default_factory=dict)
    held: int = 0
    revivals: int = 0
    """Orders that were prepared before are void."""
    can_mark: bool = True
    asked_to_mark: int = 0
    changes: int = 0

    def follow(self, stirred: Callable[[], None]) -> None:
        self.stirred = stirred

    @property
    def is_at_rest(self) -> bool:
        return not self.demand

    @property
    def share(self) -> Share:
        return Share(self.demand, self.held, 10 * self.held, self.loads)

    def quiesce(self, replicas: Sequence[str] | None = None) -> bool:
        if replicas is None:
            self.holds_back = not self.demand
            return self.holds_back
        if any(self.loads.get(each) for each in replicas):
            return False
        self.withheld |= frozenset(replicas)
        return True

    def revive(self) -> None:
        self.holds_back, self.withheld = False, frozenset()

    async def mark_revived(self) -> bool:
        self.asked_to_mark += 1
        self.revivals += self.can_mark
        return self.can_mark

    def changed(self) -> None:
        self.changes += 1

    def arrive(self, count: int = 1) -> None:
        """Requests come."""
        self.demand += count
        self.stirred()


@dataclass
class Obedient:
    """One activator's side of an endpoint: does what it is told, and remembers it."""

    outcome: Outcome = field(default_factory=lambda: Outcome(done=True))
    told: list[str] = field(default_factory=list)

    def pause(self) -> None:
        self.told.append("pause")

    def resume(self) -> None:
        self.told.append("resume")

    def touch(self) -> None:
        self.told.append("touch")

    def stay_down(self) -> None:
        self.told.append("stay down")

    async def deactivate(self, *, force: bool) -> Outcome:
        self.told.append("force" if force else "deactivate")
        return self.outcome
