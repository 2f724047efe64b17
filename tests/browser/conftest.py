"""A headless Chromium for the pages that people look at."""

from __future__ import annotations

import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]
from playwright.async_api import async_playwright

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from playwright.async_api import Page

    Opening = Callable[..., AbstractAsyncContextManager[Page]]

QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
"""Nothing of its own is asked of the network, and it runs as root in containers."""

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture
def opening() -> Opening:
    """`async with opening(url) as page`: a browser at that page, its errors failing the test."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is on PATH; apt install chromium")
    executable = CHROMIUM

    @asynccontextmanager
    async def opened(
        url: str,
        *,
        width: int = 1280,
        height: int = 800,
        dark: bool = False,
        javascript: bool = True,
    ) -> AsyncIterator[Page]:
        wrong: list[str] = []
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=executable, args=QUIET)
            context = await browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme="dark" if dark else "light",
                java_script_enabled=javascript,
            )
            context.set_default_timeout(20_000)
            page = await context.new_page()
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on(
                "console",
                lambda said: wrong.append(said.text) if "Content Security" in said.text else None,
            )
            await page.goto(url)
            try:
                yield page
            finally:
                await browser.close()
        assert not wrong

    return opened


async def check_accessible(page: Page) -> None:
    """Contrast, labels, roles: the rules of axe-core (WCAG 2 A and AA, and good practice)."""
    found = await Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
