"""Bodies in Redis when activators share it, die, or lose it in the middle."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from activator.errors import StoreUnavailable
from activator.queueing import redis_bodies
from activator.queueing.base import Handle
from activator.queueing.redis_bodies import RedisBodies
from tests.faulty_proxy import FaultyProxy
from tests.redis_server import (
    APPEND_ONLY,
    fresh_prefix,
    opened_link,
    redis_server,
    shared_server,
)
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activator.redisio.commands import Word
    from activator.redisio.keys import Keys
    from activator.redisio.scripts import Call

LIMIT = 1 << 20


async def kept_and_dropped(store: RedisBodies, body: bytes) -> bool:
    """False: there was no room for it."""
    try:
        handle = await store.keep("m", [body])
    except StoreUnavailable:
        return False
    await store.discard(handle)
    return True


def left(keys: Keys) -> list[str]:
    """Everything but the names of endpoints, which have an expiry."""
    registry = keys.shared("bytes", "endpoints")
    return [key for key in shared_server().keys(keys.prefix) if key != registry]


async def test_the_bound_of_an_endpoint_holds_over_all_activators() -> None:
    prefix = fresh_prefix()
    async with opened_link(prefix=prefix) as one, opened_link(prefix=prefix) as other:
        stores = [RedisBodies(link, max_bytes=LIMIT) for link in (one, other)]

        async def keep(number: int) -> bool:
            try:
                await stores[number % 2].keep("m", [b"x" * (LIMIT // 10)])
            except StoreUnavailable:
                return False
            return True

        kept = await asyncio.gather(*(keep(number) for number in range(30)))

        assert sum(kept) == 10
        for store in stores:
            await store.aclose()
        assert not left(one.keys)


async def test_endpoints_that_come_while_the_store_is_asked_have_room_and_are_counted() -> None:
    prefix = fresh_prefix()
    async with opened_link(prefix=prefix) as one, opened_link(prefix=prefix) as other:
        store = RedisBodies(one, max_bytes=LIMIT)
        keeping = []
        for number in range(20):
            body = [b"x" * (LIMIT // 20)]
            keeping.append(asyncio.ensure_future(store.keep(f"m{number}", body)))  # noqa: TID251
            await asyncio.sleep(0)  # the next one comes when more has been asked, and answered
        await asyncio.gather(*keeping)

        later = RedisBodies(other, max_bytes=LIMIT)
        with pytest.raises(StoreUnavailable):  # whoever asks next hears of all of them
            await later.keep("n", [b"x" * 20])
        for each in (store, later):
            await each.aclose()
        assert not left(one.keys)


async def test_what_a_dead_activator_has_left_lapses_and_is_counted_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redis_bodies, "MARGIN", 0.0)
    prefix = fresh_prefix()
    async with opened_link(prefix=prefix) as one, opened_link(prefix=prefix) as other:
        dead, living = (RedisBodies(link, max_bytes=LIMIT) for link in (one, other))
        ttl = 0.1
        await dead.keep("m", [b"x" * LIMIT], ttl=ttl)
        while await kept_and_dropped(living, b"y"):
            ttl *= 2  # it had lapsed before the other one came, on a slow machine
            assert ttl < 5.0
            await dead.keep("m", [b"x" * LIMIT], ttl=ttl)

        await eventually(lambda: not shared_server().keys(one.keys.of("m", "body")))

        async with asyncio.timeout(1.0):  # it is counted for some milliseconds more
            while not await kept_and_dropped(living, b"y" * LIMIT):
                await asyncio.sleep(0.005)
        await living.aclose()
        assert not left(one.keys)


@pytest.mark.parametrize("direction", ["sent", "received"])
async def test_cut_at_any_byte_nothing_half_is_kept_and_nothing_stays(direction: str) -> None:
    async with (
        FaultyProxy(shared_server().port) as proxy,
        opened_link(f"redis://127.0.0.1:{proxy.port}") as link,
    ):
        store = RedisBodies(link, max_bytes=LIMIT)
        refused = 0
        for cut in range(0, 1200, 31):
            await link.until_up()
            proxy.cut_after(**{direction: cut})
            body = b"%d" % cut * 100
            try:
                handle = await store.keep("m", [body])
            except StoreUnavailable:
                refused += 1
            else:
                proxy.cut_after()
                await link.until_up()
                assert b"".join(await store.take(handle)) == body
            proxy.cut_after()
        assert refused > 2
        assert store.bytes_kept == 0
        await eventually(lambda: link.up and not left(link.keys), within=5.0)
        await store.aclose()


async def test_what_leaves_while_redis_is_away_is_removed_when_it_is_back() -> None:
    with redis_server(*APPEND_ONLY) as redis:
        async with opened_link(redis.url, timeout=0.3) as link:
            store = RedisBodies(link, max_bytes=LIMIT)
            handles = [await store.keep("m", [b"x"]) for _ in range(250)]
            redis.kill()
            for handle in handles:
                await store.discard(handle)
            assert store.bytes_kept == 0

            redis.start()

            await eventually(lambda: not redis.keys(link.keys.of("m", "")) and link.up, within=5.0)
            await store.aclose()


async def test_whose_turn_comes_while_redis_restarts_waits_for_it() -> None:
    with redis_server(*APPEND_ONLY) as redis:
        async with opened_link(redis.url, timeout=0.3) as link:
            store = RedisBodies(link, max_bytes=LIMIT)
            handle = await store.keep("m", [b"body"])
            redis.kill()
            taking = asyncio.get_running_loop().create_task(store.take(handle))
            await eventually(lambda: not link.up, within=3.0)

            redis.start()

            assert b"".join(await taking) == b"body"
            await store.aclose()


async def test_nobody_waits_for_a_redis_that_has_been_away_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redis_bodies, "PATIENCE", 0.5)
    with redis_server(*APPEND_ONLY) as redis:
        async with opened_link(redis.url, timeout=0.3) as link:
            store = RedisBodies(link, max_bytes=LIMIT)
            handles = [await store.keep("m", [b"body"]) for _ in range(50)]
            redis.kill()
            loop = asyncio.get_running_loop()
            since = loop.time()

            for handle in handles:
                with pytest.raises(StoreUnavailable):
                    await store.take(handle)

            assert loop.time() - since < 1.5
            redis.start()
            await eventually(lambda: not redis.keys(link.keys.of("m", "")) and link.up)
            await store.aclose()


async def test_a_redis_without_memory_refuses_a_body_and_keeps_nothing_of_it() -> None:
    with redis_server("--maxmemory", "8mb") as redis:
        async with opened_link(redis.url) as link:
            store = RedisBodies(link, max_bytes=1 << 30)
            kept: list[Handle] = []

            async def keep_many() -> None:
                while len(kept) < 30:
                    kept.append(await store.keep("m", [b"x" * (1 << 20)]))

            with pytest.raises(StoreUnavailable, match="full"):
                await keep_many()

            assert kept
            assert store.bytes_kept == len(kept) << 20
            for handle in kept:
                assert len(b"".join(await store.take(handle))) == 1 << 20
            await eventually(lambda: not redis.keys(link.keys.of("m", "")), within=5.0)
            await store.aclose()


@pytest.mark.parametrize(
    ("size", "at_once"),
    [
        (redis_bodies.SMALL, redis_bodies.CARRIERS * redis_bodies.TOGETHER // redis_bodies.SMALL),
        (redis_bodies.SMALL + 1, redis_bodies.AT_ONCE),
    ],
)
async def test_few_bytes_of_small_bodies_and_few_large_ones_are_on_their_way_at_once(
    size: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened_link(prefix=fresh_prefix()) as link:
        store = RedisBodies(link, max_bytes=10 * LIMIT)
        await store.keep("m", [b"how much room there is has been asked for"])
        on_their_way, may_go, really = 0, asyncio.Event(), link.each

        async def each(commands: Sequence[Sequence[Word] | Call]) -> list[Any]:
            nonlocal on_their_way
            on_their_way += len(commands) // 2
            await may_go.wait()
            return await really(commands)

        monkeypatch.setattr(link, "each", each)
        keeping = [
            asyncio.get_running_loop().create_task(store.keep("m", [b"x" * size]))
            for _ in range(37)
        ]
        await eventually(lambda: on_their_way == at_once)
        await link.command("PING")  # and none more while others have time to run
        assert on_their_way == at_once

        may_go.set()

        assert len(await asyncio.gather(*keeping)) == on_their_way == len(keeping)
        await store.aclose()


async def test_of_bodies_that_go_in_together_each_has_its_own_end() -> None:
    async with opened_link(prefix=fresh_prefix()) as link:
        store = RedisBodies(link, max_bytes=55 << 10)
        said: list[Handle | StoreUnavailable] = []

        for number in range(10):
            store.keep_then("m", [b"%d" % number * (10 << 10)], said.append)

        await eventually(lambda: len(said) == 10)
        kept = [each for each in said if isinstance(each, Handle)]
        assert said[:5] == kept, "those that came first"
        assert store.bytes_kept == 50 << 10
        for number, handle in enumerate(kept):
            assert b"".join(await store.take(handle)) == b"%d" % number * (10 << 10)
        await eventually(lambda: not left(link.keys))
        await store.aclose()


async def test_a_redis_that_fills_up_in_between_keeps_what_it_has_taken() -> None:
    with redis_server("--maxmemory", "4mb") as redis:
        async with opened_link(redis.url) as link:
            store = RedisBodies(link, max_bytes=1 << 30)
            said: list[Handle | StoreUnavailable] = []

            for _ in range(600):
                store.keep_then("m", [b"x" * (10 << 10)], said.append)

            await eventually(lambda: len(said) == 600)
            kept = [each for each in said if isinstance(each, Handle)]
            assert 0 < len(kept) < 600
            assert store.bytes_kept == len(kept) * (10 << 10)
            for handle in kept:
                assert len(b"".join(await store.take(handle))) == 10 << 10
            await eventually(lambda: not redis.keys(link.keys.of("m", "")), within=5.0)
            await store.aclose()


async def test_whose_owner_fails_to_hear_it_costs_the_others_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with opened_link(prefix=fresh_prefix()) as link:
        store = RedisBodies(link, max_bytes=LIMIT)
        said: list[Handle | StoreUnavailable] = []

        def fails(_: Handle | StoreUnavailable) -> None:
            raise RuntimeError("a mistake of ours")

        for number in range(30):  # more than go together
            store.keep_then("m", [b"x" * (10 << 10)], fails if number == 3 else said.append)

        await eventually(lambda: len(said) == 29)
        assert all(isinstance(each, Handle) for each in said)
        await eventually(lambda: "task failed" in caplog.text)
        caplog.clear()
        await store.aclose()


async def test_a_body_that_nobody_waits_for_any_more_is_dropped() -> None:
    async with opened_link(prefix=fresh_prefix()) as link:
        store = RedisBodies(link, max_bytes=LIMIT)
        keeping = asyncio.get_running_loop().create_task(store.keep("m", [b"body"]))
        await asyncio.sleep(0)
        keeping.cancel()

        await eventually(lambda: keeping.done() and not store.bytes_kept)
        await eventually(lambda: not left(link.keys))
        await store.aclose()


async def test_a_mistake_of_ours_is_told_to_all_who_wait_and_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened_link(prefix=fresh_prefix()) as link:
        store = RedisBodies(link, max_bytes=LIMIT)
        await store.keep("m", [b"how much room there is has been asked for"])
        really, said = link.each, list[Handle | StoreUnavailable]()

        async def each(commands: Sequence[Sequence[Word] | Call]) -> list[Any]:
            monkeypatch.setattr(link, "each", really)
            raise RuntimeError("a mistake of ours")

        monkeypatch.setattr(link, "each", each)
        for _ in range(20):
            store.keep_then("m", [b"x" * (10 << 10)], said.append)

        await eventually(lambda: len(said) == 20)
        kept = [one for one in said if isinstance(one, Handle)]
        assert 0 < len(kept) < 20
        await eventually(lambda: "task failed" in caplog.text)
        for handle in kept:
            assert len(b"".join(await store.take(handle))) == 10 << 10
        caplog.clear()
        await store.aclose()
        assert not left(link.keys)
