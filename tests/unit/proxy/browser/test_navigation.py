"""Who is shown a page: people in browsers that open one, by what their browsers really send."""

from __future__ import annotations

import pytest

from activator.proxy.browser.navigation import is_navigation
from tests.unit.proxy.support import asked

CHROME = (
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,"
    "image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"
)
FIREFOX = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def fetch(mode: str, dest: str) -> tuple[str, ...]:
    return (f"Sec-Fetch-Mode: {mode}", f"Sec-Fetch-Dest: {dest}", "Sec-Fetch-Site: none")


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("GET /", (CHROME, *fetch("navigate", "document"), "Sec-Fetch-User: ?1")),
        ("HEAD /", (CHROME, *fetch("navigate", "document"))),
        ("GET /", (CHROME, *fetch("navigate", "iframe"))),
        ("GET /a?b", (FIREFOX, *fetch("navigate", "document"), "Upgrade-Insecure-Requests: 1")),
        ("GET /", (FIREFOX, "User-Agent: Mozilla/5.0 (Macintosh) Version/15.6 Safari/605.1.15")),
        ("GET /", ("Accept: application/xml", "Accept: Text/HTML;level=1;q=0.4")),
    ],
    ids=["chrome", "chrome-head", "frame", "firefox", "safari-15", "two-fields"],
)
def test_a_browser_that_opens_a_page(line: str, fields: tuple[str, ...]) -> None:
    assert is_navigation(asked(f"{line} HTTP/1.1", *fields))


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("GET /", ("Accept: */*", "User-Agent: curl/8.9.1")),
        ("GET /", ()),
        ("GET /", ("Accept: application/json",)),
        ("GET /", ("Accept: application/json, text/html;q=0, */*",)),
        ("GET /", ("Accept: text/html;q=0.000",)),
        ("GET /", ("Accept: text/html-sandboxed",)),
        ("GET /x.png", ("Accept: image/avif,image/webp,*/*;q=0.8", *fetch("no-cors", "image"))),
        ("GET /x.png", (CHROME, *fetch("no-cors", "image"))),
        ("GET /x", (CHROME, *fetch("navigate", "object"))),
        ("GET /api", ("Accept: */*", *fetch("cors", "empty"))),
        ("GET /api", ("Accept: text/html", *fetch("same-origin", "empty"))),
        ("GET /events", ("Accept: text/event-stream", *fetch("cors", "empty"))),
        ("GET /old", ("Accept: text/html, */*; q=0.01", "X-Requested-With: XMLHttpRequest")),
        ("POST /form", (CHROME, *fetch("navigate", "document"), "Content-Length: 0")),
        ("GET /", (CHROME, *fetch("navigate", "document"), "Content-Length: 3")),
        ("GET /ws", (FIREFOX, "Connection: Upgrade", "Upgrade: websocket")),
        ("GET /ws", ("Accept: */*", *fetch("websocket", "empty"))),
    ],
)
def test_everybody_else(line: str, fields: tuple[str, ...]) -> None:
    assert not is_navigation(asked(f"{line} HTTP/1.1", *fields))
