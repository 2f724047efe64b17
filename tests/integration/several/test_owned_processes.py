"""Activators whose replicas are processes of their own: one set of them, whoever is asked."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tests.model_process
from tests.several import Activator, Several, several
from tests.stage import NAME
from tests.support import eventually
from tests.town import spawn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WOKEN_WITHIN = 30.0
"""Seconds: a process starts on a machine that may be busy."""


class Models:
    """The processes, as the machine has them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def started(self) -> set[int]:
        """Ever."""
        return {int(each.name) for each in self.folder.iterdir() if each.name.isdigit()}

    @property
    def running(self) -> set[int]:
        return {pid for pid in self.started if _runs(pid)}

    def let_go(self, name: str) -> None:
        (self.folder / name).touch()


def _runs(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    return False


@contextlib.asynccontextmanager
async def town(count: int, **endpoint: Any) -> AsyncIterator[tuple[Several, Models]]:
    with tempfile.TemporaryDirectory() as name:
        models = Models(Path(name))
        script = tests.model_process.__file__
        command = [sys.executable, "-E", "-S", script, "{port}", name]
        backend = {"type": "process", "command": command, "stopGrace": "1s"}
        async with several(count, own=True, backend=backend, **endpoint) as s:
            yield s, models


def holder_of(s: Several) -> bytes:
    """Who the store says owns it; an owner gives it back only after it has seen the last end."""
    held: bytes = s.redis.ask("HGET", f"{s.prefix}:{{{NAME}}}:deed", "holder")
    return held


async def owner_of(s: Several) -> Activator:
    """Who has started what runs now."""
    (owner,) = await eventually(lambda: [each for each in s.activators if each.logged("owned")])
    return owner


async def test_however_many_activators_there_is_one_set_of_processes_and_all_use_it() -> None:
    async with town(3) as (s, models):
        woken = await asyncio.gather(
            *(each.get(f"/{n}", within=WOKEN_WITHIN) for each in s.activators for n in range(5))
        )

        assert {reply.status for reply in woken} == {200}
        assert len(models.started) == 1
        assert {int(reply.body) for reply in woken} == models.running
        owner = await owner_of(s)
        # it ends and nobody needs it: then it is nobody's, and one of them starts the next
        other = next(each for each in s.activators if each is not owner)
        os.kill(models.running.pop(), signal.SIGKILL)
        await eventually(lambda: not models.running and not holder_of(s))
        assert (await other.get("/again", within=WOKEN_WITHIN)).status == 200
        assert len(models.started) == 2
        assert sum([len(await each.logged_by_now("owned")) for each in s.activators]) == 2


async def test_when_the_owner_is_killed_another_starts_the_processes_and_serves_who_waits() -> None:
    async with town(2, concurrency=1) as (s, models):
        assert (await s.activators[0].get("/", within=WOKEN_WITHIN)).status == 200
        owner = await owner_of(s)
        (other,) = (each for each in s.activators if each is not owner)
        (before,) = models.running
        busy = spawn(owner.get("/wait/never"))
        await owner.until_status(within=5.0, in_flight=1)
        held = [spawn(other.get(f"/{n}", within=WOKEN_WITHIN)) for n in range(3)]
        await s.until_in_line(3)

        owner.process.kill()

        replies = await asyncio.gather(*held)
        assert [reply.status for reply in replies] == [200] * 3
        assert before not in models.running
        assert {int(reply.body) for reply in replies} == models.running
        assert len(models.started) == 2
        assert await s.in_line() == 0
        await asyncio.gather(busy, return_exceptions=True)


async def test_when_the_owner_is_stopped_under_load_nothing_is_lost() -> None:
    async with town(2) as (s, models):
        assert (await s.activators[0].get("/", within=WOKEN_WITHIN)).status == 200
        owner = await owner_of(s)
        (other,) = (each for each in s.activators if each is not owner)
        (before,) = models.running
        long = [spawn(each.get("/wait/go", within=WOKEN_WITHIN)) for each in (owner, other)]
        for each in (owner, other):
            await each.until_status(within=5.0, in_flight=1)
        failed: list[Any] = []
        served: set[int] = set()

        async def load() -> None:
            while len(served) < 2:
                reply = await other.get("/", within=WOKEN_WITHIN)
                served.add(int(reply.body)) if reply.status == 200 else failed.append(reply)

        loads = [spawn(load()) for _ in range(4)]
        await eventually(lambda: served)
        owner.tell(signal.SIGTERM)
        await other.until_status(within=10.0, held=4)  # it knows, and starts nothing yet
        assert models.running == {before}
        models.let_go("go")

        assert [reply.status for reply in await asyncio.gather(*long)] == [200, 200]
        await asyncio.gather(*loads)
        assert await owner.ended() == 0
        assert failed == []
        assert before in served
        assert models.running == served - {before}


async def test_an_owner_that_stands_still_is_followed_and_finishes_what_it_has_when_it_wakes() -> (
    None
):
    async with town(2) as (s, models):
        assert (await s.activators[0].get("/", within=WOKEN_WITHIN)).status == 200
        owner = await owner_of(s)
        (other,) = (each for each in s.activators if each is not owner)
        (before,) = models.running
        long = [spawn(each.get("/wait/go", within=2 * WOKEN_WITHIN)) for each in s.activators]
        for each in s.activators:
            await each.until_status(within=5.0, in_flight=1)

        owner.tell(signal.SIGSTOP)
        assert int((await other.get("/", within=WOKEN_WITHIN)).body) == before
        await other.until_logged("owner_lost")
        reply = await other.get("/", within=WOKEN_WITHIN)
        assert reply.status == 200
        assert int(reply.body) != before
        assert before in models.running  # its own are not its successor's to stop
        owner.tell(signal.SIGCONT)
        await owner.until_logged("stepped_down")

        anew = await eventually(lambda: models.running - {before})
        assert {int((await each.get("/")).body) for each in s.activators} == anew
        assert before in models.running
        models.let_go("go")
        finished = await asyncio.gather(*long)
        assert [(reply.status, int(reply.body)) for reply in finished] == [(200, before)] * 2
        await eventually(lambda: models.running == anew)
        assert len(models.started) == 2


async def test_while_redis_is_away_the_processes_run_on_and_all_use_them() -> None:
    async with town(2, scale={"idleTimeout": "500ms"}) as (s, models):
        assert (await s.activators[0].get("/", within=WOKEN_WITHIN)).status == 200
        running = models.running
        s.redis.kill()

        # longer than an owner may be silent, and than the endpoint may idle
        for _ in range(10):
            await asyncio.sleep(0.3)
            replies = await asyncio.gather(*(each.get("/") for each in s.activators))
            assert [(each.status, {int(each.body)}) for each in replies] == [(200, running)] * 2
        await asyncio.sleep(1.0)
        assert models.running == running
        s.redis.start()  # which has lost all it knew

        # it is idle: the order to stop goes by the deed, which its owner has told anew
        await eventually(lambda: not models.running, within=15.0)
        assert models.started == running
        again = await asyncio.gather(*(each.get("/", within=WOKEN_WITHIN) for each in s.activators))
        assert {reply.status for reply in again} == {200}
        assert len(models.started) == 2


async def test_of_several_processes_the_one_that_somebody_uses_stays() -> None:
    scale = {"max": 3, "targetConcurrency": 1, "downDelay": "200ms", "idleTimeout": "300ms"}
    async with town(2, concurrency=1, scale=scale) as (s, models):
        one, other = s.activators
        askers = {"a": one, "b": other, "c": one, "d": other}
        waiting = {
            name: spawn(each.get(f"/wait/{name}", within=2 * WOKEN_WITHIN))
            for name, each in askers.items()
        }
        await eventually(lambda: len(models.running) == 3, within=WOKEN_WITHIN)
        models.let_go("a")
        for name in ("c", "d"):
            models.let_go(name)
        done = await asyncio.gather(*(waiting[name] for name in ("a", "c", "d")))
        assert {reply.status for reply in done} == {200}

        await eventually(lambda: len(models.running) == 1, within=WOKEN_WITHIN)
        (left,) = models.running
        models.let_go("b")

        reply = await waiting["b"]
        assert (reply.status, int(reply.body)) == (200, left)
        await eventually(lambda: not models.running, within=WOKEN_WITHIN)
        assert len(models.started) == 3
