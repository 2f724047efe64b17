"""Faults of our own, on purpose: methods that fail as nobody expects, and what was told of it."""

from __future__ import annotations

from contextlib import contextmanager
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from activator.aiokit.tasks import Tasks
from activator.core.backoff import Backoff

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator

    import pytest


class Faulty:
    """A method that fails, so many times, as nobody expects; `after`: once it has done its work."""

    def __init__(
        self,
        patch: pytest.MonkeyPatch,
        of: Any,
        name: str,
        *,
        times: int = 1,
        after: bool = False,
    ) -> None:
        self.times = times
        """Raise it to have it fail again."""
        self.failed = 0
        self.called = 0
        method = getattr(of, name)

        def fails(*args: Any, **named: Any) -> Any:
            with self._failing(after=after):
                return method(*args, **named)

        async def fails_later(*args: Any, **named: Any) -> Any:
            with self._failing(after=after):
                return await method(*args, **named)

        patch.setattr(of, name, fails_later if iscoroutinefunction(method) else fails)

    @contextmanager
    def _failing(self, *, after: bool) -> Iterator[None]:
        self.called += 1
        if not after:
            self._fail()
        yield
        if after:
            self._fail()

    def _fail(self) -> None:
        if self.failed < self.times:
            self.failed += 1
            raise RuntimeError("a secret")

    @property
    def has_gone_on(self) -> bool:
        """It has failed as often as it was to, and was called again."""
        return self.failed == self.times and self.called > self.failed


def long_pauses(patch: pytest.MonkeyPatch) -> None:
    """What leaves its pauses to `Tasks`, and is spawned from now on, begins again after half a
    minute at the soonest."""
    defaults: Any = Tasks.spawn_lasting.__kwdefaults__
    patch.setitem(defaults, "pauses", Backoff(first=30.0))


def failures(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The tasks whose failures were logged, in order; each with its traceback."""
    return [one.__dict__["task"] for one in _told(caplog)]


def failed_at(caplog: pytest.LogCaptureFixture, task: str) -> list[float]:
    """When this one has failed (wall-clock seconds)."""
    return [one.created for one in _told(caplog) if one.__dict__["task"] == task]


def _told(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    found = [one for one in caplog.records if one.__dict__.get("action") == "task_failed"]
    assert all(one.exc_info for one in found)
    return found
