"""Takes up what changed on disk while the activator runs: configuration, keys, certificates.

A change that is invalid is refused, said so in status and events, and what was in force stays.
"""

from __future__ import annotations

import logging
import ssl
from functools import partial
from typing import TYPE_CHECKING, Any

from activator.aiokit.tasks import Tasks
from activator.config.keys import load_keys
from activator.errors import ConfigError
from activator.sources.file import FileSource, FileWatch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from activator.app.operations import AppOperations
    from activator.config.settings import Settings
    from activator.proxy.listener import Certificate, Proxy
    from activator.queueing.jobs import JobStore
    from activator.telemetry.events import EventLog

_log = logging.getLogger("activator.app")


class Reloading:
    """Watches the files of one configuration."""

    def __init__(
        self,
        settings: Settings,
        *,
        overrides: Mapping[str, Any],
        apply: Callable[[Settings], Awaitable[None]],
        operations: AppOperations,
        events: EventLog,
    ) -> None:
        """Make it before the files are read for the first time: a change after this is noticed.

        `apply`: make the endpoints at work what is told."""
        self.settings = settings
        """In force now."""
        self._is_halfway = False
        """A change has met a fault: some of it may be in force, and going back is a change, too."""
        self._apply = apply
        self._operations = operations
        self._events = events
        self._source = FileSource(settings.source, overrides=overrides, known=settings)
        self._keys_file = settings.auth.api_keys_file
        self._keys_watch = FileWatch([self._keys_file] if self._keys_file else [])
        tls = settings.server.tls
        self._certificate_watch = FileWatch([tls.cert_file, tls.key_file] if tls else [])
        self._tasks = Tasks("reloading")

    def start(self, *, proxy: Proxy, jobs: JobStore, certificate: Certificate | None) -> None:
        """Take changes up from now on."""
        self._proxy = proxy
        self._door = proxy.door
        self._jobs = jobs
        spawn, source = self._tasks.spawn_lasting, self._source
        spawn(partial(source.run, self._changed, self._refused), name="file")
        if self._keys_file is not None:
            keys = partial(self._follow_keys, self._keys_file)
            spawn(keys, name="keys", again=self._keys_watch.poke)
        if certificate is not None:
            both = partial(self._follow_certificate, certificate)
            spawn(both, name="certificate", again=self._certificate_watch.poke)

    def poke(self) -> None:
        """Look again now (SIGHUP)."""
        self._source.poke()
        self._keys_watch.poke()
        self._certificate_watch.poke()

    async def aclose(self) -> None:
        await self._tasks.aclose()

    async def _changed(self, settings: Settings) -> None:
        self._operations.note_config(settings)
        if settings == self.settings and not self._is_halfway:
            return
        before, self._is_halfway = self.settings, True
        await self._apply(settings)
        self.settings = settings
        self._door.trusted = settings.server.trusted_proxies
        self._proxy.openai = settings.openai
        self._jobs.configure(settings.jobs)
        self._is_halfway = False
        later = _needs_restart(before, settings)
        for key in later:
            self._events.record("", "needs_restart", f"{key} holds from the next start")
        self._events.record("", "configuration_changed", f"{settings.source} was taken up")
        for warning in settings.warnings:
            _log.warning(warning, extra={"action": "configuration_warning"})

    def _refused(self, problems: Sequence[str]) -> None:
        self._operations.note_config(None, problems=problems)
        self._events.record("", "configuration_refused", "; ".join(problems))

    async def _follow_keys(self, path: Path) -> None:
        while True:
            await self._keys_watch.wait()
            try:
                self._door.keys = load_keys(path)
            except ConfigError as error:
                self._events.record("", "keys_refused", "; ".join(error.problems))
            else:
                self._events.record("", "keys_changed", f"{len(self._door.keys)} keys in force")

    async def _follow_certificate(self, certificate: Certificate) -> None:
        while True:
            await self._certificate_watch.wait()
            try:
                certificate.reload()
            except (OSError, ssl.SSLError) as error:
                self._events.record("", "certificate_refused", str(error))
            else:
                self._events.record("", "certificate_changed", "new connections get the new one")


def _needs_restart(before: Settings, after: Settings) -> list[str]:
    """Keys whose change is not taken up while running."""
    sections = (
        ("server.listen", before.server.listen, after.server.listen),
        ("server.admin", before.server.admin, after.server.admin),
        ("server.tls", before.server.tls, after.server.tls),
        ("server.limits", before.server.limits, after.server.limits),
        ("server.heldMemory", before.server.held_memory, after.server.held_memory),
        ("store", before.store, after.store),
        ("auth", before.auth, after.auth),
        ("tracing", before.tracing, after.tracing),
    )
    return [key for key, old, new in sections if old != new]
