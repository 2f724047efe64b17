"""Whatever several activators do to jobs in Redis, nothing goes astray or is left behind."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from random import Random

from activator.core.jobs import ForbiddenStep, JobsPolicy, JobState, Outcome, Superseded
from activator.errors import QueueFull
from activator.queueing.jobs import Claim, Created, JobStore, Output, ResultTooLarge
from tests.contract.jobs.audit import audit, leftovers
from tests.contract.jobs.stage import AGE, HEAD, RedisStage, admitted, job_id
from tests.redis_server import opened_link

POLICY = JobsPolicy(
    max_body=1 << 20, max_result=2000, ttl=60.0, retention=30.0, attempts=2, join_grace=10.0
)
OPERATIONS = 10_000
FAILURE = Outcome(JobState.FAILED, "upstream_timeout", "not one byte")


class Crowd:
    """Three activators that do anything to any job."""

    def __init__(self, stage: RedisStage, seed: int) -> None:
        self.stage = stage
        self.dice = Random(seed)
        self.born = 0
        self.stores = [self.another() for _ in range(3)]
        self.ids: list[str] = []
        self.claims: list[tuple[JobStore, Claim]] = []
        self.done: Counter[str] = Counter()

    def another(self) -> JobStore:
        self.born += 1
        return self.stage.open(f"act{self.born}")

    async def take_a_step(self) -> None:
        dice = self.dice
        store = dice.choice(self.stores)
        name = dice.choices(
            ["create", "claim", "hold", "touch", "sweep", "hooks", "die", "time"],
            [20, 15, 40, 15, 4, 3, 0.5, 3],
        )[0]
        with suppress(Superseded, ForbiddenStep, QueueFull, ResultTooLarge):
            match name:
                case "create":
                    await self.create(store)
                case "claim":
                    cold = dice.random() < 0.5
                    claims = await store.claim("m", dice.randrange(4), age=AGE, cold=cold)
                    self.claims += ((store, claim) for claim in claims.claims)
                case "hold" if self.claims:
                    await self.hold(*dice.choice(self.claims[-20:]))
                case "touch" if self.ids:
                    await self.touch(store, dice.choice(self.ids[-50:]))
                case "sweep":
                    await store.sweep("m")
                case "hooks":
                    for hook in await store.hooks_due("m", 3, lease=5.0):
                        await store.hook_done(hook.record.job.id)
                case "die":
                    self.stores.remove(store)
                    self.stores.append(self.another())
                    await self.stores[-1].requeue_claims_of(store.me, "m")
                case "time":
                    self.stage.offset += dice.choice([1.0, 3.0, 12.0])
            self.done[name] += 1

    async def create(self, store: JobStore) -> None:
        dice = self.dice
        body = b"x" * dice.choice([0, 5, 5, 5, 300_000])
        admission = await admitted(
            store,
            body,
            key=dice.choice(["", "", f"key {dice.randrange(20)}"]),
            detached=dice.random() < 0.5,
            reading=dice.random() < 0.5,
            claim=dice.random() < 0.2,
            most=dice.choice([0, 50]),
            webhook=dice.choice(["", "https://hooks.example.com"]),
            urgency=dice.randrange(8),
        )
        if isinstance(admission, Created):
            self.ids.append(admission.record.job.id)
            if admission.claim is not None:
                self.claims.append((store, admission.claim))

    async def hold(self, store: JobStore, claim: Claim) -> None:
        match self.dice.randrange(7):
            case 0:
                await store.begin(claim)
            case 1:
                await store.append(claim, Output(0, HEAD, (b"a", b"b" * 400)))
            case 2:
                await store.append(claim, Output(3, None, (b"c" * 1000,)))
            case 3:
                await store.finish(claim, output=Output(0, HEAD, (b"a", b"b" * 400)))
            case 4:
                await store.finish(claim, FAILURE)
            case 5:
                delay = self.dice.choice([None, 0.0, 5.0])
                await store.requeue(claim, reason="r", detail="d", delay=delay)
            case _:
                await store.give_back(claim)

    async def touch(self, store: JobStore, id_: str) -> None:
        match self.dice.randrange(6):
            case 0:
                await store.join(id_)
            case 1:
                await store.leave(id_)
            case 2:
                await store.cancel(id_, reason="cancelled", detail="")
            case 3:
                await store.retry(id_)
            case 4:
                await store.detach(id_)
            case _:
                await store.page(id_)


async def test_nothing_is_left_behind_after_ten_thousand_operations() -> None:
    async with opened_link() as link:
        stage = RedisStage(link, policy=POLICY)
        crowd = Crowd(stage, seed=1)
        for number in range(OPERATIONS):
            await crowd.take_a_step()
            if number % 2000 == 0:
                assert await audit(link) == []
        assert await audit(link) == []
        assert sum(crowd.done.values()) > OPERATIONS / 2

        for store in crowd.stores:
            await store.requeue_claims_of(store.me, "m")
        last = crowd.another()
        for _ in range(4):
            stage.offset += POLICY.ttl + POLICY.retention
            await last.sweep("m")

        assert await leftovers(link) == []
        await stage.aclose()


async def test_each_job_is_claimed_by_one_whoever_asks_at_the_same_time() -> None:
    async with opened_link() as link:
        stage = RedisStage(link)
        stores = [stage.open(f"act{number}") for number in range(4)]
        ids = [await job_id(stores[0]) for _ in range(200)]

        claimed = await asyncio.gather(
            *(store.claim("m", 7, age=AGE) for _ in range(10) for store in stores)
        )

        seen = [claim.id for claims in claimed for claim in claims.claims]
        assert sorted(seen) == sorted(ids)
        for claims in claimed:
            places = [ids.index(claim.id) for claim in claims.claims]
            assert places == sorted(places)
        assert await audit(link) == []
        await stage.aclose()
