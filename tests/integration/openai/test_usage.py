"""Tokens by endpoint and key, of answers as they pass; and replicas chosen by how prompts begin."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.openai.support import CHAT, JSON, ask, chat
from tests.stage import request, stage
from tests.support import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.replica import Talk

USAGE = {"prompt_tokens": 7, "completion_tokens": 5}
EVENTS = b"Content-Type: text/event-stream\r\n"


async def behave(talk: Talk) -> None:
    asked = json.loads(await talk.body())
    if not asked.get("stream"):
        said = json.dumps({"choices": [], "usage": USAGE}).encode()
        await talk.answer(200, said, fields=b"Content-Type: application/json\r\n")
        return
    talk.begin_chunks(fields=EVENTS)
    for n in range(3):
        talk.chunk(b'data: {"n":%d}\n\n' % n)
    if asked.get("stream_options"):
        talk.chunk(b"data: " + json.dumps({"usage": USAGE}).encode() + b"\n\n")
    if asked.get("user") == "cut":
        await talk.gone()
        return
    talk.chunk(b"data: [DONE]\n\n")
    talk.chunk(b"")


@pytest.mark.parametrize("header", ["Idempotency-Key", "Prefer"])
async def test_those_of_jobs_are_counted_once_when_the_model_makes_them(
    tmp_path: Path, header: str
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"a:{sha256(b'a').hexdigest()}\n")
    config: dict[str, Any] = {"auth": {"apiKeysFile": str(keys)}}
    fields = {"Authorization": "Bearer a", header: "wait=9"}
    async with stage(behave, dialect="openai", config=config) as s:
        for _ in range(2 if header == "Idempotency-Key" else 1):
            assert (await ask(s, chat("m"), **fields)).status == 200
        await ask(s, chat("m", stream=True), **{**fields, header: "wait=8"})

        assert s.live.metrics.tokens == {
            ("a", "in", "usage"): 7,
            ("a", "out", "usage"): 5,
            ("a", "in", "chunks"): 0,
            ("a", "out", "chunks"): 3,
        }


async def test_tokens_are_counted_by_key(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("".join(f"{n}:{sha256(n.encode()).hexdigest()}\n" for n in ("a", "b")))
    config: dict[str, Any] = {"auth": {"apiKeysFile": str(keys)}}
    async with stage(behave, dialect="openai", config=config) as s:
        asked = [
            ("a", chat("m")),
            ("a", chat("m")),
            ("a", chat("m", stream=True, stream_options={"include_usage": True})),
            ("b", chat("m", stream=True)),
        ]
        for key, body in asked:
            await ask(s, body, Authorization=f"Bearer {key}")

        assert s.live.metrics.tokens == {
            ("a", "in", "usage"): 21,
            ("a", "out", "usage"): 15,
            ("b", "in", "chunks"): 0,
            ("b", "out", "chunks"): 3,
        }


async def test_what_cannot_be_counted_is_answered_and_gives_its_slot_back() -> None:
    deep = b'{"x": {"usage": ' + b"[" * 1500 + b"]" * 1500 + b"}}"

    async def echo_deep(talk: Talk) -> None:
        await talk.body()
        await talk.answer(200, deep, fields=b"Content-Type: application/json\r\n")

    async with stage(echo_deep, dialect="openai", concurrency=1) as s:
        for _ in range(3):
            reply = await ask(s, chat("m"))
            assert (reply.status, reply.body) == (200, deep)
        assert s.live.gate.demand == 0
        assert s.live.metrics.tokens == {}


async def test_a_stream_that_is_left_counts_for_what_came() -> None:
    async with stage(behave, dialect="openai") as s:
        body = chat("m", stream=True, user="cut")
        client = await s.send(request(CHAT, method="POST", headers=JSON, body=body))
        await client.head()
        came = b""
        while came.count(b"data:") < 3:
            came += await client.chunk()
        await client.close()
        await eventually(lambda: s.live.metrics.tokens)

        assert s.live.metrics.tokens["", "out", "chunks"] == 3


async def test_prompts_that_begin_alike_meet_at_one_replica() -> None:
    async with stage(behave, replicas=3, dialect="openai", balance="prefix_hash") as s:
        met: dict[int, set[str]] = {}
        for number in range(12):
            system = {"role": "system", "content": f"{number} " + "be kind. " * 60}
            for turn in range(3):
                before = [len(one.requests) for one in s.replicas]
                await ask(s, chat("m", messages=[system, {"role": "user", "content": str(turn)}]))
                after = [len(one.requests) for one in s.replicas]
                (grown,) = [n for n in range(3) if after[n] > before[n]]
                met.setdefault(number, set()).add(s.replicas[grown].host)

        assert all(len(hosts) == 1 for hosts in met.values())
        assert len({host for hosts in met.values() for host in hosts}) > 1
