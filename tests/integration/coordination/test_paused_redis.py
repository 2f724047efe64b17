"""A Redis that stands still frees nobody and makes nobody lead; its clients are not to blame."""

from __future__ import annotations

import asyncio

from tests.redis_server import redis_server
from tests.sharing import BEAT, PACE, SILENCE, hall
from tests.support import eventually


async def test_nobody_is_silent_because_redis_was_paused() -> None:
    with redis_server() as server:
        async with hall("redis", url=server.url) as h:
            one, other = await h.roster(), await h.roster()
            await eventually(lambda: other.me in one.members)
            silent: list[str] = []
            one.on_silent(silent.append)
            other.on_silent(silent.append)

            server.pause()
            await asyncio.sleep(SILENCE + 2 * BEAT)  # long enough to be taken for silent
            server.resume()
            number = one._number
            await eventually(lambda: one._number >= number + 10)

            assert silent == []
            assert one.members == other.members == {one.me, other.me}


async def test_the_leader_stops_while_redis_is_paused_and_leads_again_afterwards() -> None:
    with redis_server() as server:
        async with hall("redis", url=server.url) as h:
            first = await h.lease(await h.roster())
            await eventually(lambda: first.leading)
            other = await h.lease(await h.roster())
            term = first.term

            server.pause()
            await eventually(lambda: not first.leading)
            await asyncio.sleep(PACE.lapse + 2 * PACE.look)  # long enough to take over
            assert not first.leading
            assert not other.leading
            server.resume()

            await eventually(lambda: first.leading)
            assert first.term == term
            assert not other.leading


async def test_a_redis_that_has_lost_everything_is_filled_anew() -> None:
    with redis_server() as server:
        async with hall("redis", url=server.url) as h:
            one, other = await h.roster(), await h.roster()
            lease = await h.lease(one)
            await eventually(lambda: lease.leading and other.me in one.members)
            term = lease.term
            heard: list[str] = []
            one.on_silent(heard.append)
            one.on_left(heard.append)
            one.on_forgotten(lambda: heard.append("forgotten"))

            server.kill()
            server.start()

            await eventually(lambda: heard == ["forgotten"])
            await eventually(lambda: lease.leading and lease.term > term)
            assert one.members == {one.me, other.me}
