"""What every BodyStore promises, whichever it is. Another implementation joins IMPLEMENTATIONS."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from activator.errors import StoreUnavailable
from activator.queueing.base import Handle
from activator.queueing.memory import MemoryStore
from activator.queueing.redis_bodies import RedisBodies
from tests.redis_server import opened_link, shared_server
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from activator.queueing.base import BodyStore

LIMIT = 1 << 20


@asynccontextmanager
async def _memory() -> AsyncIterator[BodyStore]:
    yield MemoryStore(max_bytes=LIMIT)


@asynccontextmanager
async def _redis() -> AsyncIterator[BodyStore]:
    async with opened_link() as link:
        store = RedisBodies(link, max_bytes=LIMIT)
        yield store
        await store.aclose()
        left = set(shared_server().keys(link.keys.prefix))
        assert left <= {link.keys.shared("bytes", "endpoints")}


IMPLEMENTATIONS = [pytest.param(_memory, id="memory"), pytest.param(_redis, id="redis")]


@pytest.fixture(params=IMPLEMENTATIONS)
async def store(request: pytest.FixtureRequest) -> AsyncIterator[BodyStore]:
    """An empty store for LIMIT bytes."""
    async with request.param() as opened:
        yield opened


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([], id="nothing"),
        pytest.param([b""], id="one empty piece"),
        pytest.param([b"\x00\xff\r\n" * 1024], id="one piece"),
        pytest.param([b"a", b"", b"bc", b"d" * 10], id="many small pieces"),
        pytest.param([b"a" * 65536, b"b" * 65536, b"c"], id="large pieces"),
    ],
)
async def test_a_body_comes_back_as_it_was(store: BodyStore, chunks: list[bytes]) -> None:
    handle = await store.keep("model", chunks)
    assert handle.size == store.bytes_kept == sum(map(len, chunks))

    assert b"".join(await store.take(handle)) == b"".join(chunks)

    assert store.bytes_kept == 0


async def test_who_does_not_wait_is_told_what_became_of_each_body(store: BodyStore) -> None:
    told: list[Handle | StoreUnavailable] = []
    bodies = [[b"a" * (LIMIT // 2)], [b"b", b"c"], [b"d" * LIMIT], [b""]]

    for chunks in bodies:
        store.keep_then("model", chunks, told.append)
    await eventually(lambda: len(told) == len(bodies))

    handles = [each for each in told if isinstance(each, Handle)]
    assert sorted(handle.size for handle in handles) == [0, 2, LIMIT // 2]
    assert [each.retry_after for each in told if isinstance(each, StoreUnavailable)] != [None]
    assert store.bytes_kept == LIMIT // 2 + 2
    assert [b"".join(await store.take(handle)) for handle in sorted(handles, key=_size)] == [
        b"",
        b"bc",
        b"a" * (LIMIT // 2),
    ]


def _size(handle: Handle) -> int:
    return handle.size


async def test_a_body_that_needs_no_waiting_for_is_as_it_was_and_taken_once(
    store: BodyStore,
) -> None:
    handle = await store.keep("model", [b"a", b"bc"])

    at_once = store.take_now(handle)
    if at_once is None:
        at_once = await store.take(handle)

    assert b"".join(at_once) == b"abc"
    assert store.bytes_kept == 0
    with pytest.raises(StoreUnavailable):
        await store.take(handle)


async def test_bodies_are_kept_apart(store: BodyStore) -> None:
    bodies = [b"body %d" % number for number in range(50)]
    handles = [
        await store.keep("model" if number % 2 else "other", [body])
        for number, body in enumerate(bodies)
    ]

    assert len({handle.key for handle in handles}) == len(handles)
    for handle, body in reversed(list(zip(handles, bodies, strict=True))):
        assert list(await store.take(handle)) == [body]


async def test_a_body_is_taken_once(store: BodyStore) -> None:
    handle = await store.keep("model", [b"body"])
    await store.take(handle)

    with pytest.raises(StoreUnavailable):
        await store.take(handle)
    assert store.bytes_kept == 0


async def test_a_discarded_body_is_gone_and_its_room_is_free(store: BodyStore) -> None:
    handle = await store.keep("model", [b"x" * LIMIT])

    await store.discard(handle)
    await store.discard(handle)

    assert store.bytes_kept == 0
    with pytest.raises(StoreUnavailable):
        await store.take(handle)


async def test_discarding_what_is_unknown_is_no_error(store: BodyStore) -> None:
    await store.discard(Handle(key="never seen", size=7))

    assert store.bytes_kept == 0


async def test_a_body_beyond_the_bound_is_refused_and_nothing_of_it_kept(
    store: BodyStore,
) -> None:
    first = await store.keep("model", [b"x" * (LIMIT - 10)])

    with pytest.raises(StoreUnavailable) as refusal:
        await store.keep("other", [b"y" * 5, b"z" * 6])
    assert refusal.value.retry_after is not None
    assert store.bytes_kept == LIMIT - 10

    await store.keep("other", [b"y" * 5, b"z" * 5])
    assert store.bytes_kept == LIMIT
    assert len(b"".join(await store.take(first))) == LIMIT - 10
