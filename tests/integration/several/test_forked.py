"""What activators do not share though one process has imported them."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.fork_server import SERVERS
from tests.redis_server import wait_until
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


async def test_one_that_has_just_ended_can_be_told_to_end() -> None:
    """Before its end has been read."""
    async with several(1) as s:
        (one,) = s.activators
        one.process.kill()
        wait_until(lambda: not Path(f"/proc/{one.pid}").exists())

        one.process.kill()

        assert await one.ended() == -signal.SIGKILL
