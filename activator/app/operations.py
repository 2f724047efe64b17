"""What the admin port may do, carried out by the control loops (`admin.ports.Operations`)."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from activator.admin.ports import ConfigStatus, Conflict, Unavailable, UnknownEndpoint
from activator.coordination.base import NoLeader
from activator.core.held import HeldRequests
from activator.core.status import EndpointHistory
from activator.errors import Cancelled, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import date

    from activator.config.settings import Settings
    from activator.control.bookkeeper import Bookkeeper
    from activator.control.controller import Controller
    from activator.control.supervisor import Supervisor
    from activator.coordination.base import Wishes
    from activator.core.history import Day
    from activator.core.key_usage import DayKeyCost
    from activator.core.status import EndpointStatus
    from activator.core.usage import DayUsage
    from activator.telemetry.events import EventLog

SHOWN_WITHIN = 2.0
"""Seconds that an answer waits for the status to show what was ordered."""


class AppOperations:
    """See the module. `note_config` is told how every look at the configuration ended."""

    def __init__(
        self,
        supervisor: Supervisor,
        *,
        wishes: Callable[[], Wishes],
        costs: Callable[[], Bookkeeper],
        why_not_ready: Callable[[], str | None],
        why_not_serving: Callable[[], str | None],
        settings: Settings,
        events: EventLog,
    ) -> None:
        self._supervisor = supervisor
        self._wishes = wishes
        self._costs = costs
        self._why_not_ready = why_not_ready
        self._why_not_serving = why_not_serving
        self._settings = settings
        self._events = events
        self._refused: tuple[str, ...] = ()
        self._not_declared: tuple[str, ...] = ()
        self._config_status = ConfigStatus(at=time.time())

    def note_config(self, settings: Settings | None, *, problems: Sequence[str] = ()) -> None:
        """`settings` are in force from now on; None: they were refused for these problems."""
        if settings is not None:
            self._settings = settings
        self._refused = tuple(problems)
        self._note()

    def note_declarations(self, problems: Sequence[str]) -> None:
        """What objects of a cluster declare, and was refused; the rest is in force."""
        if tuple(problems) != self._not_declared:
            self._not_declared = tuple(problems)
            self._note()

    def _note(self) -> None:
        problems = self._refused + self._not_declared
        self._config_status = ConfigStatus(at=time.time(), problems=problems)

    def names(self) -> Sequence[str]:
        return sorted(self._supervisor.by_name)

    def endpoints(self) -> Iterator[EndpointStatus]:
        return (self._status(control) for control in self._one_by_one())

    def endpoint(self, name: str) -> EndpointStatus | None:
        control = self._supervisor.get(name)
        return self._status(control) if control else None

    def _status(self, control: Controller) -> EndpointStatus:
        return control.status(today=self._costs().today(control.name))

    def days(self) -> Iterator[tuple[str, Day]]:
        return ((control.name, control.day()) for control in self._one_by_one())

    def _one_by_one(self) -> Iterator[Controller]:
        """All that there are now, as far as they are there when their turn comes."""
        for name in self.names():
            if (control := self._supervisor.get(name)) is not None:
                yield control

    def history(self, name: str) -> EndpointHistory | None:
        control = self._supervisor.get(name)
        if control is None:
            return None
        return EndpointHistory(name, control.day(), tuple(reversed(control.cold_starts.recent)))

    def held(self, name: str, *, first: int, most: int) -> HeldRequests | None:
        control = self._supervisor.get(name)
        if control is None:
            return None
        gate = control.live.gate
        requests = tuple(gate.listed(first, most))
        return HeldRequests(name, requests, gate.held, gate.held_elsewhere()[0])

    def cancel_held(self, name: str, request_id: str) -> int:
        cancelled = self._control(name).live.gate.cancel(request_id, Cancelled())
        if cancelled:
            self._events.record(name, "cancelled", f"{request_id}: an operator asked for it")
        return cancelled

    async def costs(
        self, first: date, last: date, *, endpoint: str | None = None
    ) -> Sequence[DayUsage]:
        with _read_from_the_book():
            return await self._costs().days(first, last, endpoint=endpoint)

    async def key_costs(
        self, first: date, last: date, *, endpoint: str | None = None
    ) -> Sequence[DayKeyCost]:
        with _read_from_the_book():
            return await self._costs().keys(first, last, endpoint=endpoint)

    async def activate(self, name: str) -> None:
        control = self._scalable(name)
        if control.life.paused:
            raise Conflict(f"Endpoint {name} is paused; resume it first")
        control.verbs.activate()
        self._wishes().activated(name)
        await control.verbs.until(lambda: bool(control.snapshot.wanted), within=SHOWN_WITHIN)

    async def deactivate(self, name: str, *, force: bool) -> None:
        control = self._scalable(name)
        try:
            outcome = await self._wishes().deactivate(name, force=force)
        except StoreUnavailable as away:
            raise Unavailable(f"Endpoint {name} was not deactivated: {_in_words(away)}") from away
        except NoLeader as nobody:
            raise Unavailable(
                f"No activator that leads has answered, so it is not known whether endpoint {name} "
                "is deactivated; its status tells, and the order may be repeated"
            ) from nobody
        if outcome.refusal:
            hint = "" if force else "; wait, or force it (what is in flight is then broken off)"
            raise Conflict(f"Endpoint {name} was not deactivated: {outcome.refusal}{hint}")
        await control.verbs.until(
            lambda: not (outcome.done and control.snapshot.wanted), within=SHOWN_WITHIN
        )

    async def pause(self, name: str) -> None:
        await self._pause(name, on=True)

    async def resume(self, name: str) -> None:
        await self._pause(name, on=False)

    async def _pause(self, name: str, *, on: bool) -> None:
        control = self._control(name)
        try:
            await self._wishes().pause(name, on=on)
        except StoreUnavailable as away:
            verb = "paused" if on else "resumed"
            raise Unavailable(f"Endpoint {name} was not {verb}: {_in_words(away)}") from away
        await control.verbs.until(lambda: control.life.paused is on, within=SHOWN_WITHIN)

    def config(self) -> Mapping[str, Any]:
        return self._settings.masked_keys()

    def declared(self) -> Iterator[Mapping[str, Any]]:
        return self._settings.masked_endpoints()

    def config_status(self) -> ConfigStatus:
        return self._config_status

    def ready(self) -> str | None:
        return self._why_not_ready()

    def _control(self, name: str) -> Controller:
        """To do something with. Raises Unavailable: another activator is the one to do it."""
        control = self._supervisor.get(name)
        if control is None:
            raise UnknownEndpoint(name)
        if (why := self._why_not_serving()) is not None:
            raise Unavailable(f"This activator {why}")
        return control

    def _scalable(self, name: str) -> Controller:
        control = self._control(name)
        if not control.scalable:
            raise Conflict(f"Endpoint {name} has a static backend: it is never scaled")
        return control


@contextmanager
def _read_from_the_book() -> Iterator[None]:
    try:
        yield
    except StoreUnavailable as away:
        raise Unavailable(f"The book of costs cannot be read: {away.detail}") from away


def _in_words(away: StoreUnavailable) -> str:
    return f"{away.detail} (its status tells if the store has heard of it all the same)"
