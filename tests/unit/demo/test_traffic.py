from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import ClientSession, web

from activator.demo.model import CORPUS, TextModel
from activator.demo.server import ModelServer
from activator.demo.traffic import Clients, Question

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MODEL = TextModel.fit(CORPUS.read_text(encoding="utf-8"))
QUESTION = Question("alpha", "(1) The baker", max_tokens=12, seed=4)


@asynccontextmanager
async def clients_of(runner: web.AppRunner) -> AsyncIterator[Clients]:
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with ClientSession() as session:
            yield Clients(session, port=runner.addresses[0][1], model=MODEL)
    finally:
        await runner.cleanup()


def saying(body: bytes, *, status: int = 200) -> web.AppRunner:
    """A server that answers anything with these bytes."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, status=status, headers={"X-Activator-Reason": "queue_full"})

    app = web.Application()
    app.router.add_post("/{path:.*}", answer)
    return web.AppRunner(app)


@pytest.mark.parametrize("chat", [False, True])
async def test_what_a_real_server_says_is_what_was_expected_of_it(*, chat: bool) -> None:
    question = Question("alpha", "The oven", max_tokens=20, seed=4, chat=chat)
    heard: list[str] = []

    async with clients_of(ModelServer(MODEL, tokens_per_second=0).runner()) as clients:
        reply = await clients.ask(question, on_text=heard.append)

    assert reply.problem is None
    assert reply.text == reply.expected == "".join(heard) != ""
    assert reply.first_byte_at is not None
    assert reply.ended_at is not None
    assert reply.sent_at <= reply.first_byte_at <= reply.ended_at


async def test_a_refusal_is_no_answer_and_its_reason_is_kept() -> None:
    async with clients_of(saying(b"{}", status=503)) as clients:
        reply = await clients.ask(QUESTION)

    assert reply.problem == "got status 503 (queue_full)"


@pytest.mark.parametrize(
    "cut",
    [
        b"",
        b'data: {"choices": [{"text": "so far"}]}\n\n',
        b'data: {"choices": [{"te',
        b'data: {"error": {"message": "gone"}}\n\n',
    ],
)
async def test_a_stream_that_does_not_say_it_is_done_is_no_answer(cut: bytes) -> None:
    async with clients_of(saying(cut)) as clients:
        reply = await clients.ask(QUESTION)

    assert reply.problem == "got an answer that was cut off"


async def test_a_server_that_is_not_there_is_no_answer() -> None:
    runner = saying(b"")
    async with clients_of(runner) as clients:
        await runner.cleanup()
        reply = await clients.ask(QUESTION)

    assert reply.problem is not None
    assert reply.problem.startswith("failed: ")
