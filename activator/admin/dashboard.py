"""The dashboard's page and assets: files of this package, sent as they are, open to everyone.

They hold no data: what they show they ask the API for, which asks for the token or the cookie. A
Content-Security-Policy lets them load nothing from elsewhere and run nothing that is no file here.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

PAGE = "index.html"

ASSETS = {
    PAGE: "text/html",
    "dashboard.css": "text/css",
    "dashboard.js": "text/javascript",
    "drawing.js": "text/javascript",
    "held.js": "text/javascript",
    "keys.js": "text/javascript",
    "rows.js": "text/javascript",
    "words.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

PATHS = frozenset({"/"} | {f"/{name}" for name in ASSETS if name != PAGE})
"""Open without a token."""


def add_dashboard(app: web.Application) -> None:
    """The page at `/`, its assets beside it."""
    folder = files("activator.admin") / "page"
    for name, kind in ASSETS.items():
        content = (folder / name).read_bytes()
        app.router.add_get("/" if name == PAGE else f"/{name}", _sent(content, kind))


def _sent(content: bytes, kind: str) -> Handler:
    tag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'

    async def send(request: web.Request) -> web.Response:
        headers = {
            "ETag": tag,
            "Cache-Control": "no-cache",
            "Content-Security-Policy": POLICY,
            "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        }
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=content, content_type=kind, charset="utf-8", headers=headers)

    return send
