"""The link to Redis on a network that fails: every operation ends in time, and says how."""

from __future__ import annotations

import asyncio
import time
from importlib import metadata
from typing import TYPE_CHECKING, Any, cast

import pytest

from activator.aiokit.slices import Slices
from activator.errors import StoreUnavailable
from activator.redisio.commands import Opening
from activator.redisio.failures import Refused, Unanswered, Unreachable
from activator.redisio.hub import TOGETHER
from activator.redisio.node import MOST_CONNECTIONS
from activator.redisio.scripts import script
from tests.faults import Faulty, failures
from tests.integration.redisio.support import ADD, behind_a_proxy, failure_of, until_works
from tests.redis_server import fresh_prefix, opened_link, redis_server, shared_server
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import Iterable

    from activator.redisio.wire import Wire

SLACK = 1.0
"""Seconds beyond its timeout in which a failure must be told on a busy machine."""


# --- what is done -------------------------------------------------------------------------------


async def test_a_script_runs_whether_or_not_redis_knows_it() -> None:
    async with opened_link() as link:
        key = link.keys.of("m", "sum")
        assert await link.run(ADD, (key,), (2,)) == 2
        shared_server().ask("SCRIPT", "FLUSH")
        assert await link.run(ADD, (key,), (3,)) == 5
        shared_server().ask("SCRIPT", "FLUSH")

        sums = await link.pipeline((ADD((key,), (1,)), ("GET", key), ADD((key,), (1,))))

        assert sums[::2] == [6, 7]
        await link.command("DEL", key)


async def test_a_call_tells_what_a_script_returns_whether_or_not_redis_knows_it() -> None:
    async with opened_link() as link:
        adding = Opening(ADD, (link.keys.of("m", "sum"),), ())
        shared_server().ask("SCRIPT", "FLUSH")
        said: list[object] = []
        for number in ("1", "2", "3"):
            link.call(adding, (number,), said.append)
        assert said == [], "nothing is told before the call has returned"

        await eventually(lambda: len(said) == 3)

        assert max(said, key=str) == 6
        await link.command("DEL", *adding.keys)


async def test_words_of_a_call_are_kept_whatever_their_letters() -> None:
    async with opened_link() as link:
        echo = script("echo", "return table.concat(ARGV, '|')")
        said: list[object] = []
        for last in ("plain", "größer", ""):
            link.call(Opening(echo, (link.keys.of("mü", "x"),), ("1", "ä")), (last,), said.append)

        await eventually(lambda: len(said) == 3)

        assert sorted(map(str, said)) == sorted(
            map(str, (b"1|\xc3\xa4|plain", "1|ä|größer".encode(), b"1|\xc3\xa4|"))
        )


async def test_a_connection_is_made_without_a_look_at_the_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with opened_link() as link:
        looked_up: list[str] = []
        version = metadata.version

        def noting(name: str) -> str:
            looked_up.append(name)
            return version(name)

        monkeypatch.setattr(metadata, "version", noting)
        shared_server().ask("CLIENT", "LIST")
        link._forget()
        await until_works(link, within=3.0)

        assert looked_up == []


async def test_a_call_tells_why_it_has_failed() -> None:
    async with behind_a_proxy(timeout=0.3) as (link, proxy):
        adding = Opening(ADD, (link.keys.of("m", "sum"),), ())
        failures = 0

        def count() -> None:
            nonlocal failures
            failures += 1

        link.on_failure(count)
        said: list[object] = []
        link.call(adding, ("none",), said.append)
        await eventually(lambda: len(said) == 1)
        proxy.silent = True
        link.call(adding, ("1",), said.append)
        await eventually(lambda: len(said) == 2)
        proxy.cut()
        await eventually(lambda: not link.up, within=3.0)
        link.call(adding, ("1",), said.append)
        await eventually(lambda: len(said) == 3)

        assert [type(each) for each in said] == [Refused, Unanswered, Unreachable]
        assert failures >= 3


