"""Every kind of Redis that `store.url` may name, and those that must not be the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from activator.errors import StartError
from activator.redisio.failures import Refused
from tests.integration.redisio.support import ADD, failure_of, until_works
from tests.redis_server import (
    cluster_of_three,
    fresh_prefix,
    opened_link,
    redis_server,
    tls_server,
    watched_servers,
)
from tests.support import eventually

if TYPE_CHECKING:
    from activator.redisio.link import Link


async def works(link: Link) -> None:
    """A script, keys of several endpoints, and a message."""
    for name in ("a", "b", "c", "d"):
        key = link.keys.of(name, "sum")
        await link.run(ADD, (key,), (1,))
    keys = [link.keys.of(name, "sum") for name in ("a", "b", "c", "d")]
    assert await link.pipeline([("GET", key) for key in keys]) == [b"1"] * 4
    assert await link.pipeline([ADD((key,), (1,)) for key in keys]) == [2] * 4
    heard: list[bytes] = []
    subscription = link.subscribe(link.keys.shared("news"), heard.append)
    await eventually(lambda: subscription.active)
    await link.command("PUBLISH", link.keys.shared("news"), "x")
    await eventually(lambda: heard == [b"x"])


# --- TLS, users ---------------------------------------------------------------------------------


async def test_tls_with_a_certificate_that_is_checked() -> None:
    with tls_server() as (_, url):
        async with opened_link(url) as link:
            await works(link)


async def test_a_certificate_that_nobody_vouches_for_is_refused() -> None:
    with tls_server() as (server, _):
        async with opened_link(f"rediss://localhost:{server.port}") as link:
            assert not link.up
            assert "certificate is not accepted" in link.cause


async def test_tls_where_there_is_none_is_told() -> None:
    with redis_server() as server:
        async with opened_link(f"rediss://localhost:{server.port}") as link:
            assert not link.up


async def test_a_user_who_may_do_what_the_activator_needs() -> None:
    prefix = fresh_prefix()
    with redis_server() as server:
        # what docs/redis.md says
        server.ask(
            *("ACL", "SETUSER", "activator", "on", ">secret", f"~{prefix}:*", f"&{prefix}:*"),
            *("+@all", "-@dangerous", "+info", "-@admin"),
        )
        url = f"redis://activator:secret@127.0.0.1:{server.port}"
        async with opened_link(url, prefix=prefix) as link:
            assert link.up, link.cause
            await works(link)
            failure = await failure_of(link.command("SET", "elsewhere", "x"))
            assert isinstance(failure, Refused)
            assert failure.code == "NOPERM"
            assert link.up


@pytest.mark.parametrize("login", ["", "nobody:secret@", "default:wrong@"])
async def test_a_wrong_or_missing_password_is_told(login: str) -> None:
    with redis_server("--requirepass", "secret", login={"password": "secret"}) as server:
        async with opened_link(f"redis://{login}127.0.0.1:{server.port}") as link:
            assert not link.up
            assert "password" in link.cause
            assert "secret" not in link.cause
            assert "wrong" not in link.cause


# --- what must not be the store -----------------------------------------------------------------


async def test_a_redis_that_evicts_is_refused_at_the_start() -> None:
    with redis_server("--maxmemory", "20mb", "--maxmemory-policy", "allkeys-lru") as server:
        with pytest.raises(StartError) as refusal:
            async with opened_link(server.url):
                pass

        assert "maxmemory-policy is allkeys-lru" in str(refusal.value)
        assert "noeviction" in str(refusal.value)


async def test_a_redis_that_is_made_to_evict_later_is_down_until_it_does_no_more() -> None:
    with redis_server("--maxmemory", "20mb") as server:
        async with opened_link(server.url) as link:
            assert link.up
            server.ask("CONFIG", "SET", "maxmemory-policy", "volatile-ttl")
            await eventually(lambda: not link.up, within=5.0)
            assert "volatile-ttl" in link.cause
            server.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
            await until_works(link, within=3.0)


async def test_a_full_redis_refuses_what_grows_and_is_told_as_full() -> None:
    with redis_server("--maxmemory", "20mb") as server:
        async with opened_link(server.url) as link:
            piece, kept = b"x" * (1 << 20), []
            failure = None
            for number in range(30):
                key = link.keys.of("m", "body", str(number))
                try:
                    await link.command("SET", key, piece)
                except Refused as error:
                    failure = error
                    break
                kept.append(key)

            assert failure is not None
            assert failure.code == "OOM"
            assert "full" in failure.detail
            assert link.up
            await eventually(lambda: link.fullness > 0.9, within=5.0)
            assert await link.command("GET", kept[0]) == piece
            assert await link.command("UNLINK", *kept) == len(kept)
            assert await link.run(ADD, (link.keys.of("m", "sum"),), (1,)) == 1


async def test_a_replica_takes_no_writes_and_is_no_store() -> None:
    with redis_server() as master, redis_server("--replicaof", master.host, str(master.port)) as r:
        async with opened_link(r.url) as link:
            assert not link.up
            assert "replica" in link.cause


async def test_one_alone_named_as_a_cluster_is_refused() -> None:
    with redis_server() as server:
        with pytest.raises(StartError) as refusal:
            async with opened_link(f"redis+cluster://127.0.0.1:{server.port}"):
                pass

        assert "redis://" in str(refusal.value)


# --- several servers ----------------------------------------------------------------------------


async def test_sentinels_tell_where_the_master_is_also_after_a_failover() -> None:
    with watched_servers() as watched:
        async with opened_link(watched.url) as link:
            assert link.up, link.cause
            await works(link)
            key = link.keys.of("m", "kept")
            await link.command("SET", key, "1")
            assert await link.command("WAIT", 1, 1000) == 1
            told: list[bool] = []
            link.on_change(told.append)

            watched.master.kill()
            await eventually(lambda: told[:1] == [False], within=5.0)
            await until_works(link, within=15.0)

            assert told == [False, True]
            assert await link.command("GET", key) == b"1"


async def test_a_cluster_keeps_each_endpoint_on_one_node_also_after_a_failover() -> None:
    with cluster_of_three() as cluster:
        async with opened_link(cluster.url) as link:
            assert link.up, link.cause
            await works(link)
            homes = [len(server.keys(link.keys.prefix)) for server in cluster.masters]
            assert sum(homes) == 4
            assert max(homes) < 4
            told: list[bool] = []
            link.on_change(told.append)

            cluster.masters[0].kill()

            await eventually(lambda: told == [False, True], within=20.0)
            for name in ("a", "b", "c", "d"):
                await link.run(ADD, (link.keys.of(name, "sum"),), (1,))


async def test_a_node_of_a_cluster_named_as_one_alone_is_refused() -> None:
    with cluster_of_three() as cluster:
        with pytest.raises(StartError) as refusal:
            async with opened_link(cluster.masters[0].url):
                pass

        assert "redis+cluster://" in str(refusal.value)
