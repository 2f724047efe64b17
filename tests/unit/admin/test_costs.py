"""What endpoints have cost, asked for at a real admin port."""

from __future__ import annotations

import asyncio
import csv
import io
from datetime import UTC, date, datetime, timedelta

import pytest

from activator.core.key_usage import DayKeyCost, KeyShare, KeyUse
from activator.core.usage import FIGURES, DayUsage, Usage
from tests.support import eventually
from tests.unit.admin.support import running

DAY = date(2026, 3, 31)
USED = Usage(ready_seconds=3600.0, cost=2.5, saved=57.5, cold_starts=1, cold_start_cost=0.03)


def booked(*days: date) -> list[DayUsage]:
    return [DayUsage(name, day, USED) for day in days for name in ("llama", "whisper")]


async def test_days_are_told_figure_by_figure() -> None:
    async with running() as admin:
        admin.house.booked = booked(DAY - timedelta(days=1), DAY)
        code, told = await admin.get(f"/api/costs?from={DAY}&to={DAY}")

        assert code == 200
        assert (told["from"], told["to"]) == ("2026-03-31", "2026-03-31")
        assert [one["endpoint"] for one in told["days"]] == ["llama", "whisper"]
        assert set(told["days"][0]) == {"endpoint", "day", *FIGURES}
        assert (told["days"][0]["cost"], told["days"][0]["cold_starts"]) == (2.5, 1)


async def test_one_endpoint_may_be_asked_for() -> None:
    async with running() as admin:
        admin.house.booked = booked(DAY)
        _, told = await admin.get(f"/api/costs?endpoint=llama&from={DAY}&to={DAY}")

        assert [one["endpoint"] for one in told["days"]] == ["llama"]


async def test_all_endpoints_are_told_of_once_at_a_time_and_one_alone_does_not_wait_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running() as admin:
        admin.house.booked = booked(DAY)
        read, begun, go_on = admin.house.costs, 0, asyncio.Event()

        async def slow(first: date, last: date, *, endpoint: str | None = None) -> list[DayUsage]:
            nonlocal begun
            if endpoint is None:
                begun += 1
                await go_on.wait()
            return await read(first, last, endpoint=endpoint)

        monkeypatch.setattr(admin.house, "costs", slow)
        path = f"/api/costs?from={DAY}&to={DAY}"
        async with asyncio.TaskGroup() as asking:
            both = [asking.create_task(admin.get(path)) for _ in range(2)]
            try:
                await eventually(lambda: begun)
                one = asking.create_task(admin.get(f"{path}&endpoint=llama"))
                await eventually(one.done)
                assert begun == 1
            finally:
                go_on.set()

        assert len(one.result()[1]["days"]) == 1
        assert [len(each.result()[1]["days"]) for each in both] == [2, 2]


async def test_without_days_it_is_this_month_up_to_today() -> None:
    async with running() as admin:
        today = datetime.now(UTC).date()
        admin.house.booked = booked(today.replace(day=1) - timedelta(days=1), today)
        _, told = await admin.get("/api/costs")

        assert {one["day"] for one in told["days"]} == {told["today"]}
        assert told["from"].endswith("-01")


async def test_csv_is_what_a_spreadsheet_reads() -> None:
    async with running() as admin:
        admin.house.booked = booked(DAY)
        code, told = await admin.get(
            f"/api/costs?from={DAY}&to={DAY}", headers={"Accept": "text/csv"}
        )

        assert code == 200
        rows = list(csv.DictReader(io.StringIO(told)))
        assert [row["endpoint"] for row in rows] == ["llama", "whisper"]
        assert {name: float(rows[0][name]) for name in FIGURES} == {
            name: getattr(USED, name) for name in FIGURES
        }


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("from=yesterday", "from is a day like 2026-01-31, not 'yesterday'"),
        ("to=2026-02-30", "to is a day"),
        ("from=2026-03-02&to=2026-03-01", "from 2026-03-02 to 2026-03-01 is no time"),
        ("from=2020-01-01&to=2026-01-01", "at most 400 days"),
    ],
)
async def test_days_that_are_none_are_refused(query: str, says: str) -> None:
    async with running() as admin:
        code, problem = await admin.get(f"/api/costs?{query}")

        assert code == 400
        assert says in problem["detail"]


async def test_a_store_that_is_away_is_503() -> None:
    async with running() as admin:
        admin.house.away = True
        code, problem = await admin.get("/api/costs")

        assert code == 503
        assert "connection refused" in problem["detail"]


async def test_they_are_divided_among_keys_when_that_is_asked_for() -> None:
    async with running() as admin:
        share = KeyShare(KeyUse(2, 1.0, 2.0, 3.0), replica_seconds=6.0, cost=0.5)
        admin.house.divided = [
            DayKeyCost(name, DAY, "team", share) for name in ("llama", "whisper")
        ]
        _, told = await admin.get(f"/api/costs?by=key&endpoint=llama&from={DAY}&to={DAY}")
        assert told["days"] == [
            {"endpoint": "llama", "day": str(DAY), "key": "team", "requests": 2,
             "slot_seconds": 1.0, "wait_seconds": 2.0, "kept_seconds": 3.0,
             "replica_seconds": 6.0, "cost": 0.5}
        ]  # fmt: skip
        assert (await admin.get("/api/costs?by=colour"))[0] == 400
        admin.house.away = True
        assert (await admin.get("/api/costs?by=key"))[0] == 503
