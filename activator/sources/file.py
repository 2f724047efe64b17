"""Endpoints declared in one YAML file, taken up again whenever it changes.

Decides when to look and what counts as a change; what a file says is `config`'s business, what
becomes of it the app's. Polls: inotify sees neither network file systems nor what a symbolic link
leads to, which is how Kubernetes swaps a mounted ConfigMap.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from activator.aiokit.aside import aside
from activator.aiokit.garbage import uncollected
from activator.config.settings import load
from activator.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from pathlib import Path

    from activator.config.settings import Settings

_Stamp = tuple[int, int, int, int] | None

_SETTLE = 0.05
"""Seconds between two looks at a file that has changed: an editor may still be writing."""
_MAX_LOOKS = 20
"""A file that is written without an end is read all the same."""


class FileWatch:
    """Notices that files have been changed, replaced, created, removed, or swapped by a link.

    What counts as known is what was there at construction: construct it before reading.
    `poll` is in seconds; a change is noticed within that and told when the files rest.
    """

    def __init__(self, paths: Iterable[Path], *, poll: float = 1.0) -> None:
        self._paths = tuple(paths)
        self._poll = poll
        self._poked = asyncio.Event()
        self._known = self._look()

    def follow(self, paths: Iterable[Path]) -> None:
        """These, and no others; those that are new count as known from now on."""
        self._paths = tuple(paths)
        self._known = {path: self._known.get(path, _stamp(path)) for path in self._paths}

    def poke(self) -> None:
        """Let `wait` return now. Call it in the loop's thread."""
        self._poked.set()

    async def wait(self) -> frozenset[Path]:
        """Returns with the files that have changed since the last time; empty after a `poke`
        that finds none."""
        while True:
            poked = await self._pause()
            seen = await self._rested()
            changed = frozenset(path for path in self._paths if seen[path] != self._known[path])
            self._known = seen
            if changed or poked:
                return changed

    async def _pause(self) -> bool:
        """Until the next look is due; True: somebody wants it now."""
        try:
            async with asyncio.timeout(self._poll):
                await self._poked.wait()
        except TimeoutError:
            return False
        self._poked.clear()
        return True

    async def _rested(self) -> dict[Path, _Stamp]:
        seen = await asyncio.to_thread(self._look)
        for _ in range(_MAX_LOOKS):
            if seen == self._known:
                break
            await asyncio.sleep(_SETTLE)
            before, seen = seen, await asyncio.to_thread(self._look)
            if seen == before:
                break
        return seen

    def _look(self) -> dict[Path, _Stamp]:
        return {path: _stamp(path) for path in self._paths}


def _stamp(path: Path) -> _Stamp:
    """Of what the path leads to, through symbolic links; None if there is nothing."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino, stat.st_dev


class FileSource:
    """The configuration in one file (`sources.base.Source`).

    `environ` and `overrides` are handed to `config.settings.load`.
    """

    def __init__(
        self,
        path: Path,
        *,
        poll: float = 1.0,
        environ: Mapping[str, str] | None = None,
        overrides: Mapping[str, Any] | None = None,
        known: Settings | None = None,
    ) -> None:
        """`known`: what the file has said before, if anybody knows."""
        self._path = path
        self._known = known
        self._environ = environ
        self._overrides = overrides
        self._watch = FileWatch([path], poll=poll)
        self._asked = False

    def poke(self) -> None:
        self._asked = True
        self._watch.poke()

    async def run(
        self, changed: Callable[[Settings], Awaitable[None]], refused: Callable[[list[str]], None]
    ) -> None:
        """Tells the configuration at once, then after every change; see `sources.base.Source`.

        `changed` is left out where the file was touched but says the same, unless `poke` asked or
        the last thing told was a refusal. The same problems are told once.
        """
        current: Settings | None = None
        problems: list[str] | None = None
        while True:
            asked, self._asked = self._asked, False
            with uncollected():
                try:
                    settings = await aside(self._load)
                except ConfigError as error:
                    if error.problems != problems:
                        problems = error.problems
                        refused(problems)
                else:
                    self._known = settings
                    self._watch.follow([self._path, *settings.templates])
                    if settings != current or problems is not None or asked:
                        current, problems = settings, None
                        await changed(settings)
            await self._watch.wait()

    def _load(self, breathe: Callable[[], None]) -> Settings:
        return load(
            self._path,
            environ=self._environ,
            overrides=self._overrides,
            known=self._known,
            breathe=breathe,
        )