async def test_words_are_kept_to_the_byte_in_pieces_or_whole() -> None:
    async with opened_link() as link:
        key = link.keys.of("m", "body")
        pieces = (bytes(range(256)) * 100, b"", b"\r\n$5\r\n", b"x")

        await link.command("SET", key, pieces, "PX", 10_000)

        assert await link.command("GET", key) == b"".join(pieces)
        assert await link.command("STRLEN", key) == sum(map(len, pieces))


async def test_the_first_error_of_a_pipeline_is_raised_after_all_has_been_tried() -> None:
    async with opened_link() as link:
        text, other = link.keys.of("m", "text"), link.keys.of("m", "other")

        failure = await failure_of(
            link.pipeline((("SET", text, "a"), ("INCR", text), ("SET", other, "b")))
        )

        assert "not an integer" in failure.detail
        assert await link.command("GET", other) == b"b"
        await link.command("DEL", text, other)


# --- time ---------------------------------------------------------------------------------------


async def test_a_store_that_keeps_silent_is_given_up_in_time() -> None:
    async with behind_a_proxy(timeout=0.3) as (link, proxy):
        await link.command("PING")
        proxy.silent = True
        since = time.monotonic()

        failure = await failure_of(link.command("PING"))

        assert isinstance(failure, Unanswered)
        assert 0.25 <= time.monotonic() - since < 0.3 + SLACK
        await eventually(lambda: not link.up, within=3.0)
        since = time.monotonic()
        assert isinstance(await failure_of(link.command("PING")), Unreachable)
        assert time.monotonic() - since < 0.25


async def test_who_is_in_a_hurry_is_not_held_up_by_a_silent_redis() -> None:
    with redis_server() as redis:
        async with opened_link(redis.url, timeout=60.0) as link:
            redis.pause()
            link.hasten(0.2)
            since = time.monotonic()

            await failure_of(link.command("PING"))
            assert time.monotonic() - since < 0.2 + SLACK


async def test_waiting_for_a_connection_counts_and_connections_do_not_pile_up() -> None:
    with redis_server() as redis:
        async with opened_link(redis.url, timeout=0.3) as link:
            redis.pause()
            since = time.monotonic()

            failures = await asyncio.gather(*(failure_of(link.command("PING")) for _ in range(200)))

            assert time.monotonic() - since < 0.3 + SLACK
            assert len(failures) == 200
            await eventually(lambda: not link.up, within=3.0)
            redis.resume()
            await until_works(link, within=2.0)
            await asyncio.gather(
                *(link.command("PING") for _ in range(200)), return_exceptions=True
            )
            clients = redis.ask("CLIENT", "LIST").count(b"\n")
            # with the sentry, the hub, and the one that asks
            assert clients <= MOST_CONNECTIONS + 3


async def test_a_paused_redis_delays_and_refuses_nobody_for_long() -> None:
    with redis_server() as redis:
        async with opened_link(redis.url, timeout=1.0) as link:
            key = link.keys.of("m", "sum")
            assert await link.run(ADD, (key,), (1,)) == 1
            redis.ask("CLIENT", "PAUSE", 200, "WRITE")
            assert await link.run(ADD, (key,), (1,)) == 2

            redis.ask("CLIENT", "PAUSE", 3000, "WRITE")
            since = time.monotonic()
            assert isinstance(await failure_of(link.run(ADD, (key,), (1,))), Unanswered)

            assert time.monotonic() - since < 1.0 + SLACK
            redis.ask("CLIENT", "UNPAUSE")
            assert await until_works(link, within=2.0) < 2.0


# --- going and coming back ----------------------------------------------------------------------


async def test_is_back_within_two_seconds_of_redis_and_says_so() -> None:
    with redis_server() as redis:
        async with opened_link(redis.url, timeout=0.5) as link:
            told: list[bool] = []
            link.on_change(told.append)
            redis.kill()
            await eventually(lambda: told == [False], within=3.0)
            assert not link.up
            assert "refuses connections" in link.cause
            await asyncio.sleep(1.5)  # so long that it looks seldom

            redis.start()

            assert await until_works(link, within=5.0) < 2.0 + SLACK
            assert told == [False, True]


