"""What a store of jobs must offer, in the words of the domain: the protocol and its values.

A job is a recorded request. Whoever received it uploads its body and creates it; a worker of any
activator claims it in order, begins it, and stores the answer as it comes; whoever wants the
answer reads it while it is being written. What may follow what is decided in `core.jobs`: a store
carries that out in single steps that happen wholly or not at all, and for all activators alike.

Where nothing else is said a method raises StoreUnavailable if the store is away or full, and then
may or may not have done its work: every method may be called again with the same arguments. A
write by a claim that is no longer the present one raises `core.jobs.Superseded`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from activator.core.jobs import SUCCESS, Event, Job, JobState, Outcome
from activator.errors import QueueFull

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence

    from activator.core.jobs import JobsPolicy


def line_is_full(new: NewJob) -> QueueFull:
    if new.crowded:
        return QueueFull("No more requests may wait here", retry_after=5)
    return QueueFull(f"{new.most} jobs are in line (queue.maxRequests)", retry_after=5)


class ResultTooLarge(Exception):
    """The answer is beyond `jobs.maxResult`: the job cannot have it."""


# --- the request, and the answer


@dataclass(frozen=True, slots=True)
class Envelope:
    """A request without its body. Texts of the message are bytes, as they came."""

    method: bytes
    target: bytes
    """As the replica gets it."""
    host: bytes
    lines: tuple[bytes, ...] = ()
    """Field lines in their order, without CRLF; less those with a key of our door."""
    minor: int = 1
    length: int = 0
    """As in `wire.heads`: bytes of the body, or CHUNKED."""
    trailers: tuple[bytes, ...] = ()
    request_id: bytes = b""
    peer: str = ""
    """Address of the client's end of the connection."""
    tls: bool = False
    trusted: bool = False
    """The peer's forwarding fields are believed."""
    affinity: bytes | None = None
    owner: str = ""
    """The name of the API key that made it and alone may see it; empty: the id is enough."""
    webhook: str = ""
    """Who is told when it has ended; empty: nobody."""
    response: bytes = b""
    """Of a response of OpenAI's API that is made in the background: what it shows of its request.
    Empty: it is none."""


@dataclass(frozen=True, slots=True)
class ResultHead:
    """The head of the model's answer."""

    status: int
    reason: bytes = b""
    lines: tuple[bytes, ...] = ()
    minor: int = 1
    length: int = 0
    """As in `wire.heads`: bytes, CHUNKED or UNTIL_CLOSE."""


@dataclass(frozen=True, slots=True)
class Record:
    """All that is stored of a job but body and result."""

    job: Job
    envelope: Envelope
    body_bytes: int = 0
    result_bytes: int = 0


# --- creating


@dataclass(frozen=True, slots=True)
class NewJob:
    """What a job is created from; its id and body come from the upload."""

    envelope: Envelope
    urgency: int = 3
    age: float = 30.0
    """`queue.age` of the endpoint: seconds of waiting that are worth one level of urgency."""
    waited: float = 0.0
    """Seconds its client has been here already: they count in line."""
    detached: bool = True
    """It needs nobody who waits for its answer."""
    reading: bool = False
    """This activator has a reader for it, as if by `join`, also if it joins another job."""
    key: str = ""
    """`core.idempotency.scope`; empty: it stands for itself."""
    most: int = 0
    """Of its kind in line at most, this one included (`queue.maxRequests`); 0: any number. Jobs
    that somebody waits for and detached ones are counted apart: neither keeps out the other."""
    crowded: bool = False
    """No more may wait here: it can only join another job."""
    claim: bool = False
    """Claimed by this activator at once, whoever is in line: its ticket has the right place."""
    cold: bool = False
    """As in `claim`."""


@dataclass(frozen=True, slots=True)
class Claim:
    """This activator has the job until it finishes, requeues or gives it back, or loses it."""

    record: Record
    holder: str

    @property
    def id(self) -> str:
        return self.record.job.id

    @property
    def attempt(self) -> int:
        return self.record.job.attempt


@dataclass(frozen=True, slots=True)
class Created:
    """It is durable, as far as the store is."""

    record: Record
    claim: Claim | None = None
    place: int | None = None
    """In line, as of `JobStore.place`."""


@dataclass(frozen=True, slots=True)
class Joined:
    """The same key and the same body: this job's answer is meant. Nothing was created."""

    record: Record


@dataclass(frozen=True, slots=True)
class Conflict:
    """The same key with another body (422). Nothing was created."""

    job_id: str


