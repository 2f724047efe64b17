"""The dashboard as a person uses it: a browser in front of a real activator."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import expect

from activator.core.history import History
from activator.core.key_usage import DayKeyCost, KeyShare, KeyUse
from activator.core.lifecycle import State
from tests.browser.conftest import check_accessible
from tests.redis_server import free_port
from tests.serving import serving
from tests.support import eventually
from tests.unit.admin.support import TOKEN, a_working_day, held, running, status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Route

    from activator.core.history import Day
    from tests.browser.conftest import Opening
    from tests.serving import Serving
    from tests.unit.admin.support import Admin

PICTURES = Path(__file__).parents[2] / "docs" / "images"


@asynccontextmanager
async def activator(folder: Path, **keys: Any) -> AsyncIterator[Serving]:
    """On an admin port that a second start finds free again."""
    listen = {"admin": f"127.0.0.1:{free_port()}"}
    async with serving(folder, server=listen, **keys) as made:
        yield made


def page_of(made: Serving) -> str:
    return f"http://127.0.0.1:{made.admin}/"


async def test_an_endpoint_is_seen_waking_and_going_back_to_zero(
    tmp_path: Path, opening: Opening
) -> None:
    async with (
        activator(tmp_path, scale={"idleTimeout": "2s"}) as made,
        opening(page_of(made)) as page,
    ):
        row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="m"))
        await expect(row).to_contain_text("inactive")
        await expect(page.locator("#link")).to_have_text("live")

        await made.get("/")

        await expect(row).to_contain_text("active for")
        await expect(row).to_contain_text("1 of 1 ready")
        await expect(row).to_contain_text("inactive", timeout=20_000)

        await row.get_by_role("link", name="m").click()
        await expect(page.get_by_role("heading", name="m", exact=True)).to_be_focused()
        await expect(page.locator("#events")).to_contain_text("deactivated: no request for")
        await expect(page.locator(".start")).to_have_count(1)


async def test_an_operator_starts_pauses_and_stops_it_after_a_question(
    tmp_path: Path, opening: Opening
) -> None:
    async with activator(tmp_path) as made, opening(page_of(made) + "#/endpoint/m") as page:
        facts, dialog = page.locator("#facts"), page.get_by_role("dialog")

        await page.get_by_role("button", name="Activate", exact=True).click()
        await expect(dialog).to_contain_text("Activate: m?")
        await dialog.get_by_role("button", name="Cancel").click()
        await expect(dialog).to_be_hidden()
        await expect(facts).to_contain_text("inactive")

        await page.get_by_role("button", name="Activate", exact=True).click()
        await dialog.get_by_role("button", name="Activate", exact=True).click()
        await expect(facts).to_contain_text("active for")
        await expect(page.locator("#replicas")).to_contain_text("ready")

        await page.get_by_role("button", name="Pause").click()
        await dialog.get_by_role("button", name="Pause").click()
        await expect(facts).to_contain_text("paused")
        await page.get_by_role("button", name="Resume").click()
        await dialog.get_by_role("button", name="Resume").click()
        await expect(page.get_by_role("button", name="Pause")).to_be_visible()

        await page.get_by_role("button", name="Deactivate").click()
        await dialog.get_by_role("button", name="Deactivate").click()
        await expect(facts).to_contain_text("inactive")


async def test_a_lost_connection_is_told_and_comes_back_by_itself(
    tmp_path: Path, opening: Opening
) -> None:
    async with activator(tmp_path) as made, opening(page_of(made)) as page:
        link = page.locator("#link")
        await expect(link).to_have_text("live")

        made.process.kill()
        await made.process.wait()
        await expect(link).to_contain_text("trying again")

        await made.start()
        await expect(link).to_have_text("live", timeout=30_000)


async def test_who_answers_while_an_endpoint_cannot_is_told_in_the_list_and_on_its_page(
    opening: Opening,
) -> None:
    async with running() as admin:
        words = "api.example.com 12 of 1000 requests today (UTC)"
        admin.house.statuses["llama"] = status(
            "llama", state="failed", failure="exited with 3", fallback=words
        )
        async with opening(admin.url + "/") as page:
            row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="llama"))
            await expect(row).to_contain_text(f"exited with 3; fallback {words}")
            other = page.get_by_role("row").filter(
                has=page.get_by_role("rowheader", name="whisper")
            )
            await expect(other).not_to_contain_text("fallback")

            await row.get_by_role("link", name="llama").click()
            await expect(page.locator("#facts")).to_contain_text(words)


async def test_where_an_answer_takes_long_it_is_asked_for_a_tenth_of_the_time(
    opening: Opening,
) -> None:
    async with running() as admin, opening("about:blank") as page:
        asked: list[str] = []

        async def take_a_second(route: Route) -> None:
            asked.append(route.request.url)
            await page.clock.run_for(1000)
            await route.continue_()

        await page.clock.install()
        await page.clock.pause_at(datetime(2030, 1, 1, tzinfo=UTC))
        await page.route("**/api/endpoints", take_a_second)
        await page.goto(admin.url + "/")
        row = page.get_by_role("row").filter(has_text="llama")
        await expect(row).to_contain_text("inactive")

        admin.events.record("llama", "activated", "demand")
        await page.clock.run_for(8900)
        assert len(asked) == 1

        await page.clock.run_for(200)
        await eventually(lambda: len(asked) == 2)
        await page.get_by_role("link", name="llama").click()  # nobody waits who has done something
        await page.clock.run_for(10)
        await expect(page.locator("#facts")).to_contain_text("inactive")
        await page.get_by_role("link", name="All endpoints").click()
        await page.clock.run_for(10)
        await eventually(lambda: len(asked) == 3)


async def test_events_that_come_all_the_time_do_not_put_off_what_is_shown(
    opening: Opening,
) -> None:
    async def happen(admin: Admin) -> None:
        while True:
            admin.events.record("whisper", "reconfigured", "")
            await asyncio.sleep(0.05)

    async with running() as admin, opening(admin.url + "/") as page:
        row = page.get_by_role("row").filter(has_text="llama")
        await expect(row).to_contain_text("inactive")
        happening = asyncio.ensure_future(happen(admin))  # noqa: TID251 -- ended below
        try:
            for state in ("active", "draining", "failed"):
                admin.house.statuses["llama"] = status("llama", state=state)
                await expect(row).to_contain_text(f"{state} for")
        finally:
            happening.cancel()


async def test_on_its_own_page_an_endpoint_alone_is_asked_for(opening: Opening) -> None:
    async with running() as admin, opening("about:blank") as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url.removeprefix(admin.url)))
        await page.goto(admin.url + "/#/endpoint/llama")
        await expect(page.locator("#facts")).to_contain_text("inactive")
        admin.house.statuses["llama"] = status("llama", state="active")
        await expect(page.locator("#facts")).to_contain_text("active for")
        assert "/api/endpoints/llama" in asked
        assert "/api/endpoints" not in asked

        del admin.house.statuses["llama"]
        problem = page.locator("#detail-problem")
        await expect(problem).to_have_text("No endpoint is called llama.")
        await expect(page.locator("#verbs")).to_be_hidden()

        await page.get_by_role("link", name="All endpoints").click()
        await expect(page.locator("#endpoints tbody tr")).to_have_count(1)
        await expect(page.locator("#totals")).to_contain_text("endpoints1")


@pytest.mark.parametrize("listed", [False, True])
async def test_under_an_endpoints_name_is_nothing_of_the_one_before(
    opening: Opening, *, listed: bool
) -> None:
    async def never(_route: Route) -> None:
        """Answered."""

    async with running() as admin, opening("about:blank") as page:
        job = {"id": "j1", "state": "queued", "attempt": 1, "reason": "", "detail": ""}
        await page.route(
            "**/api/jobs?endpoint=llama*", lambda route: route.fulfill(json={"jobs": [job]})
        )
        if listed:
            await page.goto(admin.url + "/")
            await expect(page.locator("#endpoints tbody tr")).to_have_count(2)
        await page.goto(admin.url + "/#/endpoint/llama")
        await expect(page.locator("#jobs tbody tr")).to_have_count(1)

        await page.route("**/api/endpoints/whisper", never)
        await page.evaluate("location.hash = '#/endpoint/whisper'")

        await expect(page.locator("#detail-title")).to_have_text("whisper")
        await expect(page.locator("#facts")).to_be_visible(visible=listed)
        await expect(page.locator("#jobs")).to_be_hidden()
        await page.unroute("**/api/endpoints/whisper", never)
        await page.reload()
        await expect(page.locator("#facts")).to_contain_text("inactive")
        await expect(page.locator("#jobs")).to_be_hidden()


async def test_held_requests_are_seen_one_by_one_and_one_is_cancelled(opening: Opening) -> None:
    async with running() as admin:
        admin.house.statuses["llama"] = status("llama", state="activating", held=30)
        waiting = [held(f"r{number}", place=number + 1) for number in range(29)]
        admin.house.waiting["llama"] = [*waiting, held("<b>odd</b>", place=30, path="/<i>")]
        async with opening(admin.url + "/#/endpoint/llama") as page:
            rows = page.locator("#held tbody tr")
            await expect(rows).to_have_count(25)
            await expect(rows.first).to_contain_text("POST /v1/x")
            await expect(rows.first).to_contain_text("team")
            await expect(page.locator("#held-elsewhere")).to_contain_text("2 wait at other")
            await expect(page.locator("#held-page")).to_have_text("1 to 25 of 30")
            pages = page.get_by_role("navigation", name="Pages of held requests")
            await pages.get_by_role("button", name="Next").click()
            await expect(rows).to_have_count(5)
            await expect(rows.last).to_contain_text("<b>odd</b>")
            await expect(rows.last).to_contain_text("POST /<i>")

            await page.get_by_role("button", name="Cancel <b>odd</b>").click()
            dialog = page.get_by_role("dialog")
            await expect(dialog).to_contain_text("Its client is told so")
            await dialog.get_by_role("button", name="Cancel the request").click()
            await expect(rows).to_have_count(4)
            assert [one.id for one in admin.house.waiting["llama"]] == [one.id for one in waiting]


async def test_keys_are_seen_with_what_they_cost(opening: Opening) -> None:
    today = datetime.now(UTC).date()
    first = today.replace(day=1)
    async with running() as admin:
        admin.house.divided = [
            DayKeyCost("llama", day, key, KeyShare(KeyUse(2), 1800.0, cost))
            for day, key, cost in (
                (first, "small", 1.0), (today, "team", 2.5), (today, "", 0.25), (first, "team", 2.5)
            )
        ]  # fmt: skip
        async with opening(admin.url + "/#/endpoint/llama") as page:
            rows = page.locator("#keys tbody tr")
            await expect(rows).to_have_count(3)
            await expect(rows.first).to_have_text("team41 h 0 m5.00")
            await expect(rows.last).to_contain_text("nobody")
            await page.goto(admin.url + "/#/endpoint/whisper")
            await expect(page.locator("#facts")).to_contain_text("whisper.example.com")
            await expect(page.locator("#keys")).to_be_hidden()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_both_views_are_accessible_at_every_width(opening: Opening, dark: bool) -> None:
    async with running() as admin:
        house = admin.house
        house.statuses["llama"] = status("llama", state="failed", failure="exit 3", paused=True)
        house.statuses["whisper"] = status("whisper", state="activating", wanted=1)
        await house.activate("whisper")
        admin.events.record("llama", "failed", "exit 3")
        share = KeyShare(KeyUse(2), 1800.0, 1.5)
        today = datetime.now(UTC).date()
        admin.house.divided = [DayKeyCost("llama", today, "k" * 63, share)]
        long = "/" + "very-long-" * 19
        admin.house.waiting["llama"] = [held("r" * 128, path=long), *[held("x")] * 30]
        for width in (1280, 360):
            async with opening(admin.url + "/", width=width, dark=dark) as page:
                await expect(page.get_by_role("link", name="llama")).to_be_visible()
                await check_accessible(page)
                wide = await page.evaluate("document.documentElement.scrollWidth")
                assert wide <= width
                await page.goto(admin.url + "/#/endpoint/llama")
                await expect(page.locator("#facts")).to_contain_text("exit 3")
                await check_accessible(page)
                assert await page.evaluate("document.documentElement.scrollWidth") <= width


async def test_without_the_token_nothing_is_shown_and_with_it_all(opening: Opening) -> None:
    async with running(token=TOKEN) as admin, opening(admin.url + "/") as page:
        await expect(page.get_by_label("Admin token")).to_be_focused()
        await expect(page.locator("#overview")).to_be_hidden()

        await page.get_by_label("Admin token").fill("wrong")
        await page.keyboard.press("Enter")
        await expect(page.locator("#login-problem")).to_have_text("this is not the admin token")

        await page.get_by_label("Admin token").fill(TOKEN)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("link", name="llama")).to_be_visible()
        await expect(page.locator("#link")).to_have_text("live")


async def test_hundreds_of_endpoints_come_by_the_page_and_are_found(opening: Opening) -> None:
    async with running() as admin:
        admin.house.statuses = {f"m{i:03}": status(f"m{i:03}") for i in range(500)}
        async with opening(admin.url + "/") as page:
            rows = page.locator("#endpoints tbody tr")
            await expect(rows).to_have_count(50)
            await page.get_by_role("button", name="Next").click()
            await expect(rows.first).to_contain_text("m050")

            await page.get_by_label("Find").fill("m499")
            await expect(rows).to_have_count(1)
            await page.get_by_label("Find").fill("nothing")
            await expect(page.get_by_text("No endpoint matches.")).to_be_visible()


async def test_the_picture_in_the_docs_is_what_the_page_looks_like(
    opening: Opening, tmp_path: Path
) -> None:
    """With ACTIVATOR_PICTURES set, the picture in the docs is made anew."""
    async with running() as admin:
        admin.house.statuses = {one.name: one for one in a_working_day()}
        admin.house.day = _a_day()
        async with opening(admin.url + "/", height=520) as page:
            await expect(page.locator("#endpoints")).to_contain_text("insufficient nvidia.com/gpu")
            totals = page.locator("#totals")
            await expect(totals).to_contain_text("2 of 3")
            await expect(totals).to_contain_text("cost today42.95")
            await expect(totals).to_contain_text("saved today286")
            folder = PICTURES if os.environ.get("ACTIVATOR_PICTURES") else tmp_path
            taken = await page.screenshot(path=folder / "dashboard.png")
            assert taken.startswith(b"\x89PNG")
        assert (PICTURES / "dashboard.png").is_file()


def _a_day() -> Day:
    start = 1_790_000_000.0
    history = History(State.INACTIVE, at=start)
    for hour, state, ended in [
        (7, State.ACTIVATING, 0), (7.1, State.ACTIVE, 2), (9, State.ACTIVE, 300),
        (9.5, State.INACTIVE, 300), (10, State.ACTIVATING, 310), (12, State.ACTIVE, 900),
        (13, State.INACTIVE, 900), (20, State.ACTIVATING, 905), (20.3, State.ACTIVE, 940),
    ]:  # fmt: skip
        history.enter(state, at=start + 3600 * hour)
        history.count(ended, at=start + 3600 * hour)
    return history.day(at=start + 86_000)