async def test_a_restart_that_nobody_noticed_is_told_all_the_same() -> None:
    with redis_server() as redis:
        async with opened_link(redis.url) as link:
            told: list[bool] = []
            link.on_change(told.append)

            redis.restart()

            await eventually(lambda: told == [False, True], within=5.0)
            assert await link.command("PING") == b"PONG"


async def test_opens_without_redis_and_finds_it_later() -> None:
    with redis_server() as redis:
        redis.kill()
        async with opened_link(redis.url) as link:
            assert not link.up
            assert isinstance(await failure_of(link.command("PING")), Unreachable)
            redis.start()
            await until_works(link, within=3.0)


async def test_failures_are_counted() -> None:
    async with behind_a_proxy(timeout=0.2) as (link, proxy):
        failures: list[None] = []
        link.on_failure(lambda: failures.append(None))
        proxy.refusing = True
        proxy.cut()

        for _ in range(5):
            await failure_of(link.command("PING"))

        assert len(failures) == 5


# --- cut ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["sent", "received"])
async def test_cut_at_every_byte_it_is_known_what_may_have_been_done(direction: str) -> None:
    async with behind_a_proxy() as (link, proxy):
        key = link.keys.of("m", "sum")
        await link.run(ADD, (key,), (0,))
        done = cuts = 0
        size = 0
        while True:
            before = proxy.sent if direction == "sent" else proxy.received
            proxy.cut_after(**{direction: size})
            try:
                await link.run(ADD, (key,), (1,))
            except Unreachable:
                surely, maybe = 0, 0
            except Unanswered:
                surely, maybe = 0, 1
            else:
                surely, maybe = 1, 0
            proxy.cut_after()
            moved = (proxy.sent if direction == "sent" else proxy.received) - before
            cuts += not surely
            await until_works(link, within=3.0)
            now = int(shared_server().ask("GET", key))
            assert done + surely <= now <= done + surely + maybe
            done = now
            if surely and moved < size:
                break  # the whole exchange fitted
            size += 1 if size < 40 else 7
        assert cuts >= len(b":1\r\n")
        await link.command("DEL", key)


# --- what is called out -------------------------------------------------------------------------


async def test_a_message_reaches_every_listener_of_its_channel_and_no_other() -> None:
    prefix = fresh_prefix()
    async with opened_link(prefix=prefix) as one, opened_link(prefix=prefix) as other:
        channel = one.keys.shared("news")
        heard: list[bytes] = []
        again: list[bytes] = []
        subscriptions = [
            one.subscribe(channel, heard.append),
            one.subscribe(channel, again.append),
            one.subscribe(one.keys.shared("else"), heard.append),
        ]
        await eventually(lambda: all(each.active for each in subscriptions))

        await other.command("PUBLISH", channel, b"\x00\xff")
        await eventually(lambda: heard == again == [b"\x00\xff"])
        subscriptions[0].close()
        subscriptions[0].close()
        await other.command("PUBLISH", channel, b"2")
        await eventually(lambda: again == [b"\x00\xff", b"2"])

        assert heard == [b"\x00\xff"]


async def test_listeners_hear_again_after_a_gap_and_are_told_of_it() -> None:
    async with behind_a_proxy(timeout=0.5) as (link, proxy):
        channel = link.keys.shared("news")
        heard: list[bytes] = []
        gaps: list[None] = []
        link.on_resubscribed(lambda: gaps.append(None))
        subscription = link.subscribe(channel, heard.append)
        await eventually(lambda: subscription.active and len(gaps) == 1)

        proxy.cut()
        await eventually(lambda: not subscription.active)
        await eventually(lambda: subscription.active and len(gaps) == 2, within=5.0)
        shared_server().ask("PUBLISH", channel, "after")

        await eventually(lambda: heard == [b"after"])


