"""What the admin port may do, carried out by the control loops (`admin.ports.Operations`)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from activator.admin.ports import ConfigStatus, Conflict, UnknownEndpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from activator.config.settings import Settings
    from activator.control.controller import Controller
    from activator.control.supervisor import Supervisor
    from activator.core.status import EndpointStatus


class AppOperations:
    """See the module. `note_config` is told how every look at the configuration ended."""

    def __init__(
        self,
        supervisor: Supervisor,
        *,
        why_not_ready: Callable[[], str | None],
        settings: Settings,
    ) -> None:
        self._supervisor = supervisor
        self._why_not_ready = why_not_ready
        self._settings = settings
        self._config_status = ConfigStatus(at=time.time())

    def note_config(self, settings: Settings | None, *, problems: Sequence[str] = ()) -> None:
        """`settings` are in force from now on; None: they were refused for these problems."""
        if settings is not None:
            self._settings = settings
        self._config_status = ConfigStatus(at=time.time(), problems=tuple(problems))

    def endpoints(self) -> Sequence[EndpointStatus]:
        return [control.status() for control in self._supervisor.all()]

    def endpoint(self, name: str) -> EndpointStatus | None:
        control = self._supervisor.get(name)
        return control.status() if control else None

    async def activate(self, name: str) -> None:
        control = self._scalable(name)
        if control.life.paused:
            raise Conflict(f"Endpoint {name} is paused; resume it first")
        control.activate()

    async def deactivate(self, name: str, *, force: bool) -> None:
        control = self._scalable(name)
        if control.demand and not force:
            raise Conflict(
                f"Endpoint {name} has {control.demand} requests held or in flight; "
                "wait, or force it (what is in flight is then broken off)"
            )
        control.deactivate(force=force)

    async def pause(self, name: str) -> None:
        self._control(name).pause()

    async def resume(self, name: str) -> None:
        self._control(name).resume()

    def config(self) -> Mapping[str, Any]:
        return self._settings.masked()

    def config_status(self) -> ConfigStatus:
        return self._config_status

    def ready(self) -> str | None:
        return self._why_not_ready()

    def _control(self, name: str) -> Controller:
        control = self._supervisor.get(name)
        if control is None:
            raise UnknownEndpoint(name)
        return control

    def _scalable(self, name: str) -> Controller:
        control = self._control(name)
        if not control.scalable:
            raise Conflict(f"Endpoint {name} has a static backend: it is never scaled")
        return control
