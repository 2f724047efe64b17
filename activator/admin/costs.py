"""What endpoints have cost, by day: as JSON, or as CSV for a spreadsheet.

Decides which days and endpoints are asked for. What was used on them is behind `Operations`.
"""

from __future__ import annotations

import asyncio
import csv
from collections import deque
from contextlib import nullcontext
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from activator.admin.answers import Listed, in_parts, long_answer, sent
from activator.admin.ports import Unavailable
from activator.admin.problems import Problem
from activator.core.key_usage import USES
from activator.core.usage import FIGURES, KEPT_DAYS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from aiohttp import web

    from activator.admin.ports import Operations
    from activator.core.key_usage import DayKeyCost
    from activator.core.usage import DayUsage

T = TypeVar("T")

COLUMNS = ("endpoint", "day", *FIGURES)
KEY_FIGURES = (*USES, "replica_seconds", "cost")
KEY_COLUMNS = ("endpoint", "day", "key", *KEY_FIGURES)


class CostCalls:
    """`GET /api/costs`."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._lock = asyncio.Lock()
        """Held while one of all endpoints is made: a month of them is not needed twice at a time.
        One endpoint's is soon made, and its page does not wait for them."""

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/api/costs", self._tell)

    async def _tell(self, request: web.Request) -> web.Response:
        today = datetime.now(UTC).date()
        last = _day(request, "to", default=today)
        first = _day(request, "from", default=last.replace(day=1))
        if first > last:
            raise Problem(400, f"from {first} to {last} is no time")
        if (last - first).days > KEPT_DAYS:
            raise Problem(400, f"at most {KEPT_DAYS} days are told at once; as many are kept")
        by = request.query.get("by", "endpoint")
        if by not in ("endpoint", "key"):
            raise Problem(400, f"by is endpoint or key, not {by!r}")
        endpoint = request.query.get("endpoint")
        try:
            async with self._lock if endpoint is None else nullcontext():
                rows = await self._rows(by, first, last, endpoint=endpoint)
                if "text/csv" in request.headers.get("Accept", ""):
                    parts = await in_parts(_csv(rows, KEY_COLUMNS if by == "key" else COLUMNS))
                    named = f'attachment; filename="costs-{first}-{last}.csv"'
                    headers = {"Content-Disposition": named}
                    return sent(parts, content_type="text/csv; charset=utf-8", headers=headers)
                span = {"from": str(first), "to": str(last), "today": str(today)}
                return await long_answer({**span, "days": Listed(rows)})
        except Unavailable as away:
            raise Problem(503, str(away)) from away

    async def _rows(
        self, by: str, first: date, last: date, *, endpoint: str | None
    ) -> Iterator[dict[str, Any]]:
        if by == "key":
            shares = await self._operations.key_costs(first, last, endpoint=endpoint)
            return map(_key_row, _used_up(deque(shares)))
        days = await self._operations.costs(first, last, endpoint=endpoint)
        return map(_row, _used_up(deque(days)))


def _day(request: web.Request, name: str, *, default: date) -> date:
    given = request.query.get(name)
    if given is None:
        return default
    try:
        return date.fromisoformat(given)
    except ValueError:
        raise Problem(400, f"{name} is a day like 2026-01-31, not {given!r}") from None


def _used_up(rows: deque[T]) -> Iterator[T]:
    """One after another, and so they are freed: in one piece that takes as long as some slices."""
    while rows:
        yield rows.popleft()


def _row(used: DayUsage) -> dict[str, Any]:
    usage = used.usage
    figures = {name: getattr(usage, name) for name in FIGURES}
    return {"endpoint": used.endpoint, "day": str(used.day), **figures}


def _key_row(it: DayKeyCost) -> dict[str, Any]:
    share = it.share
    uses = {name: getattr(share.use, name) for name in USES}
    money = {"replica_seconds": share.replica_seconds, "cost": share.cost}
    return {"endpoint": it.endpoint, "day": str(it.day), "key": it.key, **uses, **money}


class _Line:
    """A file that gives back what is written to it, for `csv`."""

    def write(self, line: str) -> str:
        return line


def _csv(rows: Iterable[dict[str, Any]], columns: Sequence[str]) -> Iterator[str]:
    line = csv.writer(_Line(), lineterminator="\r\n").writerow
    yield line(columns)
    for row in rows:
        yield line([row[name] for name in columns])
