from __future__ import annotations

import tracemalloc

import pytest

from activator.queueing.memory import WORTH_A_PIECE, MemoryStore


@pytest.mark.parametrize("pieces", [1, 4, 64])
async def test_a_body_of_4_kib_costs_well_under_5_kib_however_it_came(pieces: int) -> None:
    store = MemoryStore(max_bytes=1 << 30)
    handles = []
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(500):
            handles.append(await store.keep("model", [bytes(4096 // pieces)] * pieces))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (after - before) / 500 < 4096 + 400


async def test_small_pieces_are_joined() -> None:
    store = MemoryStore(max_bytes=1 << 20)

    handle = await store.keep("model", [b"a" * 100] * 100)

    assert list(await store.take(handle)) == [b"a" * 10_000]


async def test_large_pieces_are_kept_without_a_copy() -> None:
    store = MemoryStore(max_bytes=1 << 20)
    chunks = [bytes(WORTH_A_PIECE), bytes(WORTH_A_PIECE + 1)]

    taken = await store.take(await store.keep("model", chunks))

    assert all(mine is theirs for mine, theirs in zip(taken, chunks, strict=True))
