"""The jobs of one process: their places, their bytes and their keys, step by step in memory.

What a step does to a job is decided in `core.jobs`; this keeps everything that hangs on it true
(the line, the room, the keys, who is to hear of it). Nothing here waits. The scripts of the Redis
store do the same, and one suite of tests compares the two.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from activator.core import jobs
from activator.core.idempotency import frees_key
from activator.core.jobs import WAITING, Event, Job, JobState, Step
from activator.queueing.jobs import Detached, Lost, ResultTooLarge, Told, Work
from activator.queueing.telling import Bells

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from activator.core.jobs import JobsPolicy
    from activator.queueing.budget import Budget
    from activator.queueing.jobs import Envelope, Output, ResultHead

EVENTS: Final = 64
"""Of one job: some attempts' worth; only a job that changes hands for ever has more."""
OVERHEAD: Final = 1024
"""Bytes that a job costs besides its envelope, body and result."""

Place = tuple[float, str]


@dataclass(slots=True, eq=False)
class Entry:
    """One job with all that hangs on it."""

    job: Job
    envelope: Envelope
    key: str
    fingerprint: bytes
    body: tuple[bytes, ...]
    body_bytes: int
    pieces: list[bytes] = field(default_factory=list)
    """Of the result: chunks."""
    head: ResultHead | None = None
    result_bytes: int = 0
    trailers: tuple[bytes, ...] = ()
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=EVENTS))
    readers: Counter[str] = field(default_factory=Counter)
    """By activator."""
    room: int = 0
    line: list[Place] | None = None
    """Which of its shelf's lines it stands in, and where."""
    place: Place = (0.0, "")
    hook_at: float | None = None
    """When its webhook is to be called next; None: not at all."""
    hook_tries: int = 0


