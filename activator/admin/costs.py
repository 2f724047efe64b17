"""What endpoints have cost, by day: as JSON, or as CSV for a spreadsheet.

Decides which days and endpoints are asked for. What was used on them is behind `Operations`.
"""

from __future__ import annotations

import csv
import io
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web

from activator.admin.ports import Unavailable
from activator.admin.problems import Problem
from activator.core.key_usage import USES
from activator.core.usage import FIGURES, KEPT_DAYS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activator.admin.ports import Operations
    from activator.core.key_usage import DayKeyCost
    from activator.core.usage import DayUsage

COLUMNS = ("endpoint", "day", *FIGURES)
KEY_FIGURES = (*USES, "replica_seconds", "cost")
KEY_COLUMNS = ("endpoint", "day", "key", *KEY_FIGURES)


class CostCalls:
    """`GET /api/costs`."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

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
        only = request.query.get("endpoint")
        try:
            if by == "key":
                columns = KEY_COLUMNS
                shares = await self._operations.key_costs(first, last)
                rows = [_key_row(each) for each in shares if only in (None, each.endpoint)]
            else:
                columns = COLUMNS
                days = await self._operations.costs(first, last)
                rows = [_row(each) for each in days if only in (None, each.endpoint)]
        except Unavailable as away:
            raise Problem(503, str(away)) from away
        if "text/csv" in request.headers.get("Accept", ""):
            named = {"Content-Disposition": f'attachment; filename="costs-{first}-{last}.csv"'}
            return web.Response(text=_csv(rows, columns), content_type="text/csv", headers=named)
        whole = {"from": str(first), "to": str(last), "today": str(today), "days": rows}
        return web.json_response(whole)


def _day(request: web.Request, name: str, *, default: date) -> date:
    given = request.query.get(name)
    if given is None:
        return default
    try:
        return date.fromisoformat(given)
    except ValueError:
        raise Problem(400, f"{name} is a day like 2026-01-31, not {given!r}") from None


def _row(used: DayUsage) -> dict[str, Any]:
    return {"endpoint": used.endpoint, "day": str(used.day), **asdict(used.usage)}


def _key_row(it: DayKeyCost) -> dict[str, Any]:
    share = it.share
    money = {"replica_seconds": share.replica_seconds, "cost": share.cost}
    return {
        "endpoint": it.endpoint, "day": str(it.day), "key": it.key, **asdict(share.use), **money
    }  # fmt: skip


def _csv(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
    text = io.StringIO()
    lines = csv.DictWriter(text, columns, lineterminator="\r\n")
    lines.writeheader()
    lines.writerows(rows)
    return text.getvalue()
