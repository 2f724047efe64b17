"""`activator status --cost`, against a real admin port."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from activator.cli import main
from activator.core.key_usage import UNUSED, DayKeyCost, KeyShare, KeyUse
from activator.core.usage import DayUsage, Usage
from tests.unit.admin.support import Admin, running
from tests.unit.cli.support import exits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DAY = date(2026, 3, 31)


@pytest.fixture
async def admin() -> AsyncIterator[Admin]:
    async with running() as admin:
        yield admin


async def run(admin: Admin, *words: str) -> int:
    return await asyncio.to_thread(main, ["status", "--cost", *words, "--admin", admin.url])


async def test_today_and_this_month_are_told_side_by_side_with_a_total(
    admin: Admin, capsys: pytest.CaptureFixture[str]
) -> None:
    today = datetime.now(UTC).date()
    admin.house.booked = [
        DayUsage("llama", today, Usage(ready_seconds=3600, cost=2.5, saved=57.5, cold_starts=2)),
        DayUsage("whisper", today, Usage(saved_seconds=60, saved=1.0)),
    ]
    assert await run(admin) == 0

    head, llama, whisper, total = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["ENDPOINT", "TODAY", "SAVED", "TODAY"]
    assert llama.split() == ["llama", "2.50", "57.50", "2.50", "57.50", "2", "1h00m", "0.0s"]
    assert whisper.split() == ["whisper", "0.00", "1.00", "0.00", "1.00", "0", "0.0s", "1m00s"]
    assert total.split() == ["total", "2.50", "58.50", "2.50", "58.50", "2", "1h00m", "1m00s"]


async def test_a_span_of_days_is_added_up(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    used = Usage(ready_seconds=3600, cost=2.5, saved=57.5, cold_starts=2, cold_start_cost=0.25)
    days = [DAY - timedelta(days=passed) for passed in range(3)]
    admin.house.booked = [DayUsage("llama", day, used) for day in days]
    assert await run(admin, "llama", "--from", "2026-03-30", "--to", "2026-03-31") == 0

    _, llama = capsys.readouterr().out.splitlines()
    assert llama.split() == ["llama", "5.00", "115.00", "4", "0.50", "2h00m", "0.0s"]


async def test_json_and_csv_tell_each_day(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    admin.house.booked = [DayUsage("llama", DAY, Usage(cost=2.5))]
    span = ("--from", "2026-03-31", "--to", "2026-03-31")
    assert await run(admin, *span, "--json") == 0
    assert json.loads(capsys.readouterr().out)["days"][0]["cost"] == 2.5

    assert await run(admin, *span, "--csv") == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.startswith("endpoint,day,ready_seconds,")
    assert row.startswith("llama,2026-03-31,0.0,")


async def test_keys_are_told_with_what_they_cost_the_dearest_first(
    admin: Admin, capsys: pytest.CaptureFixture[str]
) -> None:
    use = KeyUse(requests=3, slot_seconds=60.0, wait_seconds=5.0, kept_seconds=600.0)
    admin.house.divided = [
        DayKeyCost("llama", DAY, "", KeyShare(UNUSED, 10.0, 0.01)),
        DayKeyCost("llama", DAY, "team", KeyShare(use, 3600.0, 2.5)),
        DayKeyCost("llama", DAY - timedelta(days=1), "team", KeyShare(use, 3600.0, 2.5)),
    ]
    days = ("--by-key", "--from", "2026-03-30", "--to", "2026-03-31")
    assert await run(admin, *days) == 0
    head, team, nobody, total = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["ENDPOINT", "KEY", "REQUESTS"]
    assert team.split() == ["llama", "team", "6", "2m00s", "10s", "20m00s", "2h00m", "5.00"]
    assert nobody.split()[:3] == ["llama", "(nobody)", "0"]
    assert total.split() == ["total", "6", "2m00s", "10s", "20m00s", "2h00m", "5.01"]

    assert await run(admin, *days, "--csv") == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head == (
        "endpoint,day,key,requests,slot_seconds,wait_seconds,kept_seconds,replica_seconds,cost"
    )
    assert rows[1] == "llama,2026-03-31,team,3,60.0,5.0,600.0,3600.0,2.5"


async def test_where_nothing_is_booked_it_says_so(
    admin: Admin, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run(admin, "--from", "2026-03-31", "--to", "2026-03-31") == 1
    assert "nothing is booked from 2026-03-31 to 2026-03-31" in capsys.readouterr().err


async def test_what_is_no_day_is_said_to_be_none(
    admin: Admin, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run(admin, "--from", "monday") == 1
    assert "from is a day like 2026-01-31" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--csv", "--from=2026-03-31", "--to=2026-03-31", "--by-key"])
def test_days_are_of_costs(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exits(["status", option]) == 2
    assert "--cost" in capsys.readouterr().err