class Shelf:
    """The jobs of one endpoint."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.keys: dict[str, str] = {}
        self.line: list[Place] = []
        """May be claimed."""
        self.later: list[Place] = []
        """Back off; by the moment at which they may be claimed."""
        self.held: list[Place] = []
        """Claimed and not begun."""
        self.awaited: set[str] = set()
        """Jobs in any of these lines that are not detached."""
        self.age: float | None = None

    @property
    def queued(self) -> int:
        return len(self.line) + len(self.later)

    def waiting(self, *, detached: bool) -> int:
        """In any of the lines, of one kind."""
        awaited = len(self.awaited)
        return self.queued + len(self.held) - awaited if detached else awaited


class Book:
    """All jobs of a process. Activators in tests may share one; `clock` is wall-clock time."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.shelves: dict[str, Shelf] = {}
        self.of_job: Bells[str, None] = Bells()
        """By id."""
        self.of_line: Bells[tuple[str, str], Told] = Bells()
        """By (endpoint, activator)."""

    def shelf(self, endpoint: str) -> Shelf:
        shelf = self.shelves.get(endpoint)
        if shelf is None:
            shelf = self.shelves[endpoint] = Shelf()
        return shelf

    def entry(self, job_id: str) -> Entry | None:
        shelf = self.shelves.get(job_id.rpartition(".")[0])
        return None if shelf is None else shelf.entries.get(job_id)

    # --- room

    def _give_room(self, entry: Entry, size: int) -> None:
        entry.room -= size
        self.budget.give(size)

    def drop_body(self, entry: Entry) -> None:
        self._give_room(entry, entry.body_bytes)
        entry.body, entry.body_bytes = (), 0

    def drop_result(self, entry: Entry) -> None:
        self._give_room(entry, entry.result_bytes)
        entry.pieces, entry.head, entry.result_bytes, entry.trailers = [], None, 0, ()

    # --- steps

    def add(self, entry: Entry, *, room: int, age: float, now: float) -> None:
        """A new job, whose room has been taken."""
        shelf = self.shelf(entry.job.endpoint)
        if shelf.age is None:
            shelf.age = age
        entry.room = room
        shelf.entries[entry.job.id] = entry
        if entry.key:
            shelf.keys[entry.key] = entry.job.id
        self.take(entry, jobs.created(entry.job, now=now), now=now)

    def take(self, entry: Entry, step: Step, *, now: float) -> None:
        """What follows from a step of the job."""
        before, job = entry.job, step.job
        if job == before:
            return
        entry.job = job
        if step.event is not None:
            entry.events.append(step.event)
            self.of_job.ring(job.id, None)
        if before.attempt != job.attempt:
            self.drop_result(entry)
        if job.has_ended and not before.has_ended:
            self._end(entry, now=now)
        if before.state is JobState.FAILED and job.state is not JobState.FAILED:
            entry.hook_at, entry.hook_tries = None, 0
        if before.holder and before.holder not in (job.holder, job.last_holder):
            self._tell_holder(before)
        self.put_in_line(entry, now=now)

    def detach(self, entry: Entry, *, now: float) -> None:
        entry.job = job = jobs.detach(entry.job)
        self.put_in_line(entry, now=now)
        if job.holder:
            self.of_line.ring((job.endpoint, jobs.activator_of(job.holder)), Detached(job.id))

    def _end(self, entry: Entry, *, now: float) -> None:
        job = entry.job
        if job.state is not JobState.SUCCEEDED:
            self.drop_result(entry)
        if job.state is not JobState.FAILED:
            self.drop_body(entry)
        if frees_key(job):
            self._free_key(entry)
        if entry.envelope.webhook:
            entry.hook_at, entry.hook_tries = now, 0

    def _free_key(self, entry: Entry) -> None:
        keys = self.shelf(entry.job.endpoint).keys
        if keys.get(entry.key) == entry.job.id:
            del keys[entry.key]

    def _tell_holder(self, before: Job) -> None:
        topic = (before.endpoint, jobs.activator_of(before.holder))
        self.of_line.ring(topic, Lost(before.id))

    def delete(self, entry: Entry) -> None:
        self._leave_line(entry)
        self._free_key(entry)
        self.budget.give(entry.room)
        shelf = self.shelf(entry.job.endpoint)
        del shelf.entries[entry.job.id]
        if not shelf.entries:
            shelf.age = None
        self.of_job.ring(entry.job.id, None)

    # --- lines

    def put_in_line(self, entry: Entry, *, now: float) -> None:
        """Where its job belongs now, if anywhere."""
        job, shelf = entry.job, self.shelf(entry.job.endpoint)
        queued = shelf.queued
        self._leave_line(entry)
        if job.state in WAITING:
            at = jobs.order(urgency=job.urgency, arrived=job.arrived, age=shelf.age or 0.0)
            if job.claimed:
                entry.line, entry.place = shelf.held, (at, job.id)
            elif job.not_before > now:
                entry.line, entry.place = shelf.later, (job.not_before, job.id)
            else:
                entry.line, entry.place = shelf.line, (at, job.id)
            insort(entry.line, entry.place)
            if not job.detached:
                shelf.awaited.add(job.id)
        if shelf.queued != queued:
            self.tell_all(job.endpoint, Work())

    def _leave_line(self, entry: Entry) -> None:
        if entry.line is not None:
            del entry.line[bisect_left(entry.line, entry.place)]
            entry.line = None
            self.shelf(entry.job.endpoint).awaited.discard(entry.job.id)

    def tell_all(self, endpoint: str, told: Told) -> None:
        for topic in self.of_line.topics:
            if topic[0] == endpoint:
                self.of_line.ring(topic, told)

    def ready(self, shelf: Shelf, *, age: float, now: float) -> Sequence[Place]:
        """The line as it is at this moment."""
        if shelf.entries and age != shelf.age:
            shelf.age = age
            self._put_in_line(shelf, [*shelf.line, *shelf.held], now=now)
        due = shelf.later[: bisect_left(shelf.later, (now, "\x7f"))]
        self._put_in_line(shelf, due, now=now)
        return shelf.line

    def _put_in_line(self, shelf: Shelf, places: Iterable[Place], *, now: float) -> None:
        for _, job_id in places:
            self.put_in_line(shelf.entries[job_id], now=now)

    # --- results

    def store(self, entry: Entry, output: Output, *, policy: JobsPolicy) -> None:
        """The pieces, less those that are there."""
        known = (entry.head is not None) + len(entry.pieces)
        first = output.at + (output.head is not None)
        """The number of the first chunk."""
        if output.next > output.at and (output.at > known or first == 0):
            raise jobs.ForbiddenStep(f"{entry.job.id}: piece {known} comes before these")
        new = output.chunks[max(0, known - first) :]
        size = sum(map(len, new))
        if entry.result_bytes + size > policy.max_result:
            raise ResultTooLarge(f"A result may have {policy.max_result} bytes (jobs.maxResult)")
        self.budget.take(size)
        entry.room += size
        entry.result_bytes += size
        entry.head = entry.head or output.head
        entry.pieces += new
        if output.next > max(known, output.at):
            self.of_job.ring(entry.job.id, None)
