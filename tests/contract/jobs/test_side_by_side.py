"""The store of jobs in memory and the one in Redis answer alike, whatever is asked of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from activator.core.jobs import ForbiddenStep, Job, JobsPolicy, JobState, Outcome, Superseded
from activator.errors import QueueFull, StoreUnavailable
from activator.queueing.jobs import (
    Claim,
    Claims,
    Conflict,
    Created,
    Hook,
    Joined,
    Output,
    Page,
    Record,
    ResultHead,
    ResultTooLarge,
)
from tests.contract.jobs.audit import audit
from tests.contract.jobs.stage import MemoryStage, RedisStage, admitted
from tests.redis_server import executable, opened_link

if TYPE_CHECKING:
    from activator.queueing.jobs import JobStore
    from tests.contract.jobs.stage import Stage

Step: TypeAlias = "tuple[str, dict[str, Any]]"

POLICY = JobsPolicy(
    max_body=1000, max_result=300, ttl=100.0, retention=50.0, attempts=2, join_grace=20.0
)
HEAD = ResultHead(status=200, lines=(b"A: b",), length=-1)
NEAR = 3.0
"""Seconds: longer than a course takes, and shorter than what any of them are apart."""
FAR = 1e6
LOOK_EVERY = 4
"""Steps: what has gone astray does not come back by itself."""
REFUSALS = (Superseded, ForbiddenStep, QueueFull, StoreUnavailable, ResultTooLarge)

who = st.sampled_from("ab")
which = st.integers(0, 5)
flag = st.booleans()
seconds = st.sampled_from([0, 5, 10, 21, 51, 101])
texts = st.sampled_from(["", "refused: caf\u00e9\tor\nnot"])


def step(name: str, **arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(name), st.fixed_dictionaries({"who": who, **arguments}))


STEPS = {
    "create": step(
        "create",
        body=st.sampled_from([b"", b"x", b"yy"]),
        urgency=st.integers(3, 5),
        waited=st.sampled_from([0.0, 9.0]),
        detached=flag,
        reading=flag,
        key=st.sampled_from(["", "", "k", "l"]),
        most=st.sampled_from([0, 0, 3]),
        crowded=st.sampled_from([False, False, False, True]),
        claim=flag,
        cold=flag,
        webhook=st.sampled_from(["", "https://hooks.example.com"]),
    ),
    "claim": step(
        "claim",
        limit=st.integers(0, 3),
        age=st.sampled_from([30.0, 30.0, 0.0]),
        cold=flag,
    ),
    "begin": step("begin", which=which),
    "append": step(
        "append",
        which=which,
        at=st.integers(0, 3),
        head=flag,
        chunks=st.lists(st.sampled_from([b"a", b"bc" * 60]), max_size=3),
    ),
    "finish": step(
        "finish",
        which=which,
        state=st.sampled_from([JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED]),
        head=flag,
        reason=texts,
    ),
    "give_back": step("give_back", which=which),
    "requeue": step("requeue", which=which, delay=st.sampled_from([None, 0.0, 10.0]), reason=texts),
    "body": step("body", which=which),
    "cancel": step("cancel", which=which, reason=texts),
    "retry": step("retry", which=which),
    "detach": step("detach", which=which),
    "join": step("join", which=which),
    "leave": step("leave", which=which),
    "abandon": step("abandon", which=which, reason=texts),
    "page": step("page", which=which, attempt=st.integers(0, 2), at=st.integers(0, 3)),
    "sweep": step("sweep"),
    "dies": step("dies"),
    "hooks": step("hooks", limit=st.integers(1, 2)),
    "hook_later": step("hook_later", which=which),
    "hook_done": step("hook_done", which=which),
    "pass": step("pass", seconds=seconds),
}
OFTEN = ("create", "create", "create", "claim", "claim", "begin", "append", "finish", "requeue")
courses = st.lists(
    st.one_of(*STEPS.values(), *(STEPS[name] for name in OFTEN)), min_size=20, max_size=60
)


class Moment(float):
    """The two stores are not asked in the same moment."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and abs(float(self) - float(other)) < NEAR

    def __hash__(self) -> int:
        return 0


