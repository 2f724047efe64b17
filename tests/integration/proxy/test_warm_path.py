"""A ready replica with a free slot: what is relayed, and what it costs."""

from __future__ import annotations

import asyncio

from tests.stage import request, stage


async def test_a_request_is_answered_by_the_replica() -> None:
    async with stage() as s:
        reply = await s.get("/x?y=z")

        assert (reply.status, reply.body) == (200, b"hello")
        assert s.replica.requests[0].target == b"/x?y=z"


async def test_a_cold_request_is_held_until_a_replica_was_started_for_it() -> None:
    async with stage(from_zero=True) as s:
        reply = await s.get("/")

        assert reply.get("x-activator-cold-start") == b"true"
        assert len(s.replicas) == 1


async def test_a_warm_request_over_a_pooled_connection_creates_no_task() -> None:
    async with stage() as s:
        client = await s.connect()
        client.send(request())
        await client.reply()
        before = asyncio.all_tasks()

        client.send(request())
        await s.replica.heard(2)
        during = asyncio.all_tasks()
        await client.reply()

        assert during == before
        assert s.replica.connections == 1


async def test_clients_and_replicas_are_written_to_together() -> None:
    """It takes the writes of both to tell how many come together."""
    async with stage() as s:
        assert s.app._kit.outbox is s.proxy._kit.outbox
