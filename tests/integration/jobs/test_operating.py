"""What operators see and do of jobs: admin API, command line, metrics."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from activator.cli import main
from activator.telemetry.exposition import Format
from tests.integration.jobs.test_jobs import echo, leaves_first, post_job, until_state
from tests.stage import stage

if TYPE_CHECKING:
    from tests.stage import Stage

pytestmark = pytest.mark.usefixtures("each_store")

ONCE = {"jobs": {"attempts": 1}}


async def ask(s: Stage, method: str, path: str) -> tuple[int, Any]:
    url = f"http://127.0.0.1:{s.app.admin_port}{path}"
    body: dict[str, Any] = {} if method == "GET" else {"json": {}}
    async with aiohttp.ClientSession() as client, client.request(method, url, **body) as answer:
        return answer.status, await answer.json(content_type=None)


async def test_jobs_are_listed_shown_and_a_failed_one_is_tried_again() -> None:
    async with stage(leaves_first(1), config=ONCE) as s:
        job = await post_job(s)
        await until_state(s, job, "failed")
        status, listed = await ask(s, "GET", "/api/jobs?endpoint=m&state=failed&limit=5")
        assert (status, [one["id"] for one in listed["jobs"]]) == (200, [job["id"]])
        status, again = await ask(s, "POST", f"/api/jobs/{job['id']}/retry")
        assert (status, again["state"], again["attempt"]) == (200, "queued", 2)
        await until_state(s, job, "succeeded")


async def test_a_job_is_cancelled_by_an_operator() -> None:
    async with stage(echo, ready=False) as s:
        job = await post_job(s)
        status, cancelled = await ask(s, "DELETE", f"/api/jobs/{job['id']}")
        assert (status, cancelled["state"]) == (200, "cancelled")


async def test_what_is_not_there_is_said() -> None:
    async with stage(echo) as s:
        assert (await ask(s, "GET", "/api/jobs?endpoint=other"))[0] == 404
        assert (await ask(s, "GET", "/api/jobs?state=lost"))[0] == 400
        assert (await ask(s, "GET", "/api/jobs?limit=0"))[0] == 400
        assert (await ask(s, "GET", "/api/jobs/m.none"))[0] == 404


async def test_the_command_line_lists_shows_cancels_and_retries(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with stage(leaves_first(1), config=ONCE) as s:
        job = await post_job(s)
        await until_state(s, job, "failed")

        async def run(*argv: str) -> tuple[int, str]:
            admin = f"http://127.0.0.1:{s.app.admin_port}"
            code = await asyncio.to_thread(main, ["jobs", *argv, "--admin", admin])
            return code, capsys.readouterr().out

        code, shown = await run("list", "m", "--state", "failed")
        assert code == 0
        assert job["id"] in shown
        code, shown = await run("show", job["id"], "--json")
        assert json.loads(shown)["reason"] == "upstream_unreachable"
        assert (await run("cancel", job["id"]))[0] == 1
        assert (await run("retry", job["id"]))[0] == 0
        await until_state(s, job, "succeeded")


async def test_how_many_jobs_there_are_is_a_metric() -> None:
    async with stage(echo) as s:
        job = await post_job(s)
        await until_state(s, job, "succeeded")
        async with asyncio.timeout(5):
            while s.live.metrics.jobs.get("succeeded") != 1:
                await asyncio.sleep(0.02)
        text = "".join(s.app.metrics.render(Format.PLAIN))
        assert 'activator_jobs{endpoint="m",state="succeeded"} 1.0' in text
