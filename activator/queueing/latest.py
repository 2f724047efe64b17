"""The latest of the jobs that a store comes across, endpoint by endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from activator.queueing.jobs import Record


class Latest:
    """Keeps little more than `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: list[Record] = []

    def add(self, records: Iterable[Record]) -> None:
        self._kept += records
        if len(self._kept) > 4 * self._limit:
            self._kept = self.found

    @property
    def found(self) -> list[Record]:
        """The latest first."""
        return sorted(self._kept, key=_created, reverse=True)[: self._limit]


def _created(record: Record) -> tuple[float, str]:
    return record.job.created, record.job.id
