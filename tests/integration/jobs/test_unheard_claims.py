"""A claim whose answer Redis never gave, by an activator that claims no more: its jobs go back in
line, and do not wait for that activator's end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from activator.queueing import redis_job_calls as scripts
from activator.redisio.failures import Unanswered
from tests.integration.jobs.support import elsewhere
from tests.integration.jobs.test_faults import recorded, store_of, until_claimed
from tests.integration.jobs.test_jobs import echo, post_job
from tests.redis_server import fresh_prefix, shared_server
from tests.stage import stage, store
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _over_a_redis() -> Iterator[None]:
    token = store.set({"url": shared_server().url, "prefix": fresh_prefix()})
    yield
    store.reset(token)


class Cut:
    """The store's answers to claims are lost, all until it is mended, as those of a connection that
    was silent for too long."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, calls: Any) -> None:
        self.claimed = asyncio.Event()
        self.may_fail = asyncio.Event()
        self.failed = 0
        self.is_mended = False
        self._run_once = calls.run_once
        monkeypatch.setattr(calls, "run_once", self._run)

    async def _run(self, script: Any, endpoint: str, *args: Any) -> Any:
        if script is not scripts.CLAIM or self.is_mended:
            return await self._run_once(script, endpoint, *args)
        if self.claimed.is_set():
            self.failed += 1
            raise Unanswered("nothing came")
        answer = await self._run_once(script, endpoint, *args)
        if len(answer) > 1:
            self.claimed.set()
            await self.may_fail.wait()
            await asyncio.sleep(2 * scripts.SOON)
            self.failed += 1
            raise Unanswered("the answer did not come")
        return answer


@pytest.mark.parametrize("stops_first", [False, True])
@pytest.mark.parametrize("goes", [False, True])
async def test_its_jobs_go_back_in_line_once_the_store_answers(
    monkeypatch: pytest.MonkeyPatch, *, stops_first: bool, goes: bool
) -> None:
    async with stage(echo, from_zero=True) as s, elsewhere(s, "b") as other:
        cut = Cut(monkeypatch, store_of(s)._calls)
        job = await post_job(s)
        await cut.claimed.wait()
        if not stops_first:
            cut.may_fail.set()
            await eventually(lambda: cut.failed)
        if goes:
            live = s.app.registry.get("m")
            assert live is not None
            s.app.workers.remove(live)
        else:
            await s.app.workers.stop_claiming()
        cut.may_fail.set()
        failed = cut.failed
        await eventually(lambda: cut.failed > failed)
        assert (await recorded(other, job)).holder

        cut.is_mended = True
        await until_claimed(other, job, by_somebody=False)
