"""What every JobStore promises to those who read: results and events, while they are written."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from activator.core.jobs import JobState, Outcome, Superseded
from activator.queueing.following import ResultReader, follow_events
from activator.queueing.jobs import Lost, Output, ResultHead, Work
from tests.contract.jobs.stage import HEAD, answered, begun, claimed, created, job_id, started
from tests.support import eventually

if TYPE_CHECKING:
    from activator.core.jobs import Event
    from activator.queueing.jobs import JobStore, Told
    from tests.contract.jobs.stage import Stage

FAILURE = Outcome(JobState.FAILED, "upstream_timeout", "not one byte")


async def rest_of(reader: ResultReader) -> bytes:
    pieces: list[bytes] = []
    while chunks := await reader.more():
        pieces += chunks
    return b"".join(pieces)


# --- results


async def test_a_result_is_read_page_by_page(a: JobStore, b: JobStore) -> None:
    id_ = await job_id(a)
    claim = await begun(a)
    assert (page := await b.page(id_)) is not None
    assert (page.head, page.chunks, page.next, page.outcome) == (None, (), 0, None)
    await a.append(claim, Output(0, HEAD, (b"a", b"b")))
    assert (page := await b.page(id_)) is not None
    assert (page.head, page.chunks, page.next) == (HEAD, (b"a", b"b"), 3)
    assert (page := await b.page(id_, at=2)) is not None
    assert (page.head, page.chunks, page.next) == (None, (b"b",), 3)
    assert (page := await b.page(id_, at=3)) is not None
    assert (page.chunks, page.next, page.outcome) == ((), 3, None)
    await a.finish(claim)
    assert (page := await b.page(id_, at=3)) is not None
    assert page.outcome == Outcome(JobState.SUCCEEDED)


async def test_a_large_result_comes_in_bounded_pages(a: JobStore, b: JobStore) -> None:
    id_ = await job_id(a)
    claim = await begun(a)
    pieces = tuple(bytes([number]) * 300_000 for number in range(10))
    await a.append(claim, Output(0, HEAD, pieces[:5]))
    await a.append(claim, Output(6, None, pieces[5:]))
    await a.finish(claim)

    reader = ResultReader(b, id_)
    assert await reader.head() == HEAD
    seen: list[bytes] = []
    while chunks := await reader.more():
        assert sum(map(len, chunks)) <= 1 << 20
        seen += chunks
    assert b"".join(seen) == b"".join(pieces)
    assert await reader.more() == ()
    reader.close()


async def test_a_result_is_read_while_it_is_written(a: JobStore, b: JobStore) -> None:
    id_ = await job_id(a)
    reader = ResultReader(b, id_)
    head = started(reader.head())
    claim = await begun(a)
    await a.append(claim, Output(0, HEAD))
    assert await asyncio.wait_for(head, 2) == HEAD
    for number in range(1, 6):
        more = started(reader.more())
        await asyncio.sleep(0)
        await a.append(claim, Output(number, None, (b"%d" % number,)))
        assert await asyncio.wait_for(more, 2) == (b"%d" % number,)
    more = started(reader.more())
    await a.finish(claim, output=Output(6, None, (b"end",)), trailers=(b"T: 1",))

    assert await asyncio.wait_for(more, 2) == (b"end",)
    assert await reader.more() == ()
    assert reader.outcome == Outcome(JobState.SUCCEEDED)
    assert reader.trailers == (b"T: 1",)
    reader.close()


async def test_who_waits_for_the_head_is_told_of_a_failure(a: JobStore, b: JobStore) -> None:
    id_ = await job_id(a)
    reader = ResultReader(b, id_)
    head = started(reader.head())
    await a.finish(await claimed(a), FAILURE)

    assert await asyncio.wait_for(head, 2) == FAILURE
    assert await reader.more() == ()
    reader.close()


async def test_a_reader_before_the_head_goes_on_with_the_next_attempt(
    a: JobStore, b: JobStore
) -> None:
    id_ = await job_id(a)
    reader = ResultReader(b, id_)
    head = started(reader.head())
    await a.requeue(await begun(a), reason="r", detail="d", delay=0.0)
    await answered(b, await begun(b), b"second")

    assert await asyncio.wait_for(head, 2) == HEAD
    assert await rest_of(reader) == b"second"
    reader.close()


async def test_a_reader_of_a_superseded_attempt_is_broken_off(a: JobStore, b: JobStore) -> None:
    id_ = await job_id(a)
    claim = await begun(a)
    await a.append(claim, Output(0, HEAD, (b"first",)))
    reader = ResultReader(b, id_)
    await reader.head()
    assert await reader.more() == (b"first",)
    more = started(reader.more())
    await b.requeue_claims_of("a", "m")
    await answered(b, await begun(b), b"first and more")

    with pytest.raises(Superseded):
        await asyncio.wait_for(more, 2)
    with pytest.raises(Superseded):
        await b.page(id_, attempt=1, at=2)
    reader.close()


async def test_a_cut_answer_shows_how_it_ended(a: JobStore, b: JobStore) -> None:
    id_ = await job_id(a)
    claim = await begun(a)
    await a.append(claim, Output(0, HEAD, (b"half",)))
    reader = ResultReader(b, id_)
    await reader.head()
    assert await reader.more() == (b"half",)
    await a.finish(claim, FAILURE)

    assert await reader.more() == ()
    assert reader.outcome == FAILURE
    reader.close()


async def test_a_reader_of_a_job_that_is_gone_is_broken_off(a: JobStore, stage: Stage) -> None:
    id_ = await job_id(a)
    await answered(a, await begun(a), b"x")
    reader = ResultReader(a, id_)
    stage.offset += 101
    await a.sweep("m")

    with pytest.raises(Superseded):
        await reader.head()
    reader.close()


# --- events


async def test_events_tell_a_jobs_story_and_their_ids_grow(a: JobStore, b: JobStore) -> None:
    id_ = await job_id(a)
    await a.requeue(await begun(a, cold=True), reason="r", detail="refused", delay=0.0)
    claim = await begun(b)
    await answered(b, claim, b"x", head=ResultHead(status=503))

    events = await a.events(id_)

    assert events is not None
    assert [(event.id, event.kind, event.detail) for event in events] == [
        ("1-1", "queued", ""),
        ("1-2", "activating", ""),
        ("1-3", "running", ""),
        ("2-1", "queued", "refused"),
        ("2-2", "running", ""),
        ("2-3", "answering", "503"),
        ("2-4", "succeeded", ""),
    ]
    assert [event.at for event in events] == sorted(event.at for event in events)


async def test_events_are_resumed_after_the_last_one_seen(a: JobStore) -> None:
    id_ = await job_id(a)
    claim = await begun(a)
    await a.requeue(claim, reason="r", detail="d", delay=0.0)

    async def after(last: str) -> list[str]:
        events = await a.events(id_, after=last)
        assert events is not None
        return [event.id for event in events]

    assert await after("") == ["1-1", "1-2", "2-1"]
    assert await after("1-1") == ["1-2", "2-1"]
    assert await after("2-1") == []
    assert await after("nonsense") == ["1-1", "1-2", "2-1"]


async def test_a_job_that_changes_hands_for_ever_keeps_its_latest_events(a: JobStore) -> None:
    id_ = await job_id(a)
    for _ in range(80):
        await a.give_back(await claimed(a, cold=True))

    events = await a.events(id_)

    assert events is not None
    assert len(events) == 64
    assert events[-1].id == "1-161"


async def test_events_are_followed_until_the_end(a: JobStore, b: JobStore) -> None:
    id_ = await job_id(a)
    seen: list[Event] = []

    async def follow() -> None:
        async for event in follow_events(b, id_, after="1-1"):
            seen.append(event)

    following = started(follow())
    await asyncio.sleep(0)
    claim = await begun(a)
    await eventually(lambda: len(seen) == 1)
    await answered(a, claim, b"x")
    await asyncio.wait_for(following, 2)

    assert [event.kind for event in seen] == ["running", "answering", "succeeded"]


# --- the line, as it is watched


async def test_who_watches_is_told_of_work_and_knows_how_much(a: JobStore, b: JobStore) -> None:
    told: list[Told] = []
    watching = b.watch("m", told.append)
    other = b.watch("other", lambda _: None)
    await eventually(lambda: b.queued("m") == 0)
    await job_id(a)
    await job_id(a)
    await eventually(lambda: b.queued("m") == 2 and Work() in told)

    claim = await claimed(a)
    await eventually(lambda: b.queued("m") == 1)
    await a.requeue(claim, reason="r", detail="d", delay=1000.0)
    await eventually(lambda: b.queued("m") == 2)
    assert b.queued("other") == 0

    watching.close()
    other.close()


async def test_a_watch_begins_with_what_is_there(a: JobStore, b: JobStore) -> None:
    await job_id(a)
    told: list[Told] = []
    watching = b.watch("m", told.append)

    await eventually(lambda: b.queued("m") == 1 and Work() in told)

    watching.close()


async def test_whoever_runs_a_job_hears_that_it_is_cancelled(a: JobStore, b: JobStore) -> None:
    mine: list[Told] = []
    theirs: list[Told] = []
    watching = [a.watch("m", mine.append), b.watch("m", theirs.append)]
    running, waiting, _queued = await job_id(a), await job_id(a), await job_id(a)
    await begun(a)
    await claimed(a)
    await eventually(lambda: b.queued("m") == 1)
    for record in await b.recent("m"):
        await b.cancel(record.job.id, reason="cancelled", detail="")

    await eventually(lambda: {Lost(running), Lost(waiting)} <= set(mine))
    assert not [said for said in theirs if isinstance(said, Lost)]

    for each in watching:
        each.close()


async def test_a_job_of_another_endpoint_is_another_line(a: JobStore) -> None:
    one, two = await created(a, endpoint="m"), await created(a, endpoint="n.2")

    assert (await claimed(a, endpoint="n.2")).id == two.job.id
    assert (await claimed(a, endpoint="m")).id == one.job.id
