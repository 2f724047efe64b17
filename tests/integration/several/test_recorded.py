"""Recorded requests of an activator that ends: the others go on with them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from typing import TYPE_CHECKING, Any

from tests.integration.several.test_faults import accept, location, result
from tests.rawclient import RawClient
from tests.several import Activator, Several, several
from tests.stage import NAME, request
from tests.support import eventually
from tests.town import spawn

if TYPE_CHECKING:
    from tests.rawclient import Reply
    from tests.replica import Talk


def keyed(target: str, body: bytes = b"in", **headers: str) -> bytes:
    return request(target, method="POST", headers={"Idempotency-Key": "k-1", **headers}, body=body)


async def jobs(activator: Activator) -> list[dict[str, Any]]:
    """All there are, the latest first."""
    found: list[dict[str, Any]] = (await activator.ask_admin("/api/jobs?endpoint=m")).json()["jobs"]
    return found


async def connected(activator: Activator, raw: bytes) -> RawClient:
    client = await RawClient.connect("127.0.0.1", activator.data)
    client.send(raw)
    return client


class Model:
    """Notes what it is asked, and answers when the test lets it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.on = asyncio.Event()

    async def __call__(self, talk: Talk) -> None:
        body = await talk.body()
        self.asked.append(talk.heard.target.decode())
        await self.on.wait()
        with contextlib.suppress(ConnectionError):
            await talk.answer(200, b"out:" + body)


async def test_a_keyed_request_goes_on_elsewhere_when_the_activator_that_has_it_is_killed() -> None:
    model = Model()
    model.on.set()
    async with several(3, behave=model, concurrency=1) as s:
        first, second, staying = s.activators
        s.starts_ready = False

        # held: its place is kept, before those who came later
        held = await connected(first, keyed("/held"))
        await s.until_in_line(1)
        later = spawn(staying.get("/later", within=60.0))
        await s.until_in_line(2)
        before = s.members()
        first.process.kill()
        await first.ended()
        retried = spawn(staying.ask(keyed("/held"), within=60.0))
        await until_claimed_again(s, staying)
        # in line again, in the name of whoever has claimed it, and no longer in the dead one's
        await eventually(
            lambda: len(s.members() - before) == 1 == len(s.members() & before), within=15.0
        )
        await eventually(lambda: s.running)
        s.running[0].ready = True
        assert (await retried).body == b"out:in"
        assert (await later).status == 200
        assert model.asked == ["/held", "/later"]
        await held.close()

        # in flight: repeated as another attempt
        model.on.clear()
        dying = await connected(second, keyed("/running"))
        await eventually(lambda: model.asked[-1] == "/running")
        second.process.kill()
        await second.ended()
        model.on.set()
        assert (await staying.ask(keyed("/running"), within=60.0)).body == b"out:in"
        assert model.asked[2:] == ["/running", "/running"]
        assert (await jobs(staying))[0]["attempt"] == 2
        await dying.close()


async def until_claimed_again(s: Several, activator: Activator) -> None:
    """The one job has come back into line, and out of it."""
    (job,) = await jobs(activator)
    events = f"{s.prefix}:{{{NAME}}}:jobs:ev:{job['id']}"
    await eventually(lambda: s.redis.ask("LLEN", events) == 4, within=15.0)


async def who_runs_it_first(s: Several) -> tuple[Activator, Activator]:
    one, other = s.activators
    return (one, other) if (await one.status())["in_flight"] else (other, one)


async def test_at_its_end_an_activator_gives_its_jobs_to_the_others() -> None:
    model = Model()
    async with several(2, behave=model, grace="1s", concurrency=1) as s:
        running = await accept(s.activators[0], 0)
        await eventually(lambda: model.asked == ["/0"])
        # either may have claimed it
        leaving, staying = await who_runs_it_first(s)
        queued = [await accept(leaving, number) for number in (1, 2)]
        waits = spawn(
            leaving.ask(request("/3", method="POST", headers={"Prefer": "wait=60"}, body=b"3"))
        )
        await s.until_in_line(3)
        leaving.tell(signal.SIGTERM)

        # what waits goes on at once, while what runs may finish: its slot is taken until then
        await eventually(lambda: model.asked == ["/0"] and leaving.logged("draining"))
        told: Reply = await waits
        assert (told.status, told.get("preference-applied")) == (202, b"wait=60")
        assert await leaving.ended() == 0
        model.on.set()

        for path in (running, *queued, location(told)):
            assert (await result(staying, path)).status == 200
        attempts = {path: json.loads((await staying.get(path)).body)["attempt"] for path in
                    (running, *queued, location(told))}  # fmt: skip
        assert attempts[running] == 2  # it had not finished within the grace
        assert [attempts[path] for path in (*queued, location(told))] == [1, 1, 1]
        assert sorted(model.asked) == ["/0", "/0", "/1", "/2", "/3"]
