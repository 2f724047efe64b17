"""One try of a job at one replica: its body sent from the store, the answer stored as it comes."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from activator.control.persisting import persist
from activator.core.endpoint import Dialect
from activator.core.tokens import counter_of
from activator.queueing.jobs import Output, ResultHead
from activator.upstream.forward import Attempt, Failure, Outbound

if TYPE_CHECKING:
    from activator.aiokit.tasks import Tasks
    from activator.core.dispatch import Ticket
    from activator.core.tokens import TokenCounter
    from activator.queueing.jobs import Claim, JobStore
    from activator.telemetry.spans import Trace
    from activator.upstream.registry import LiveEndpoint, LiveReplica
    from activator.wire.client import ClientConnection
    from activator.wire.heads import Field, ResponseHead

UNSTORED: Final = 1 << 20
"""Bytes of an answer that wait to be stored; beyond, the replica is read no further."""
PIECE: Final = 256 << 10
"""Bytes of one stored piece at most."""


class Visit:
    """`run` once; `abort` at any moment."""

    def __init__(
        self,
        live: LiveEndpoint,
        replica: LiveReplica,
        ticket: Ticket,
        outbound: Outbound,
        *,
        store: JobStore,
        claim: Claim,
        tasks: Tasks,
        trace: Trace | None,
    ) -> None:
        self.replica = replica
        self.status = 0
        """Of the answer, once it has begun."""
        self.received = 0
        """Bytes of its body."""
        self._live = live
        self._ticket = ticket
        self._outbound = outbound
        self._store = store
        self._claim = claim
        self._tasks = tasks
        self._trace = trace
        self._attempt = Attempt(live, replica, outbound, self)
        self._connected = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._news = asyncio.Event()
        self._head: ResultHead | None = None
        self._unstored: list[bytes] = []
        self._unstored_size = 0
        self._stored = 0
        self._trailers: tuple[bytes, ...] | None = None
        """Of the whole answer, once it has ended."""
        self._tokens: TokenCounter | None = None
        """Counts those of the answer; None: there are none to count."""
        self._failure: Failure | None = None
        self._broken: Exception | None = None

    async def run(self) -> Failure | None:
        """None: the whole answer is stored. Raises what the store says."""
        feeding = None
        if self._outbound.length:
            feeding = self._tasks.spawn(self._feed(), name=f"feed {self._claim.id}")
        owner, live = self._claim.record.envelope.owner, self._live
        if owner:
            live.keys.begin(owner, now=live.kit.clock())
        try:
            self._attempt.begin()
            return await self._store_answer()
        finally:
            if owner:
                live.keys.end(owner, now=live.kit.clock())
            if feeding is not None:
                feeding.cancel()
            self._count_tokens()

    def abort(self) -> None:
        self._attempt.abort()

    async def _feed(self) -> None:
        await self._connected.wait()
        try:
            async for piece in self._store.body(self._claim):
                await self._writable.wait()
                self._attempt.send(piece)
            self._attempt.finish([_field(line) for line in self._claim.record.envelope.trailers])
        except Exception as error:  # whatever it is, `run` raises it: the replica waits for more
            self._broken = error
            self._news.set()

    async def _store_answer(self) -> Failure | None:
        while True:
            await self._news.wait()
            self._news.clear()
            if self._broken is not None:
                raise self._broken
            if self._failure is not None:
                return self._failure
            ended, output = self._trailers, self._take()
            if ended is not None:
                finish = partial(self._store.finish, self._claim, output=output, trailers=ended)
                await persist(finish)
                return None
            if output.next > output.at:
                await persist(partial(self._store.append, self._claim, output))
            self._attempt.resume()

    def _count_tokens(self) -> None:
        """Of what has come, also if it is cut or left: the model has made them."""
        counter, self._tokens = self._tokens, None
        if counter is not None:
            tokens = counter.tokens()
            self._live.metrics.used(tokens, key=self._claim.record.envelope.owner)
            if self._trace is not None and tokens is not None:
                self._trace.used(tokens)

    def _take(self) -> Output:
        joined = b"".join(self._unstored)
        self._unstored, self._unstored_size = [], 0
        chunks = tuple(joined[at : at + PIECE] for at in range(0, len(joined), PIECE))
        output = Output(at=self._stored, head=self._head, chunks=chunks)
        self._stored, self._head = output.next, None
        return output

    # --- as Attempt's Answer

    @property
    def body_at_hand(self) -> bool:
        return False

    def connected(self) -> None:
        self._connected.set()

    def interim(self, head: ResponseHead) -> None:
        """There is nobody who could be told."""

    def answered(self, head: ResponseHead, *, followed: bool) -> None:
        live = self._live
        live.gate.answered(self._ticket)
        live.earn_retry()
        if self.replica.unproven:
            self.replica.unproven = False
            live.answered(self.replica.replica.id)
        if live.endpoint.dialect is Dialect.OPENAI:
            self._tokens = counter_of(
                method=self._outbound.method,
                status=head.status,
                form=head.get(b"content-type"),
                is_encoded=head.get(b"content-encoding") is not None,
            )
        self.status = head.status
        if self._trace is not None:
            self._trace.answered(head.status)
        self._head = ResultHead(
            status=head.status,
            reason=head.reason,
            lines=tuple(
                line
                for name, _, line in head.fields
                if name not in head.connection or name == b"content-length"
            ),
            minor=head.minor,
            length=head.length,
        )
        self._news.set()

    def data(self, data: bytes) -> None:
        if self._tokens is not None:
            self._tokens.data(data)
        self.received += len(data)
        self._unstored.append(data)
        self._unstored_size += len(data)
        if self._unstored_size > UNSTORED:
            self._attempt.pause()
        self._news.set()

    def ended(self, trailers: list[Field]) -> None:
        self._trailers = tuple(line for _, _, line in trailers)
        self._news.set()

    def upgraded(self, head: ResponseHead, rest: bytes, connection: ClientConnection) -> None:
        raise AssertionError("a job asks for no upgrade")

    def failed(self, failure: Failure) -> None:
        self._failure = failure
        self._news.set()

    def upstream_writable(self, *, ok: bool) -> None:
        if ok:
            self._writable.set()
        else:
            self._writable.clear()


def _field(line: bytes) -> Field:
    name, _, value = line.partition(b":")
    return name.lower(), value.strip(b" \t"), line
