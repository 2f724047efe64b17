"""The data port: accepts clients' connections, hands each request to the `entrance`, and lets go
of them in good order at the end. What happens to a request is `handler`'s."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Final, Protocol

from activator.aiokit.tasks import Tasks
from activator.proxy.admitted import KnownModels, Terms
from activator.proxy.entrance import enter
from activator.proxy.headers import new_request_id, via_name
from activator.proxy.intake import Intake
from activator.proxy.openai.reading import Turns
from activator.proxy.replies import error_reply
from activator.telemetry.requests import NOTHING, is_logged, request_ended
from activator.wire.farewell import TLS_SHUTDOWN
from activator.wire.server import ServerConnection, ServerKit, ServerLimits

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from activator.aiokit.deadlines import Deadlines
    from activator.aiokit.outbox import Outbox
    from activator.config.settings import OpenAI
    from activator.coordination.base import Quotas
    from activator.errors import ActivatorError
    from activator.proxy.body import HeldMemory
    from activator.proxy.browser.stream import PageStream
    from activator.proxy.browser.visits import Visit
    from activator.proxy.door import Door
    from activator.queueing.base import BodyStore
    from activator.queueing.jobs import JobStore
    from activator.telemetry.metrics import Metrics
    from activator.telemetry.spans import Tracer
    from activator.upstream.registry import LiveEndpoint, Registry
    from activator.wire.hangup import HangupWatch

BACKLOG = 4096
"""Connections the kernel may hold for us: a burst on a cold endpoint arrives at once."""


SPOOLED: Final = 1 << 30
"""Bytes of bodies in temporary files, all requests together; what comes beyond waits in its socket
until there is room."""
PARTING: Final = 2.0
"""Seconds in which those who wait for a job are told, at the end, that they do not wait here any
longer: the store is asked for each of them."""

SEEN_OFF: Final = 1.0
"""Seconds that whoever has been told everything has, at the end, to read it: breaking a connection
off while its client still sends resets it, and the answer is lost (RFC 9112 §9.6)."""


class Waiting(Protocol):
    """A client that waits for the answer of a job."""

    def part(self) -> asyncio.Task[None]:
        """It waits no longer: this activator ends. Returns what ends when it has been told."""


class Certificate:
    """The listener's certificate; `reload` takes new files up for new connections only."""

    def __init__(self, cert: Path, key: Path) -> None:
        self._files = (str(cert), str(key))
        self.context = self._load()

    def reload(self) -> None:
        """Raises OSError or ssl.SSLError if the files are unusable; the old ones stay in force."""
        self._load()
        self.context.load_cert_chain(*self._files)

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(*self._files)
        context.set_alpn_protocols(["http/1.1"])
        return context


