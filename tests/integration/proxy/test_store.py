"""Held bodies and a store that is slow, away, or loses them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from activator.aiokit.tasks import Tasks
from activator.errors import StoreUnavailable
from activator.queueing.base import DEFAULT_TTL, NOTHING_SAID
from activator.queueing.memory import MemoryStore
from tests.stage import Stage, request, stage
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from activator.queueing.base import Handle


class Store(MemoryStore):
    """A store whose answers take as long, and fail as often, as a test says."""

    def __init__(self) -> None:
        super().__init__(max_bytes=1 << 30)
        self.keeping = asyncio.Event()
        self.taking = asyncio.Event()
        self.keeping.set()
        self.taking.set()
        self.under_way = 0
        self._tasks = Tasks("store")
        self.is_away = False
        self.is_broken = False
        self.is_at_hand = False
        """What it keeps is taken without waiting."""

    def keep_then(
        self,
        endpoint: str,
        chunks: Sequence[bytes],
        told: Callable[[Handle | StoreUnavailable], None],
        *,
        about: Mapping[str, str | bytes] = NOTHING_SAID,
        ttl: float = DEFAULT_TTL,
    ) -> None:
        if self.is_broken:
            raise KeyError("a mistake of ours")
        self._tasks.spawn(self._keep_later(endpoint, chunks, told), name="keep")

    async def _keep_later(
        self,
        endpoint: str,
        chunks: Sequence[bytes],
        told: Callable[[Handle | StoreUnavailable], None],
    ) -> None:
        try:
            await self._answers(self.keeping)
        except StoreUnavailable as error:
            told(error)
        else:
            super().keep_then(endpoint, chunks, told)

    async def take(self, handle: Handle) -> Sequence[bytes]:
        await self._answers(self.taking)
        return await super().take(handle)

    def take_now(self, handle: Handle) -> Sequence[bytes] | None:
        if not self.is_at_hand:
            return None
        if self.is_broken:
            raise KeyError("a mistake of ours")
        return super().take_now(handle)

    async def _answers(self, when: asyncio.Event) -> None:
        self.under_way += 1
        await when.wait()
        self.under_way -= 1
        if self.is_broken:
            raise KeyError("a mistake of ours")
        if self.is_away:
            raise StoreUnavailable("The store does not answer")


def with_store(s: Stage) -> Store:
    store = s.proxy.store = Store()
    return store


POST = request(method="POST", body=b"x" * 1000)


async def test_a_store_that_is_away_is_made_up_for_by_memory() -> None:
    async with stage(ready=False) as s:
        with_store(s).is_away = True
        client = await s.send(POST)
        await s.until_in_line(1)
        assert s.proxy.held_memory.used == 1000
        await s.replica.start()

        assert (await client.reply()).status == 200
        assert bytes(s.replica.requests[0].body) == b"x" * 1000


async def test_without_memory_either_it_is_refused() -> None:
    async with stage(ready=False, server={"heldMemory": "999"}) as s:
        with_store(s).is_away = True
        reply = await s.ask(POST)

        assert (reply.status, reply.why) == (503, "store_unavailable")


async def test_a_request_without_a_body_needs_no_store() -> None:
    async with stage(ready=False, server={"heldMemory": "1"}) as s:
        with_store(s).is_away = True
        client = await s.send(request())
        await s.until_in_line(1)
        await s.replica.start()

        assert (await client.reply()).status == 200


@pytest.mark.parametrize("breaks", ["keeping", "taking", "taking at once"])
async def test_a_mistake_in_the_store_keeps_nobody_waiting(
    breaks: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with stage(ready=False) as s:
        store = with_store(s)
        store.is_broken = breaks == "keeping"
        client = await s.send(POST)
        await s.until_in_line(1)
        store.is_broken = breaks.startswith("taking")
        store.is_at_hand = breaks == "taking at once"
        await s.replica.start()

        reply = await client.reply()
        assert (reply.status, reply.why) == {
            "keeping": (200, ""),
            "taking": (503, "store_unavailable"),
            "taking at once": (503, "store_unavailable"),
        }[breaks]
        assert "a mistake of ours" in caplog.text


async def test_a_store_that_loses_a_body_fails_that_request_only() -> None:
    async with stage(ready=False, concurrency=1) as s:
        store = with_store(s)
        lost = await s.send(POST)
        await s.until_in_line(1)
        whole = await s.send(POST)
        await s.until_in_line(2)
        body = store._bodies.pop(next(iter(store._bodies)))
        store._bytes_kept -= len(b"".join(body) if isinstance(body, tuple) else body)
        await s.replica.start()

        reply = await lost.reply()
        assert (reply.status, reply.why) == (503, "store_unavailable")
        assert (await whole.reply()).status == 200


async def test_a_client_that_leaves_while_its_body_is_being_stored_leaves_nothing() -> None:
    async with stage(ready=False) as s:
        store = with_store(s)
        store.keeping.clear()
        client = await s.send(POST)
        await eventually(lambda: store.under_way)

        client.reset()
        await s.until_held(0, within=1.0)
        store.keeping.set()

        await eventually(lambda: not store.under_way)


async def test_a_client_that_leaves_while_its_body_comes_back_gives_its_slot_to_the_next() -> None:
    async with stage(ready=False, concurrency=1) as s:
        store = with_store(s)
        leaving = await s.send(request("/leaving", method="POST", body=b"x" * 1000))
        await s.until_in_line(1)
        staying = await s.send(request("/staying"))
        await s.until_in_line(2)
        store.taking.clear()
        await s.replica.start()
        await eventually(lambda: store.under_way)

        leaving.reset()

        assert (await staying.reply()).status == 200
        store.taking.set()
        assert [heard.target for heard in s.replica.requests] == [b"/staying"]


@pytest.mark.parametrize("stuck", ["keeping", "taking"])
async def test_the_queues_timeout_holds_for_a_store_that_hangs(stuck: str) -> None:
    async with stage(ready=False, concurrency=1, queue={"timeout": "300ms"}) as s:
        store = with_store(s)
        getattr(store, stuck).clear()
        client = await s.send(POST)
        await eventually(lambda: store.under_way or s.waiting)
        await s.replica.start()

        reply = await client.reply()

        assert (reply.status, reply.why) == (504, "queue_timeout")
        getattr(store, stuck).set()
        assert (await s.get()).status == 200


async def test_what_was_granted_while_its_replica_left_goes_back_in_line() -> None:
    async with stage(ready=False, concurrency=1) as s:
        store = with_store(s)
        client = await s.send(POST)
        await s.until_in_line(1)
        store.taking.clear()
        await s.replica.start()
        await eventually(lambda: store.under_way)
        replicas = [(live.replica, False) for live in s.live.replicas.values()]

        s.live.offer([])
        store.taking.set()
        await s.until_in_line(1)
        s.live.offer([(type(replica)("again", replica.host, replica.port), False)
                      for replica, _ in replicas])  # fmt: skip

        assert (await client.reply()).status == 200
        assert bytes(s.replica.requests[0].body) == b"x" * 1000
