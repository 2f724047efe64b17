"""The endpoints at work: those of the file, and those that objects of a cluster declare besides.

Decides when they are put together anew, and who is told what was refused. Which of them there are
follows from `config.annotations` and `core.declarations`; making them work is the supervisor's.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from activator.aiokit.garbage import uncollected
from activator.aiokit.slices import Slices
from activator.aiokit.tasks import Tasks
from activator.config.annotations import read_declaration
from activator.core.declarations import Claim, Settled, settling
from activator.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from activator.app.cluster import OneCluster
    from activator.app.operations import AppOperations
    from activator.config.settings import Settings
    from activator.core.declarations import Declaration
    from activator.core.endpoint import Endpoint
    from activator.sources.kubernetes import KubernetesSource
    from activator.telemetry.events import EventLog

_GATHER: Final = 0.05
"""Seconds from the first change to a look at all: they come in crowds, and a look goes through
every declaration."""
_PATIENCE: Final = 30.0
"""Seconds that the file's endpoints wait for a cluster that does not answer at the start."""
_NOT_KNOWN = "what the cluster declares is not known yet"


class Apply(Protocol):
    """`Supervisor.apply`."""

    async def __call__(
        self, endpoints: Sequence[Endpoint], *, slices: Slices | None = None
    ) -> None: ...


class DeclaredEndpoints:
    """Until `aclose`. The file's endpoints never wait for the others, nor for the cluster."""

    def __init__(
        self,
        *,
        apply: Apply,
        operations: AppOperations,
        events: EventLog,
        cluster: Callable[[], OneCluster],
    ) -> None:
        """`cluster`: made when it is needed."""
        self._apply = apply
        self._operations = operations
        self._events = events
        self._cluster = cluster
        self._loop = asyncio.get_running_loop()
        self._settings: Settings | None = None
        self._source: KubernetesSource | None = None
        self._settling = asyncio.Lock()
        self._stirred = asyncio.Event()
        self._tasks = Tasks("declared")
        self._patient_until = self._loop.time() + _PATIENCE
        self._is_known = False
        self._declarations: list[Declaration] = []
        self._is_settled = True
        """False: what follows from these has met a fault halfway."""
        self._read: dict[Declaration, Endpoint | str] = {}
        """What a declaration means, or what is wrong with it."""
        self._valid: dict[str, Endpoint] = {}
        """The last that each object meant, by uid: it stays when a change of it is wrong."""
        self._by_endpoint: dict[str, Declaration] = {}
        self._refused: dict[str, str] = {}
        """Why, by uid, as it was told."""

    @property
    def why_not_ready(self) -> str | None:
        """An endpoint that is only not known yet must not be a 404, as in a rolling restart."""
        if self._source is None or self._is_known or self._loop.time() > self._patient_until:
            return None
        return _NOT_KNOWN

    async def take(self, settings: Settings, *, slices: Slices | None = None) -> None:
        """The file says this from now on."""
        async with self._settling:
            await self._take(settings, slices=slices or Slices())

    async def _take(self, settings: Settings, *, slices: Slices) -> None:
        before = self._settings
        if before is None or (before.defaults, before.templates) != (
            settings.defaults,
            settings.templates,
        ):
            self._read.clear()
        self._settings = settings
        namespaces = settings.declared.namespaces if settings.declared else ()
        if namespaces and self._source is None:
            self._source = self._cluster().make_source(self._stirred.set)
            self._tasks.spawn_lasting(self._follow, name="follow", again=self._stirred.set)
        if self._source is not None:
            self._source.follow(namespaces)
            self._declarations = [
                each for each in self._declarations if each.namespace in namespaces
            ]
        await self._settle(settings, slices=slices)
        self._stirred.set()

    def tell(self, endpoint: str, *, reason: str, message: str, is_warning: bool) -> str:
        """On the object that declares it, if one does; never waits. Returns its uid."""
        declaration = self._by_endpoint.get(endpoint)
        if declaration is None or self._source is None:
            return ""
        self._source.tell(declaration, reason=reason, message=message, is_warning=is_warning)
        return declaration.uid

    async def aclose(self) -> None:
        await self._tasks.aclose()
        if self._source is not None:
            self._source.close()
        self._source = None

    async def _follow(self) -> None:
        while True:
            await self._stirred.wait()
            await asyncio.sleep(_GATHER)
            self._stirred.clear()
            async with self._settling:
                await self._look(Slices())

    async def _look(self, slices: Slices) -> None:
        # in halves, the younger of two would win for a moment
        if self._source is None or self._settings is None or not self._source.is_known:
            return
        declarations: list[Declaration] = []
        before = iter(self._declarations)
        is_news = not self._is_settled
        for each in self._source.declarations():
            known = next(before, None)
            is_news = is_news or each != known
            declarations.append(each if known is None or is_news else known)
            await slices.turn()
        if is_news or len(declarations) != len(self._declarations):
            self._declarations = declarations
            await self._settle(self._settings, slices=slices)
        self._is_known = True

    async def _settle(self, settings: Settings, *, slices: Slices) -> None:
        with uncollected():
            self._is_settled = False
            await self._settle_all(settings, slices=slices)
            self._is_settled = True

    async def _settle_all(self, settings: Settings, *, slices: Slices) -> None:
        claims: list[Claim] = []
        refused: dict[Declaration, str] = {}
        read: dict[Declaration, Endpoint | str] = {}
        for each in self._declarations:
            read[each] = self._meaning(each, settings)
            await slices.turn()
        self._read = read
        present = {each.uid for each in self._declarations}
        self._valid = {uid: it for uid, it in self._valid.items() if uid in present}
        for each, meaning in read.items():
            await slices.turn()
            if isinstance(meaning, str):
                refused[each] = meaning
                before = self._valid.get(each.uid)
                if before is not None:
                    refused[each] += "; what it said before stays in force"
                    claims.append(Claim(each, before))
            else:
                self._valid[each.uid] = meaning
                claims.append(Claim(each, meaning))
        allowed = settings.declared.allow if settings.declared else {}
        settled = Settled()
        for _ in settling(claims, settled, taken=settings.endpoints, allowed=allowed):
            await slices.turn()
        there = {endpoint.name for endpoint in settled.endpoints}
        self._by_endpoint = {
            each.declaration.endpoint: each.declaration
            for each in claims
            if each.endpoint.name in there and each.declaration not in settled.refused
        }
        await self._apply([*settings.endpoints, *settled.endpoints], slices=slices)
        self._tell(settled.refused | refused)

    def _meaning(self, declaration: Declaration, settings: Settings) -> Endpoint | str:
        known = self._read.get(declaration)
        if known is not None:
            return known
        try:
            base = settings.source.parent
            return read_declaration(declaration, defaults=settings.defaults, base=base)
        except ConfigError as error:
            return "; ".join(error.problems)

    def _tell(self, refused: dict[Declaration, str]) -> None:
        for each in self._declarations:
            why, before = refused.get(each), self._refused.get(each.uid)
            if why is not None and why != before:
                self._say(each, "refused", why)
            elif why is None and before is not None:
                self._say(each, "accepted", f"it is endpoint {each.endpoint}")
        self._refused = {each.uid: why for each, why in refused.items()}
        self._operations.note_declarations([f"{each}: {why}" for each, why in refused.items()])

    def _say(self, declaration: Declaration, outcome: str, why: str) -> None:
        self._events.record("", f"declaration_{outcome}", f"{declaration}: {why}")
        if self._source is not None:
            self._source.tell(
                declaration,
                reason=f"Endpoint{outcome.capitalize()}",
                message=why,
                is_warning=outcome == "refused",
            )