class Proxy:
    """wire's `Service`: what stands behind the listening sockets."""

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        wall: Callable[[], float],
        registry: Registry,
        door: Door,
        store: BodyStore,
        quotas: Quotas,
        held_memory: HeldMemory,
        metrics: Metrics,
        deadlines: Deadlines,
        hangups: HangupWatch,
        outbox: Outbox,
        limits: ServerLimits,
        openai: OpenAI,
        most_connections: int = 0,
        certificate: Certificate | None = None,
    ) -> None:
        self.registry = registry
        self.door = door
        self.store = store
        self.held_memory = held_memory
        self.metrics = metrics
        self.deadlines = deadlines
        self.clock = clock
        self.wall = wall
        """Wall-clock time, as in records of jobs."""
        self.via = via_name()
        self.tls = certificate is not None
        self.draining = False
        self._shut: Callable[[], ActivatorError | None] | None = None
        self.jobs: JobStore | None = None
        """None: there are no jobs."""
        self.quotas = quotas
        self.webhook = no_webhooks
        """The webhook of a job as it is kept; ValueError says why it may not be called."""
        self.tasks = Tasks("proxy")
        """Of requests that are answered by a coroutine."""
        self.waiting: set[Waiting] = set()
        self.visits: dict[LiveEndpoint, Visit] = {}
        """Of waiting pages that somebody has looked at lately."""
        self.streams: set[PageStream] = set()
        """Waiting pages that are told what changes."""
        self.crowded = False
        self.intake = Intake(loop=loop, crowded=self._crowd)
        self.tracer: Tracer | None = None
        self._openai = openai
        self.terms = Terms()
        registry.rerouted = door.changed = self._reconsider
        self.known_models = KnownModels()
        self.listing = asyncio.Lock()
        """Held while models are listed: however many ask, it takes no more of the loop than one."""
        self.turns = Turns(loop, clock)
        self.spools = Intake(loop=loop, most=SPOOLED)
        self.certificate = certificate
        self._most_connections = most_connections
        self._kit = ServerKit(
            loop=loop,
            service=self,
            deadlines=deadlines,
            hangups=hangups,
            outbox=outbox,
            limits=limits,
        )
        self._connections: dict[ServerConnection, None] = {}
        """As a set of thousands would be, at a third of the memory."""
        self._all_gone = asyncio.Event()
        """Since we drain, no connection is left."""
        self._servers: list[asyncio.Server] = []

    @property
    def openai(self) -> OpenAI:
        """May be exchanged while running."""
        return self._openai

    @openai.setter
    def openai(self, openai: OpenAI) -> None:
        self._openai = openai
        self._reconsider()

    @property
    def shut(self) -> Callable[[], ActivatorError | None] | None:
        """Why no request may come in at all, asked with each; None: one may."""
        return self._shut

    @shut.setter
    def shut(self, why: Callable[[], ActivatorError | None] | None) -> None:
        self._shut = why
        self._reconsider()

    def _reconsider(self) -> None:
        """What was concluded from heads may not be right any more."""
        self.terms = Terms()

    def _crowd(self, crowded: bool) -> None:
        self.crowded = crowded
        for connection in self._connections:
            if crowded:
                connection.sip()
            else:
                connection.gulp()

    # --- wire's Service -------------------------------------------------------------------------

    def opened(self, connection: ServerConnection) -> bool:
        if self._most_connections and len(self._connections) >= self._most_connections:
            return False
        self._connections[connection] = None
        self.metrics.connections = len(self._connections)
        return True

    def closed(self, connection: ServerConnection) -> None:
        self._connections.pop(connection, None)
        self.metrics.connections = len(self._connections)
        if self.draining and not self._connections:
            self._all_gone.set()

    request = enter

    def refused(self, connection: ServerConnection, error: ActivatorError) -> None:
        self.metrics.unrouted.request(
            code=error.status, reason=error.reason, duration=0.0, overhead=0.0
        )
        request_id = new_request_id()
        head, body = error_reply(error, request_id=request_id)
        if is_logged(error.status, error.reason):
            request_ended(
                NOTHING,
                request_id=request_id,
                status=error.status,
                reason=error.reason,
                seconds=0.0,
                bytes_in=0,
                bytes_out=len(body),
                remote=connection.peer,
            )
        connection.begin_answer(head, length=len(body))
        connection.send(body)
        connection.finish()

    # --- its life -------------------------------------------------------------------------------

    async def listen(self, addresses: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
        """Accept connections; returns where. Raises OSError if an address cannot be had."""
        bound: list[tuple[str, int]] = []
        for host, port in addresses:
            server = await self._kit.loop.create_server(
                lambda: ServerConnection(self._kit),
                host or None,
                port,
                ssl=self.certificate.context if self.certificate else None,
                ssl_shutdown_timeout=TLS_SHUTDOWN if self.certificate else None,
                backlog=BACKLOG,
                reuse_address=True,
            )
            self._servers.append(server)
            bound += (_address(listening) for listening in server.sockets)
        return bound

    @property
    def connections(self) -> int:
        return len(self._connections)

    @property
    def busy(self) -> int:
        """Connections with a request or a tunnel on them."""
        return sum(not connection.idle for connection in self._connections)

    def stop_accepting(self) -> None:
        """No new connections; those that rest are closed, the others after their answer."""
        self.draining = True
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            connection.close_if_idle()
        for stream in list(self.streams):
            stream.part()

    async def part(self) -> None:
        """Have everybody told who waits for a job."""
        if parting := [each.part() for each in self.waiting]:
            await asyncio.wait(parting, timeout=PARTING)

    async def aclose(self) -> None:
        """Break off whatever is left; who has been answered may read that."""
        self.stop_accepting()
        self.intake.close()
        self.spools.close()
        for connection in list(self._connections):
            if not connection.is_leaving:
                connection.break_off()
        if self._connections:
            self._all_gone.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SEEN_OFF):
                    await self._all_gone.wait()
        for connection in list(self._connections):
            connection.break_off()
        await self.tasks.aclose()
        self._servers.clear()


def _address(listening: socket.socket) -> tuple[str, int]:
    name = listening.getsockname()
    return name[0], name[1]


def no_webhooks(url: str) -> str:
    raise ValueError("webhooks.allow names no host")
