"""What activators share of an endpoint is freed as soon as it is gone: where there are thousands,
the collector looks seldom, and never at what was there for long."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import ref

import pytest

from activator.core.dispatch import Ticket
from tests.integration.coordination.house import A, endpoint, house
from tests.ledgers import settled
from tests.scripted import ScriptedDriver
from tests.sharing import KINDS, hall
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from activator.drivers.base import Snapshot


@pytest.fixture(autouse=True)
def _nothing_is_collected() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def left(parts: list[ref[Any]]) -> list[str]:
    return [type(it).__name__ for part in parts if (it := part()) is not None]


@pytest.mark.parametrize("limit", [0, 1, 16])
@pytest.mark.parametrize("is_alone", [False, True])
async def test_a_ledger_that_is_closed(limit: int, *, is_alone: bool) -> None:
    async with house("x", model=endpoint()) as h:
        ledger = h.activators[0].ledgers.make(replace(endpoint(concurrency=limit), name="goes"))
        ledger.offer([(A, False)])
        await settled(ledger)
        tickets = [Ticket(), Ticket()]
        for ticket in tickets:
            ledger.acquire(ticket, lambda _ticket, _replica: None)
        await settled(ledger)
        if is_alone:
            ledger.carry_on_alone()
        for ticket in tickets:
            ledger.release(ticket)
        await settled(ledger)
        ledger.close()
        await settled(ledger)
        parts: list[ref[Any]] = [ref(ledger), ref(ledger._talk)]
        del ledger

        await eventually(lambda: not left(parts))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("owns", [False, True])
async def test_a_driver_that_has_ended_and_its_deed(kind: str, *, owns: bool) -> None:
    async def address(_id: str) -> tuple[str, int]:
        return "127.0.0.1", 20000

    async with hall(kind) as h:
        deeds = await h.deeds(await h.roster())
        driver = await h.owned(
            "m", lambda series: ScriptedDriver(series, factory=address), deeds=deeds
        )
        shown: list[Snapshot] = []
        running = asyncio.ensure_future(driver.run(shown.append))  # noqa: TID251 - as an observer
        await eventually(lambda: shown)
        if owns:
            await driver.scale(1)
            await eventually(lambda: shown[-1].replicas)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        parts: list[ref[Any]] = [ref(driver), ref(driver._title)]
        if owns:
            parts += [ref(driver._tenure), ref(driver._telling)]
        del driver, running

        await eventually(lambda: not left(parts))
