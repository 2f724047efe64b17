"""What several activators have of one endpoint's slots, over a real Redis; see `house`."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from activator.control.member import EndpointMember
from activator.core.dispatch import Ticket
from activator.core.endpoint import Endpoint, QueuePolicy, Replica, StaticBackend
from activator.upstream.gate import Gate
from tests.ledgers import activators, settled
from tests.redis_server import fresh_prefix, shared_server
from tests.scripted import ScriptedDriver
from tests.support import eventually
from tests.unit.upstream.support import live_endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from activator.coordination.redis_ledger import RedisLedger
    from tests.ledgers import Activator
    from tests.redis_server import RedisServer

A = Replica("a", "127.0.0.1", 8000)
B = Replica("b", "127.0.0.1", 8001)


def endpoint(*, concurrency: int = 1, age: float = 30.0) -> Endpoint:
    return Endpoint("m", StaticBackend(()), concurrency=concurrency, queue=QueuePolicy(age=age))


@dataclass
class House:
    """What several activators have of one endpoint; remembers every grant in order."""

    activators: Sequence[Activator]
    ledgers: Sequence[RedisLedger]
    server: RedisServer
    prefix: str
    granted: list[tuple[int, Ticket]] = field(default_factory=list)
    running: Counter[str] = field(default_factory=Counter)
    """Replica → in flight there."""
    most: Counter[str] = field(default_factory=Counter)

    def line_up(self, who: int, ticket: Ticket | None = None) -> Ticket:
        ticket = ticket or Ticket()
        here = self.ledgers[who].acquire(ticket, lambda t, r: self._got(who, t, r))
        if here is not None:
            self._got(who, ticket, here)
        return ticket

    def end(self, who: int, ticket: Ticket) -> None:
        assert ticket.replica is not None
        self.running[ticket.replica.id] -= 1
        self.ledgers[who].release(ticket)

    def _got(self, who: int, ticket: Ticket, replica: Replica) -> None:
        self.granted.append((who, ticket))
        self.running[replica.id] += 1
        self.most[replica.id] = max(self.most[replica.id], self.running[replica.id])

    async def grants(self, count: int, *, within: float = 5.0) -> list[Ticket]:
        await eventually(lambda: len(self.granted) >= count, within=within)
        await settled(*self.ledgers)
        assert len(self.granted) == count
        return [ticket for _, ticket in self.granted]

    def calls(self) -> int:
        """Scripts that Redis has run."""
        return self.commands("evalsha")

    def commands(self, name: str) -> int:
        """How often Redis has carried this one out, within scripts too."""
        stats = self.server.ask("INFO", "commandstats").decode()
        lines = [line for line in stats.splitlines() if line.startswith(f"cmdstat_{name}:")]
        return int(lines[0].split("calls=")[1].split(",")[0]) if lines else 0


@asynccontextmanager
async def house(
    *names: str,
    model: Endpoint,
    server: RedisServer | None = None,
    replicas: Sequence[tuple[Replica, bool]] = ((A, False),),
    timeout: float = 2.0,
) -> AsyncIterator[House]:
    where, prefix = server or shared_server(), fresh_prefix()
    async with activators(where.url, prefix=prefix, names=names, timeout=timeout) as made:
        ledgers = [each.ledgers.make(model) for each in made]
        for ledger in ledgers:
            ledger.offer(replicas)
        await settled(*ledgers)
        yield House(made, ledgers, where, prefix)


def member_with(ledger: RedisLedger) -> EndpointMember:
    """As it speaks for an activator that has this ledger."""
    live = live_endpoint()
    live.gate = Gate(ledger.endpoint, ledger, clock=asyncio.get_running_loop().time)
    driver = ScriptedDriver("m", factory=nothing_is_started)
    return EndpointMember(live, driver, offer=lambda: None, wake=lambda: None)


async def nothing_is_started(replica_id: str) -> tuple[str, int]:
    raise AssertionError(replica_id)