Admission: TypeAlias = Created | Joined | Conflict


class Upload(Protocol):
    """A body on its way into the store. Until a job is created from it, it belongs to nobody and
    is forgotten by itself after a while."""

    job_id: str
    size: int

    async def write(self, data: bytes) -> None:
        """Raises BodyTooLarge beyond `jobs.maxBody`; then, and after StoreUnavailable, it is
        discarded."""

    async def discard(self) -> None:
        """Twice is once; after `create` it does nothing."""


# --- running


@dataclass(frozen=True, slots=True)
class Claims:
    claims: tuple[Claim, ...]
    again_in: float | None = None
    """Seconds until a job that backs off is ready; None: none does."""


@dataclass(frozen=True, slots=True)
class Output:
    """A piece of the answer, or several. Pieces are numbered: the head is 0, chunks follow."""

    at: int = 0
    """The number of the first one here: what has been stored already is not stored again."""
    head: ResultHead | None = None
    """Where `at` is 0."""
    chunks: tuple[bytes, ...] = ()

    @property
    def next(self) -> int:
        return self.at + (self.head is not None) + len(self.chunks)


NOTHING: Final = Output()


@dataclass(frozen=True, slots=True)
class Work:
    """There may be something to claim, or `queued` has changed."""


@dataclass(frozen=True, slots=True)
class Claimant:
    """There is one more among `claimants`, or may be."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A job that this activator had claimed has been cancelled or is another's: stop it."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Detached:
    """A job that this activator has claimed needs nobody who waits for it any more."""

    job_id: str


Told: TypeAlias = Work | Claimant | Lost | Detached


# --- reading


@dataclass(frozen=True, slots=True)
class Page:
    """Pieces of an answer from a number on, as many as there are, bounded in bytes."""

    job: Job
    head: ResultHead | None = None
    """If piece 0 was asked for and is there."""
    chunks: tuple[bytes, ...] = ()
    next: int = 0
    """The number to ask for next."""
    outcome: Outcome | None = None
    """The job has ended, and nothing comes after these pieces. An answer that did not succeed is
    not kept: its pieces may be missing."""
    trailers: tuple[bytes, ...] = ()


class Listening(Protocol):
    def close(self) -> None:
        """Nothing is told any more."""


# --- care


@dataclass(frozen=True, slots=True)
class Swept:
    """What time has done."""

    ended: tuple[Job, ...] = ()
    """Expired, or cancelled because nobody waited for them."""
    deleted: int = 0
    again_in: float = inf
    """Seconds until time will have done something more, if nobody else does before; infinity:
    it will not."""
    hooks_due: bool = False
    """There are webhooks to be called."""


@dataclass(frozen=True, slots=True)
class Hook:
    """A call to a webhook that is due."""

    record: Record
    tries: int
    """1 = the first."""


class JobStore(Protocol):
    """Jobs of all endpoints, of all activators that share the store. See the module."""

    @property
    def me(self) -> str:
        """The id of this activator."""

    @property
    def outlives_us(self) -> bool:
        """Jobs are there also when this process is not."""

    def configure(self, policy: JobsPolicy) -> None:
        """For what happens from now on."""

    # --- creating

    def upload(self, endpoint: str, *, owner: str = "") -> Upload:
        """Begin a body; also of a job without one. `owner`: as in the envelope."""

    async def create(self, new: NewJob, upload: Upload) -> Admission:
        """Create the job, or find the one its key stands for. The upload is used up.

        Raises QueueFull where `most` are in line, or it is `crowded`. Detached work is refused
        (StoreUnavailable) before the store is so full that running work could not be recorded.
        After StoreUnavailable a job that was created all the same is cancelled as soon as
        possible.
        """

    # --- running; by the holder

    async def claim(
        self, endpoint: str, limit: int, *, age: float, cold: bool = False,
        before: float | None = None,
    ) -> Claims:  # fmt: skip
        """The first jobs in line, in order, which leave it. `cold`: no replica is ready.
        `before`: only those whose `core.jobs.order` is smaller. Records of a newer version stay
        where they are."""

    def body(self, claim: Claim) -> AsyncIterator[bytes]:
        """Its body in pieces. Raises Superseded if it is not there any more."""

    async def begin(self, claim: Claim) -> Job:
        """A replica is about to be given it. Before this, it is not in flight."""

    async def append(self, claim: Claim, output: Output) -> None:
        """Store what has come of the answer. Raises ResultTooLarge; nothing of it is stored."""

    async def finish(
        self, claim: Claim, outcome: Outcome = SUCCESS, output: Output = NOTHING,
        *, trailers: tuple[bytes, ...] = (),
    ) -> Job:  # fmt: skip
        """The end, with the last of the answer. What did not succeed leaves no result and frees
        its key; what failed keeps its body, so that it can be retried."""

    async def give_back(self, claim: Claim) -> None:
        """It has not begun: back to its place in line."""

    async def requeue(
        self, claim: Claim, *, reason: str, detail: str, delay: float | None = None
    ) -> Job:
        """The attempt failed: QUEUED for the next one after `delay` seconds (None: a back-off
        that grows), or FAILED if there were `jobs.attempts`."""

    # --- by anybody

    async def cancel(self, job_id: str, *, reason: str, detail: str) -> Job | None:
        """CANCELLED, unless it has ended otherwise. None: there is no such job."""

    async def retry(self, job_id: str) -> Job | None:
        """A FAILED job is QUEUED again, with all attempts anew; any other stays as it is."""

    async def detach(self, job_id: str) -> Job | None:
        """From now on it needs nobody who waits for its answer."""

    async def get(self, job_id: str) -> Record | None: ...

    async def place(self, job_id: str) -> int | None:
        """1 = next to be begun; None: it is not waiting."""

    async def recent(
        self, endpoint: str, *, states: Collection[JobState] = (), limit: int = 100
    ) -> list[Record]:
        """The latest first; in any of the states, or, with none named, in whichever."""

    async def latest(
        self, endpoints: Sequence[str], *, states: Collection[JobState] = (), limit: int = 100
    ) -> list[Record]:
        """The same of all of these together: thousands are not asked for one by one."""

    async def counts(self, endpoint: str) -> Mapping[JobState, int]:
        """How many are in each state; states without any may be missing."""

    # --- reading

    async def join(self, job_id: str) -> Job | None:
        """One more here waits for its answer, until it calls `leave`."""

    async def leave(self, job_id: str) -> None:
        """Raises nothing: a store that is away is told at a later sweep."""

    async def abandon(self, job_id: str, *, reason: str, detail: str) -> bool:
        """Leave a job that waits in line, because its reader is told so much: with no reader left
        it is cancelled (`core.jobs.abandon`). False: it has begun or ended, and nothing is
        changed. After StoreUnavailable it is still a reader."""

    async def page(self, job_id: str, *, attempt: int = 0, at: int = 0) -> Page | None:
        """What there is of the answer from piece `at` on, at once. `attempt` 0: the present one.
        Raises Superseded if that is no longer the present one."""

    async def events(self, job_id: str, *, after: str = "") -> list[Event] | None:
        """Those that came after the event with this id, oldest first; the latest 64 are kept."""

    def listen(self, job_id: str, told: Callable[[], None]) -> Listening:
        """`told` whenever an event or a piece of its answer is stored, and now and then without
        cause."""

    # --- one endpoint's work

    def watch(self, endpoint: str, told: Callable[[Told], None]) -> Listening:
        """Follow the line of an endpoint: `queued` is kept, and `told` is called."""

    def queued(self, endpoint: str) -> int:
        """Jobs in line or backing off, claimed by nobody, as far as known; 0 unless watched."""

    def is_worth_a_claim(self, endpoint: str) -> bool:
        """There are such jobs, or `owes`."""

    def owes(self, endpoint: str) -> bool:
        """Jobs may have been claimed in an answer that never came. The next claim, be it of none,
        gives them back."""

    async def sweep(self, endpoint: str) -> Swept:
        """Expire, cancel and delete what is due; to be called every some seconds while anybody
        has or awaits a job."""

    async def claimants(self, endpoint: str) -> frozenset[str]:
        """The activators that have claims or readers there: also such as nobody knows of."""

    async def requeue_claims_of(self, activator: str, endpoint: str) -> list[Job]:
        """That activator is gone: what it held waits again (what was in flight as another
        attempt), and its readers are no more."""

    # --- webhooks

    async def hooks_due(self, endpoint: str, limit: int, *, lease: float) -> list[Hook]:
        """Jobs that have ended and whose webhook is to be called now. Each is due again after
        `lease` seconds unless `hook_done` or `hook_later` is called before."""

    async def hook_later(self, job_id: str, *, delay: float) -> None: ...

    async def hook_done(self, job_id: str) -> None:
        """Told, or given up."""

    async def aclose(self) -> None: ...
