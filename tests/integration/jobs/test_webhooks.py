"""Webhooks of jobs: called on completion, signed, again after a failure, and not anywhere else."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from activator.control.hooks import Hooks
from activator.core.webhooks import signature
from tests.faults import Faulty, failures
from tests.integration.jobs.test_jobs import ASYNC, echo, post_job
from tests.stage import stage
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Receiver:
    def __init__(self) -> None:
        self.calls: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}/hook"

    async def take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.calls.append((headers, await request.read()))
        status = self.answers.pop(0) if self.answers else 204
        return web.Response(status=status, headers={"Location": "/elsewhere"})


@contextlib.asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    app = web.Application()
    app.router.add_post("/hook", made.take)
    app.router.add_post("/elsewhere", made.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "localhost", 0)
    await site.start()
    made.port = runner.addresses[0][1]
    try:
        yield made
    finally:
        await runner.cleanup()


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    return {
        "webhooks": {
            "allow": ["localhost"],
            "secret": "${HOOK_SECRET}",
            "privateAddresses": True,
        }
    }


async def test_the_end_of_a_job_is_told_and_signed(config: dict[str, Any]) -> None:
    async with receiver() as hook, stage(echo, config=config) as s:
        job = await post_job(s, b"in", **{"X-Activator-Webhook": hook.url})
        await eventually(lambda: hook.calls)
        headers, body = hook.calls[0]
        told = json.loads(body)
        assert told["type"] == "job.succeeded"
        assert told["data"]["id"] == job["id"]
        assert headers["webhook-signature"] == signature(
            SECRET,
            message_id=headers["webhook-id"],
            timestamp=int(headers["webhook-timestamp"]),
            body=body,
        )
        assert s.replica.requests[0].get("x-activator-webhook") is None


async def test_a_redirect_is_not_followed_and_counts_as_a_failure(config: dict[str, Any]) -> None:
    async with receiver() as hook, stage(echo, config=config) as s:
        hook.answers = [302]
        await post_job(s, b"in", **{"X-Activator-Webhook": hook.url})
        await eventually(lambda: len(hook.calls) == 2, within=10)
        assert hook.calls[0][0]["webhook-id"] == hook.calls[1][0]["webhook-id"]


async def test_who_is_not_allowed_is_refused_when_the_job_is_made(config: dict[str, Any]) -> None:
    async with stage(echo, config=config) as s:
        headers = {**ASYNC, "X-Activator-Webhook": "https://elsewhere.example/"}
        reply = await s.post(b"in", headers=headers)
        assert (reply.status, reply.why) == (400, "bad_request")
        assert b"webhooks.allow" in reply.body


async def test_a_name_with_a_private_address_is_not_called(config: dict[str, Any]) -> None:
    config["webhooks"]["privateAddresses"] = False
    async with receiver() as hook, stage(echo, config=config) as s:
        job = await post_job(s, b"in", **{"X-Activator-Webhook": hook.url})
        jobs: Any = s.app._stores.jobs
        await eventually(lambda: jobs._book.entry(job["id"]).hook_tries == 1)
        assert not hook.calls


async def test_a_call_that_meets_a_fault_of_ours_has_failed_and_is_made_again(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with receiver() as hook, stage(echo, config=config) as s:
        Faulty(monkeypatch, Hooks, "_call")
        job = await post_job(s, b"in", **{"X-Activator-Webhook": hook.url})
        await eventually(lambda: hook.calls, within=10)
        assert json.loads(hook.calls[0][1])["data"]["id"] == job["id"]
    assert failures(caplog) == [f"hooks/call {job['id']}"]
