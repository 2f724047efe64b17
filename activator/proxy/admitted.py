"""A request that may come in: what follows from its head, and from what its body names.

Whatever does not depend on the moment is found out once for all requests that say the same:
`wire` keeps the heads it has read, and a head keeps what it has led to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from activator.core.dispatch import Ticket

if TYPE_CHECKING:
    from activator.config.keys import KeyRing
    from activator.config.settings import OpenAI
    from activator.core.endpoint import NeverWake
    from activator.core.routing import RouteTable
    from activator.proxy.listener import Proxy
    from activator.proxy.stencils import Stencil
    from activator.telemetry.requests import Subject
    from activator.upstream.registry import LiveEndpoint
    from activator.wire.heads import RequestHead


class Preflight:
    """A CORS preflight: it never wakes and needs no key (a browser cannot attach one)."""


PREFLIGHT = Preflight()


@dataclass(slots=True, eq=False)
class Admitted:
    """A request that may go to an endpoint."""

    live: LiveEndpoint
    path: bytes
    """As the replica gets it."""
    urgency: int
    """RFC 9218, as far as the endpoint or the key allow it."""
    affinity: bytes | None
    credentials: frozenset[bytes]
    """Lower-case names of the fields that carry a key of our door."""
    within: float | None
    """Seconds in which the client wants the answer to begin (`X-Activator-Deadline`)."""
    passive: NeverWake | Preflight | None
    """It is no demand: forwarded if that is possible at once, else answered as this says."""
    owner: str
    """The name of the API key that was presented; empty where none is needed."""
    model: str | None = None
    """What its body's `model` is to be from here on; None: as it came."""
    is_response: bool = False
    """It creates a response, of OpenAI's API of that name."""
    stencil: Stencil | None = None
    """Its head for a replica, but for what differs each time; None: not made yet."""
    subject: Subject | None = None
    """Of its log line; None: not made yet."""
    _routes: RouteTable | None = None
    _keys: KeyRing | None = None
    _openai: OpenAI | None = None

    def ticket(self, *, arrived: float) -> Ticket:
        """`arrived`: when its head came, monotonic seconds."""
        return Ticket(self.urgency, self.affinity, self.passive is not None, (), arrived)

    def target(self, head: RequestHead) -> bytes:
        """What a request with this head asks the replica for."""
        return self.path + head.query

    def keep_for(self, head: RequestHead, proxy: Proxy) -> None:
        """Whoever sends the same head, or one with the same outline if nothing but that has led
        here, is admitted alike, as long as routes, keys and the default model stay."""
        self._routes, self._keys = routes, _ = proxy.registry.routes, proxy.door.keys
        self._openai = proxy.openai
        head.note = self
        outline = head.outline
        if outline is None or (head.query and routes.names_models):
            return  # a query may name the model
        affinity = self.live.endpoint.affinity_header
        asked = routes.header_names if affinity is None else routes.header_names | {affinity}
        if asked.isdisjoint([name.decode() for name in outline.names]):
            outline.note = self

    def holds_for(self, proxy: Proxy) -> bool:
        return (
            self._routes is proxy.registry.routes
            and self._keys is proxy.door.keys
            and self._openai is proxy.openai
        )
