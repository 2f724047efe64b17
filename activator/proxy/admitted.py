"""A request that may come in: what follows from its head, and from what its body names.

Whatever does not depend on the moment is found out once for all requests that say the same:
`wire` keeps the heads it has read, and a head keeps what it has led to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from activator.core.dispatch import Ticket

if TYPE_CHECKING:
    from activator.core.endpoint import NeverWake
    from activator.proxy.listener import Proxy
    from activator.proxy.stencils import Stencil
    from activator.telemetry.requests import Subject
    from activator.upstream.registry import LiveEndpoint
    from activator.wire.heads import RequestHead


class Preflight:
    """A CORS preflight: it never wakes and needs no key (a browser cannot attach one)."""


PREFLIGHT = Preflight()


class Terms:
    """On which heads are judged: routes, API keys, trusted proxies, the default model. Another one
    stands in its place (`Proxy.terms`) as soon as any of these has changed."""


class Conclusion:
    """What a head has led to, for the next one like it."""

    __slots__ = ("terms",)

    terms: Terms
    """It holds as long as these do."""

    def keep_for(self, head: RequestHead, proxy: Proxy) -> bool:
        """Whoever sends the same head, or one with the same outline if nothing but that has led
        here, is treated alike while the terms hold. False: whoever does is looked at anew."""
        self.terms = proxy.terms
        routes, outline = proxy.registry.routes, head.outline
        if not head.is_kept or proxy.shut is not None:
            return False  # or each is to be asked anew whether any may come in
        if outline is not None:
            if head.query and routes.names_models:
                return False  # a query may name the model
            if not routes.header_names.isdisjoint([name.decode() for name in outline.names]):
                return False
            outline.note = self
        head.note = self
        return True


@dataclass(slots=True, eq=False)
class Admitted(Conclusion):
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
    by_model: ByModel | None = None
    """It stands for all requests of which this is concluded, with one model in their bodies."""
    stencil: Stencil | None = None
    """Its head for a replica, but for what differs each time; None: nobody has asked for it yet."""
    straight: Stencil | None = None
    """The same, if requests like it may go `straight`."""
    subject: Subject | None = None
    """Of its log line; None: not made yet."""

    def ticket(self, *, arrived: float) -> Ticket:
        """`arrived`: when its head came, monotonic seconds."""
        return Ticket(self.urgency, self.affinity, self.passive is not None, (), arrived)

    def target(self, head: RequestHead) -> bytes:
        """What a request with this head asks the replica for."""
        return self.path + head.query


class ByModel(Conclusion):
    """Where a request belongs is for the model in its body to say."""

    __slots__ = ("_is_kept", "is_plain", "is_quick", "prompt", "whole")

    def __init__(self, *, prompt: bool, whole: bool, is_plain: bool) -> None:
        """`prompt`, `whole`: as in BodyNeeded. `is_plain`: its body is JSON as it stands."""
        self.prompt = prompt
        self.whole = whole
        self.is_plain = is_plain
        self.is_quick = is_plain and not prompt and not whole
        """Nothing but the model is asked for, and of JSON."""
        self._is_kept = False

    def begin(self, head: RequestHead, proxy: Proxy) -> None:
        """It is concluded from this head."""
        self._is_kept = self.keep_for(head, proxy)

    def keep(self, model: str | None, admitted: Admitted, known: KnownModels) -> None:
        """It has led there, and neither its prompt nor anything else in its body has."""
        if self._is_kept and model is not None and not self.prompt and not self.whole:
            admitted.by_model = self
            known.keep(self, model, admitted)


MODELS: Final = 1024
"""That are known, of all heads: clients may make up as many as a wildcard takes."""


class KnownModels:
    """Where requests with one head and one model belong."""

    __slots__ = ("_admitted",)

    def __init__(self) -> None:
        self._admitted: dict[tuple[ByModel, str], Admitted] = {}

    def __len__(self) -> int:
        return len(self._admitted)

    def get(self, by_model: ByModel, model: str | None) -> Admitted | None:
        return None if model is None else self._admitted.get((by_model, model))

    def keep(self, by_model: ByModel, model: str, admitted: Admitted) -> None:
        if len(self._admitted) >= MODELS:
            self._admitted.clear()
        self._admitted[by_model, model] = admitted
