"""What the admin port needs from the rest of the house, in its own words.

The composition root implements `Operations` over the control loops; nothing here knows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

    from activator.core.held import HeldRequests
    from activator.core.history import Day
    from activator.core.jobs import JobState
    from activator.core.key_usage import DayKeyCost
    from activator.core.status import EndpointHistory, EndpointStatus
    from activator.core.usage import DayUsage


@dataclass(frozen=True, slots=True)
class ConfigStatus:
    """How the last look at the configuration ended."""

    at: float
    """Unix time of that look."""
    problems: tuple[str, ...] = ()
    """What was refused, and why; empty: all that is declared is in force."""

    @property
    def ok(self) -> bool:
        return not self.problems


class UnknownEndpoint(Exception):
    """No endpoint has this name."""


class Conflict(Exception):
    """The endpoint's state does not allow it now; the message says why and what to do."""


class Unavailable(Exception):
    """What has to carry it out (a driver, a store) refused or is away; the message says which."""


class Operations(Protocol):
    """What an operator may see and do.

    The four verbs hold for all activators of a store. They return when the order has been taken and
    the status shows it, which is before replicas have started or ended: progress is in the status
    and in the events. All of them raise UnknownEndpoint, Conflict, Unavailable.
    """

    def names(self) -> Sequence[str]:
        """Of all endpoints, in order."""

    def endpoints(self) -> Iterator[EndpointStatus]:
        """Each as it is when it is asked for; one that has gone meanwhile is left out."""

    def endpoint(self, name: str) -> EndpointStatus | None: ...

    def days(self) -> Iterator[tuple[str, Day]]:
        """By endpoint, in the same way."""

    def history(self, name: str) -> EndpointHistory | None: ...

    def held(self, name: str, *, first: int, most: int) -> HeldRequests | None:
        """At most so many, from the `first`; 0: who has waited longest."""

    def cancel_held(self, name: str, request_id: str) -> int:
        """Tell whoever waits here under this id that an operator has cancelled it; how many did.
        Raises UnknownEndpoint."""

    async def costs(
        self, first: date, last: date, *, endpoint: str | None = None
    ) -> Sequence[DayUsage]:
        """By day, of every endpoint that has been booked, or of one. Raises Unavailable."""

    async def key_costs(
        self, first: date, last: date, *, endpoint: str | None = None
    ) -> Sequence[DayKeyCost]:
        """The same, divided among API keys. Raises Unavailable."""

    async def activate(self, name: str) -> None:
        """At least one replica, demand or none; idles away like any other."""

    async def deactivate(self, name: str, *, force: bool) -> None:
        """To zero. With demand at any activator a Conflict unless `force`: what is in flight is
        then broken off. One that takes longer than an answer can wait shows as `draining`."""

    async def pause(self, name: str) -> None:
        """Hold what comes and do not activate, until `resume`."""

    async def resume(self, name: str) -> None: ...

    def config(self) -> Mapping[str, Any]:
        """The configuration in force but for its endpoints, in the words of its file, secrets
        masked."""

    def declared(self) -> Iterator[Mapping[str, Any]]:
        """Its endpoints, in the same words."""

    def config_status(self) -> ConfigStatus: ...

    def ready(self) -> str | None:
        """None: clients may be sent here. Otherwise why not."""


class JobOperations(Protocol):
    """What an operator may see and do of jobs, each described as clients see theirs. Raises
    Unavailable, and `jobs` UnknownEndpoint; None: there is no such job (any more)."""

    async def jobs(
        self, *, endpoint: str | None, states: Sequence[JobState], limit: int
    ) -> list[dict[str, Any]]:
        """The latest first, of all endpoints or one, in any of the states or in whichever."""

    async def job(self, job_id: str) -> dict[str, Any] | None: ...

    async def cancel_job(self, job_id: str) -> dict[str, Any] | None:
        """One that has ended stays as it is."""

    async def retry_job(self, job_id: str) -> dict[str, Any] | None:
        """A failed one; any other stays as it is."""