@dataclass
class Side:
    """One of the stores; jobs and claims are known by their numbers on both."""

    stage: Stage
    stores: dict[str, JobStore] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    claims: list[tuple[JobStore, Claim]] = field(default_factory=list)
    uploads: int = 0

    def __post_init__(self) -> None:
        self.stores = {me: self.stage.open(me) for me in "ab"}

    async def take(self, name: str, arguments: dict[str, Any]) -> Any:
        """What the store answers, in what both have in common; or what it raises."""
        said = dict(arguments)
        me = said.pop("who")
        try:
            return await self._take(name, me, self.stores[me], said)
        except REFUSALS as refusal:
            return next(kind for kind in REFUSALS if isinstance(refusal, kind))

    async def _take(self, name: str, me: str, store: JobStore, said: dict[str, Any]) -> Any:
        match name:
            case "pass":
                self.stage.offset += said["seconds"]
            case "create":
                body = said.pop("body")
                self.uploads += 1  # ids alike: of two in the same moment the smaller one is first
                admission = await admitted(store, body, number=self.uploads, **said)
                return self._admission(store, admission)
            case "claim":
                return self._claimed(store, await store.claim("m", **said))
            case "sweep":
                swept = await store.sweep("m")
                again_in = Moment(min(swept.again_in, FAR))
                ended = {self._job(job) for job in swept.ended}
                return ended, swept.deleted, again_in, swept.hooks_due
            case "dies":
                self.stores[me] = self.stage.open(f"{me}{len(self.claims)}")
                requeued = await self.stores[me].requeue_claims_of(store.me, "m")
                return {self._job(job) for job in requeued}
            case "hooks":
                hooks = await store.hooks_due("m", said["limit"], lease=15.0)
                return [self._hook(hook) for hook in hooks]
            case "begin" | "append" | "finish" | "give_back" | "requeue" | "body":
                if self.claims:
                    return await self._by_holder(name, said)
            case _ if self.ids:
                job_id = self.ids[said.pop("which") % len(self.ids)]
                return await self._by_anybody(name, store, job_id, said)
        return None

    async def _by_holder(self, name: str, said: dict[str, Any]) -> Any:
        store, claim = self.claims[-1 - said.pop("which") % len(self.claims)]
        match name:
            case "begin":
                return self._job(await store.begin(claim))
            case "append":
                await store.append(claim, _output(**said))
            case "finish":
                output = _output(0, said["head"], [b"z"] if said["head"] else [])
                reason = "" if said["state"] is JobState.SUCCEEDED else said["reason"]
                outcome = Outcome(said["state"], reason, reason)
                return self._job(await store.finish(claim, outcome, output, trailers=(b"T: 1",)))
            case "give_back":
                await store.give_back(claim)
            case "requeue":
                said["detail"] = said["reason"]
                return self._job(await store.requeue(claim, **said))
            case "body":
                return b"".join([piece async for piece in store.body(claim)])
        return None

    async def _by_anybody(
        self, name: str, store: JobStore, job_id: str, said: dict[str, Any]
    ) -> Any:
        match name:
            case "cancel":
                reason = said["reason"]
                job = await store.cancel(job_id, reason=reason, detail=reason)
                return job and self._job(job)
            case "retry" | "detach" | "join":
                job = await getattr(store, name)(job_id)
                return job and self._job(job)
            case "leave":
                await store.leave(job_id)
            case "abandon":
                return await store.abandon(job_id, detail="d", **said)
            case "page":
                return self._page(await store.page(job_id, **said))
            case "hook_later":
                await store.hook_later(job_id, delay=5.0)
            case "hook_done":
                await store.hook_done(job_id)
        return None

    async def state(self) -> dict[str, Any]:
        """All that can be seen."""
        store = self.stores["a"]
        seen: dict[str, Any] = {
            "counts": {state: count for state, count in (await store.counts("m")).items() if count},
            "recent": [self._record(record) for record in await store.recent("m")],
            "failed": [
                self._record(record)
                for record in await store.recent("m", states=[JobState.FAILED], limit=2)
            ],
            "claimants": await store.claimants("m"),
            "bytes": await self.stage.bytes_kept(),
        }
        for number, job_id in enumerate(self.ids):
            events = await store.events(job_id)
            seen[f"job {number}"] = (
                self._record(await store.get(job_id)),
                await store.place(job_id),
                self._page(await store.page(job_id)),
                events and [replace(event, at=Moment(event.at)) for event in events],
            )
        return seen

    # --- in what both have in common: numbers for ids, moments near enough

    def _number(self, job_id: str) -> str:
        if job_id not in self.ids:
            self.ids.append(job_id)
        return f"job {self.ids.index(job_id)}"

    def _job(self, job: Job) -> Job:
        moments = ("created", "expires", "arrived", "not_before", "began", "ended", "unread_since")
        seen: dict[str, Any] = {name: Moment(getattr(job, name)) for name in moments}
        for name in ("holder", "last_holder"):
            seen[name] = getattr(job, name).partition(":")[0]
        return replace(job, id=self._number(job.id), **seen)

    def _record(self, record: Record | None) -> Record | None:
        return record and replace(record, job=self._job(record.job))

    def _page(self, page: Page | None) -> Page | None:
        return page and replace(page, job=self._job(page.job))

    def _hook(self, hook: Hook) -> Any:
        return self._record(hook.record), hook.tries

    def _claim(self, store: JobStore, claim: Claim) -> Record | None:
        self.claims.append((store, claim))
        assert claim.record.job.holder == claim.holder
        return self._record(claim.record)

    def _claimed(self, store: JobStore, claims: Claims) -> Any:
        again = None if claims.again_in is None else Moment(claims.again_in)
        return [self._claim(store, claim) for claim in claims.claims], again

    def _admission(self, store: JobStore, admission: Any) -> Any:
        match admission:
            case Created(record, claim):
                return "created", self._record(record), claim and self._claim(store, claim)
            case Joined(record):
                return "joined", self._record(record)
            case Conflict(job_id):
                return "conflict", self._number(job_id)


def _output(at: int, head: bool, chunks: list[bytes]) -> Output:
    return Output(at, HEAD if at == 0 and head else None, tuple(chunks))


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
    phases=[Phase.generate],  # to make a failure shorter takes minutes
)
@given(course=courses)
def test_both_stores_answer_alike(course: list[Step]) -> None:
    executable()
    asyncio.run(play(course))


async def play(course: list[Step]) -> None:
    async with opened_link() as link:
        redis = RedisStage(link, policy=POLICY)
        here, there = Side(MemoryStage(policy=POLICY)), Side(redis)
        for number, (name, arguments) in enumerate(course):
            ours, theirs = await here.take(name, arguments), await there.take(name, arguments)
            assert ours == theirs, f"after {course[: number + 1]}"
            if number % LOOK_EVERY == 0 or number == len(course) - 1:
                assert await here.state() == await there.state(), f"after {course[: number + 1]}"
        assert await audit(link) == []
        await redis.aclose()
