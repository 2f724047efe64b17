"""The waiting page as a person sees it: a browser in front of an app that has to start first."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.browser.conftest import check_accessible
from tests.support import eventually
from tests.town import endpoint, town

if TYPE_CHECKING:
    from playwright.async_api import Page, Route

    from tests.browser.conftest import Opening
    from tests.replica import Talk
    from tests.town import Town

PATIENCE = 15_000
"""Milliseconds: without a script the page is asked for again every five seconds."""


async def app(talk: Talk) -> None:
    await talk.body()
    page = b"<!doctype html><title>App</title><h1>The app itself</h1>"
    await talk.answer(200, page, fields=b"Content-Type: text/html\r\n")


def asleep(t: Town) -> None:
    t.starts_ready = False


def let_go(t: Town) -> None:
    t.starts_ready = True
    for replica in t.by_id.values():
        replica.ready = True


def here(t: Town) -> str:
    return f"http://a.localhost:{t.port}/x?y=1#part"


async def see_the_app(page: Page) -> None:
    heading = page.get_by_role("heading", name="The app itself")
    await expect(heading).to_be_visible(timeout=PATIENCE)


async def see(page: Page, name: str, words: str) -> None:
    """`name` as templates have it."""
    part = page.locator(f"[data-activator={name}]")
    await expect(part).to_contain_text(words, timeout=PATIENCE)


@pytest.fixture
def made() -> list[dict[str, object]]:
    return [endpoint("a", waitingPage=True, match={"hosts": ["a.localhost"]})]


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no-script"])
async def test_from_zero_to_the_app_itself(
    opening: Opening, made: list[dict[str, object]], javascript: bool
) -> None:
    async with town(endpoints=made, behave=app, checked=False) as t:
        asleep(t)
        async with opening(here(t), javascript=javascript) as page:
            await expect(page.get_by_role("heading", name="Starting a")).to_be_visible()
            status = page.get_by_role("status")
            await expect(status).to_have_text("Starting up", timeout=PATIENCE)
            await expect(page.locator("[aria-current=step]")).to_have_text(
                "Starting up", timeout=PATIENCE
            )

            let_go(t)

            await expect(page.get_by_role("heading", name="The app itself")).to_be_visible(
                timeout=PATIENCE
            )
            assert page.url.removesuffix("#part") == here(t).removesuffix("#part")
            assert page.url.endswith("#part") or not javascript  # meta refresh cannot keep it
            assert t.orders("a") == [1]


async def test_what_changes_is_shown_and_only_the_headline_is_read_out(
    opening: Opening, made: list[dict[str, object]]
) -> None:
    async with town(endpoints=made, behave=app, checked=False) as t:
        asleep(t)
        async with opening(here(t)) as page:
            await see(page, "place", "you are next")
            elapsed = page.locator("[data-activator=elapsed]")
            await expect(elapsed).to_have_text("2 s")
            live = page.locator("[role=status], [role=alert], [aria-live]")
            await expect(live).to_have_count(1)
            await page.evaluate(
                "window.spoken = 0; new MutationObserver(() => window.spoken++).observe("
                "document.querySelector('[role=status]'), "
                "{childList: true, characterData: true, subtree: true})"
            )
            await expect(elapsed).to_have_text("4 s")
            assert await page.evaluate("window.spoken") == 0

            t.control_of("a").verbs.pause()
            await expect(live).to_have_text("Paused by an operator")
            t.control_of("a").verbs.resume()
            let_go(t)
            await expect(page.get_by_role("heading", name="The app itself")).to_be_visible(
                timeout=PATIENCE
            )


async def test_a_start_that_fails_is_explained_and_nothing_of_it_becomes_html(
    opening: Opening, made: list[dict[str, object]]
) -> None:
    async with town(endpoints=made, behave=app, checked=False) as t:
        t.driver_of("a").fail_next("exited with 3: <b>no device</b>", times=3)
        async with opening(here(t)) as page:
            await expect(page.get_by_role("status")).to_have_text(
                "It could not be started", timeout=PATIENCE
            )
            await see(page, "problem", "exited with 3: <b>no device</b>")
            await expect(page.get_by_role("heading", name="The app itself")).to_be_visible(
                timeout=PATIENCE
            )


async def test_a_browser_that_loses_the_stream_goes_on(
    opening: Opening, made: list[dict[str, object]]
) -> None:
    async with town(endpoints=made, behave=app, checked=False) as t:
        asleep(t)
        async with opening(here(t)) as page:
            await see(page, "place", "you are next")
            for connection in list(t.proxy._connections):
                connection.abort()
            let_go(t)
            await expect(page.get_by_role("heading", name="The app itself")).to_be_visible(
                timeout=PATIENCE
            )


async def test_a_tab_that_has_waited_long_enough_says_so_and_wakes_nothing_any_more(
    opening: Opening, made: list[dict[str, object]]
) -> None:
    made[0]["queue"] = {"timeout": "1s"}
    async with town(endpoints=made, behave=app, checked=False) as t:
        asleep(t)
        async with opening(here(t)) as page:
            await see(page, "headline", "It takes too long")
            await see(page, "problem", "queue.timeout")
            await eventually(lambda: t.live_of("a").gate.demand == 0, within=15.0)
            assert not t.proxy.streams
            await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
            await see(page, "place", "you are next")


async def test_an_activator_that_is_away_for_a_moment_does_not_take_the_page_away(
    opening: Opening, made: list[dict[str, object]]
) -> None:
    async with town(endpoints=made, behave=app, checked=False) as t:
        asleep(t)
        async with opening(here(t)) as page:
            await see(page, "place", "you are next")
            refused: list[str] = []

            async def refuse(route: Route) -> None:
                refused.append(route.request.url)
                await route.fulfill(status=502, body="bad gateway")

            await page.route("**/.activator/waiting?*", refuse)
            for connection in list(t.proxy._connections):
                connection.abort()
            await eventually(lambda: refused, within=15.0)
            await page.unroute("**/.activator/waiting?*")
            let_go(t)
            await see_the_app(page)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_it_is_accessible_at_every_width(
    opening: Opening, made: list[dict[str, object]], dark: bool, tmp_path: Path
) -> None:
    """With ACTIVATOR_PICTURES set, the picture in the docs is made anew."""
    async with town(endpoints=made, behave=app, checked=False) as t:
        control = t.control_of("a")
        control.cold_starts.recall([{"started": 1.0, "ready": 40.0 + each} for each in range(9)])
        asleep(t)
        t.driver_of("a").fail_next("exited with 3: CUDA out of memory " + "x" * 80, times=1)
        for width in (1280, 360):
            async with opening(here(t), width=width, height=520, dark=dark) as page:
                await expect(page.locator("[data-activator=usual]")).to_contain_text(
                    "usually 35\u201355 s"
                )
                await see(page, "place", "you are next")
                await see(page, "problem", "CUDA")
                await check_accessible(page)
                assert await page.evaluate("document.documentElement.scrollWidth") <= width
                folder = Path(os.environ.get("ACTIVATOR_PICTURES") or tmp_path)
                await page.screenshot(path=folder / f"waiting-{width}-{dark}.png")
