"""What one activator says, every other one tells, and whoever comes after them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.rawclient import RawClient
from tests.several import several
from tests.stage import request

if TYPE_CHECKING:
    from tests.several import Activator


async def told(by: Activator, *, since: int = 0) -> list[dict[str, Any]]:
    client = await RawClient.connect("127.0.0.1", by.admin)
    try:
        wanted = {"Accept": "application/json"}
        host = f"127.0.0.1:{by.admin}"
        client.send(request(f"/api/events?since={since}", headers=wanted, host=host))
        events: list[dict[str, Any]] = (await client.reply()).json()["events"]
        return events
    finally:
        await client.close()


async def test_events_of_all_are_told_by_each_and_by_whoever_comes_after_them() -> None:
    async with several(2) as s:
        one, other = s.activators
        assert (await one.get("/")).status == 200
        await one.until_logged("activated")
        await other.until_logged("activated")

        async def agree() -> bool:
            mine, yours = await told(one), await told(other)
            by = {each["activator"] for each in mine if each["endpoint"]}
            return mine == yours and len(by) == 2

        async with asyncio.timeout(10.0):
            while not await agree():
                await asyncio.sleep(0.05)
        events = await told(one)
        assert [each["id"] for each in events] == sorted({each["id"] for each in events})
        assert len({(each["activator"], each["action"], each["at"]) for each in events}) == len(
            events
        )

        actions = [each["action"] for each in events]
        assert [actions.count(seen) for seen in ("replica_ready", "activated")] == [1, 1]

        for each in (one, other):
            each.process.kill()
        (later,) = await s.start(1)
        last = events[-1]["id"]
        assert [each for each in await told(later) if each["id"] <= last] == events
        assert not [each for each in await told(later, since=last) if each in events]
