"""A ledger cut off at any byte: nothing is lost, no limit is passed, nothing is left behind."""

from __future__ import annotations

from collections import Counter
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

import pytest

from activator.core.dispatch import Ticket
from activator.core.endpoint import Endpoint, Replica, StaticBackend
from tests.faulty_proxy import FaultyProxy
from tests.ledgers import activators, settled
from tests.redis_server import fresh_prefix, shared_server
from tests.support import eventually

if TYPE_CHECKING:
    from activator.coordination.redis_ledger import RedisLedger

A = Replica("a", "127.0.0.1", 8000)
LIMIT = 2


@pytest.mark.parametrize("direction", ["sent", "received"])
async def test_cut_at_any_byte_every_ticket_is_served_within_the_limit(direction: str) -> None:
    model = Endpoint("m", StaticBackend(()), concurrency=LIMIT)
    server, prefix = shared_server(), fresh_prefix()
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(FaultyProxy(server.port))
        url = f"redis://127.0.0.1:{proxy.port}"
        near = await stack.enter_async_context(activators(url, prefix=prefix, names=("x",)))
        far = await stack.enter_async_context(activators(server.url, prefix=prefix, names=("y",)))
        ledgers = [each.ledgers.make(model) for each in (*near, *far)]
        running: Counter[str] = Counter()
        most = served = 0

        def line_up(ledger: RedisLedger) -> None:
            def granted(ticket: Ticket, replica: Replica) -> None:
                nonlocal most, served
                running[replica.id] += 1
                most = max(most, running[replica.id])
                served += 1
                ended.append((ledger, ticket))

            here = ledger.acquire(ticket := Ticket(), granted)
            if here is not None:
                granted(ticket, here)

        def end_all() -> None:
            for ledger, ticket in ended:
                running["a"] -= 1
                ledger.release(ticket)
            ended.clear()

        ended: list[tuple[RedisLedger, Ticket]] = []
        for ledger in ledgers:
            ledger.offer([(A, False)])
        await settled(*ledgers)

        def all_served(count: int) -> bool:
            end_all()
            return served == count

        total = 0
        for cut in range(0, 900, 37):
            for ledger in (*ledgers, *ledgers):
                line_up(ledger)
                total += 1
            proxy.cut_after(**{direction: cut})
            await eventually(partial(all_served, total), within=10.0)
            proxy.cut_after()
        # while one of them is cut off, each keeps to what it has and takes no more than its share:
        # what was in flight when it was cut may overlap with that
        assert most <= 2 * LIMIT
        await eventually(
            lambda: all(each.is_settled and not each.is_alone for each in ledgers), within=10.0
        )
        assert server.ask("HLEN", near[0].link.keys.of("m", "slots", "tickets")) == 0
        busy = server.ask("HGET", near[0].link.keys.of("m", "slots", "state"), "r:a")
        assert busy.split()[0] == b"0"