async def test_thousands_of_channels_are_heard_again_and_that_is_told_once() -> None:
    async with behind_a_proxy(timeout=0.5) as (link, proxy):
        gaps: list[None] = []
        link.on_resubscribed(lambda: gaps.append(None))
        channels = [link.keys.shared("news", str(number)) for number in range(3 * TOGETHER + 1)]
        heard: list[bytes] = []
        subscriptions = [link.subscribe(channel, heard.append) for channel in channels]
        await eventually(lambda: all(each.active for each in subscriptions))
        told = len(gaps)

        proxy.cut()
        await eventually(lambda: not any(each.active for each in subscriptions))
        await eventually(lambda: len(gaps) > told, within=5.0)

        assert all(each.active for each in subscriptions)
        assert len(gaps) == told + 1
        shared_server().ask("PUBLISH", channels[-1], "after")
        await eventually(lambda: heard == [b"after"])


async def test_a_channel_that_is_left_before_its_turn_to_be_heard_again_is_left_alone() -> None:
    async with opened_link() as link:
        names = [f"news-{number}" for number in range(TOGETHER + 2)]
        subscriptions = [link.subscribe(name, lambda _: None) for name in names]
        posted: list[bytes] = []

        class Said(Slices):
            async def turn(self) -> None:
                subscriptions[-1].close()

        class Posts:
            def post(self, pieces: Iterable[bytes]) -> None:
                posted.extend(pieces)

        link._hub._awaited = set(names)
        await link._hub._subscribe_to(names, cast("Wire", Posts()), Said())

        said = b"".join(posted).split()
        assert all(name.encode() in said for name in names[:-1])
        assert names[-1].encode() not in said


async def test_a_gap_is_told_though_the_last_channel_that_was_awaited_is_left() -> None:
    async with opened_link() as link:
        stays, leaves = (link.subscribe(link.keys.shared(name), lambda _: None) for name in "ab")
        await eventually(lambda: stays.active and leaves.active)
        gaps: list[None] = []
        link.on_resubscribed(lambda: gaps.append(None))
        link._hub._awaited = {stays.channel, leaves.channel}
        link._hub._hear([b"subscribe", stays.channel.encode(), 1])
        assert not gaps

        leaves.close()

        assert len(gaps) == 1


async def test_of_a_channel_that_is_left_without_a_connection_nothing_is_told() -> None:
    async with behind_a_proxy(timeout=0.3) as (link, proxy):
        subscription = link.subscribe(link.keys.shared("news"), lambda _: None)
        await eventually(lambda: subscription.active)
        gaps: list[None] = []
        link.on_resubscribed(lambda: gaps.append(None))
        link._hub._awaited = {subscription.channel}
        proxy.refusing = True
        proxy.cut()
        await eventually(lambda: not subscription.active)

        subscription.close()

        assert not gaps


async def test_a_channel_on_which_nothing_comes_through_is_noticed() -> None:
    async with behind_a_proxy(timeout=0.3) as (link, proxy):
        subscription = link.subscribe(link.keys.shared("news"), lambda said: None)
        await eventually(lambda: subscription.active)

        proxy.silent = True

        await eventually(lambda: not subscription.active, within=3.0)
        proxy.silent = False
        await eventually(lambda: subscription.active, within=3.0)


async def test_whoever_asked_is_told_though_asking_met_a_fault_of_ours(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened_link() as link:
        Faulty(monkeypatch, link, "run")
        monkeypatch.setattr(link._topology, "begin", lambda *args, **named: False)
        told: list[Any] = []
        opening = Opening(ADD, (link.keys.of("m", "n"),), ())
        link.call(opening, ("1",), told.append)
        await eventually(lambda: told)

        assert isinstance(told[0], StoreUnavailable)
        assert failures(caplog) == ["redis/call"]
