"""What activators do not share though one process has imported them."""

from __future__ import annotations

import signal

from tests.fork_server import SERVERS
from tests.several import several


async def test_each_throws_its_own_dice() -> None:
    async with several(SERVERS + 1, scale={"min": 1}) as s:
        replies = [await each.get() for each in s.activators]

        assert len({reply.get("x-request-id") for reply in replies}) == SERVERS + 1


async def test_how_each_ends_is_told() -> None:
    async with several(SERVERS + 1) as s:
        stopped, killed, _ = s.activators
        stopped.tell(signal.SIGTERM)
        killed.process.kill()

        assert (await stopped.ended(), await killed.ended()) == (0, -signal.SIGKILL)
