"""What operators want of the only activator there is: it ends with the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activator.coordination.base import Outcome

if TYPE_CHECKING:
    from activator.coordination.base import Subject


class MemoryWishes:
    """Implements `coordination.base.Wishes`."""

    def __init__(self) -> None:
        self._paused: set[str] = set()
        self._subjects: dict[str, Subject] = {}

    def join(self, endpoint: str, subject: Subject) -> None:
        self._subjects[endpoint] = subject
        if endpoint in self._paused:
            subject.pause()

    def leave(self, endpoint: str) -> None:
        self._subjects.pop(endpoint, None)

    async def pause(self, endpoint: str, *, on: bool) -> None:
        subject = self._subjects.get(endpoint)
        if on and endpoint not in self._paused:
            self._paused.add(endpoint)
            if subject is not None:
                subject.pause()
        elif not on and endpoint in self._paused:
            self._paused.remove(endpoint)
            if subject is not None:
                subject.resume()

    def activated(self, endpoint: str) -> None:
        """There is nobody else."""

    async def deactivate(self, endpoint: str, *, force: bool) -> Outcome:
        subject = self._subjects.get(endpoint)
        if subject is None:
            return Outcome(refusal="its replicas are about to be changed for others")
        return await subject.deactivate(force=force)
