"""The waiting page: what a browser gets instead of a spinner, 503 with HTML.

It needs no script: it is asked for again by itself. With one it is told what changes (`stream`),
and opens the app when that is ready. Whether it is shown at all is decided by `navigation`, and by
the endpoint not being ready; the looks are a template's.
"""

from __future__ import annotations

import secrets
from html import escape
from importlib.resources import files
from math import ceil
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from activator.core.durations import in_words
from activator.core.outlook import STEPS, remaining, usual
from activator.core.page_template import fill
from activator.errors import Paused, Starting
from activator.proxy.replies import retry_seconds, status_line
from activator.upstream.refusals import failed_start

if TYPE_CHECKING:
    from activator.core.outlook import Outlook
    from activator.errors import ActivatorError
    from activator.upstream.registry import LiveEndpoint
    from activator.wire.heads import RequestHead
    from activator.wire.server import ServerConnection

STREAM: Final = "/.activator/waiting"
"""Where the page is told what changes; `?at=` says which page."""
REFRESH: Final = 5
"""Seconds after which a page without JavaScript is asked for again, and the page of a browser in
front of which streams do not get through."""
UNKNOWN: Final = 5.0
"""Seconds of `Retry-After` where nothing is known of earlier starts."""

_FOLDER: Final = files("activator.proxy.browser")
_OURS: Final = (_FOLDER / "page.html").read_text("utf-8")
_SCRIPT: Final = (_FOLDER / "page.js").read_text("utf-8")

_POLICY: Final = (
    "default-src 'none'; script-src 'nonce-%(nonce)s'; style-src 'nonce-%(nonce)s'; "
    "img-src data:; font-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'"
)
"""Nothing from elsewhere, and no script but ours. Who may frame it is not said: an app that is
shown in a frame of another site waits there too, and there is nothing to click on."""


def is_shown(live: LiveEndpoint) -> bool:
    """A browser that came now would see the page."""
    return live.endpoint.waiting_page and (live.cold or live.gate.paused)


def show_page(
    connection: ServerConnection,
    head: RequestHead,
    live: LiveEndpoint,
    error: ActivatorError,
    *,
    request_id: bytes,
) -> None:
    """Answer with the page. `error`: why the app cannot answer."""
    outlook = live.outlook()
    body = render(live, outlook, target=head.target, nonce=(nonce := secrets.token_urlsafe(16)))
    fields = (
        "Content-Type: text/html; charset=utf-8",
        f"Content-Length: {len(body)}",
        f"Content-Security-Policy: {_POLICY % {'nonce': nonce}}",
        f"X-Activator-Reason: {error.reason}",
        f"X-Request-Id: {request_id.decode()}",
        f"Retry-After: {retry_seconds(error)}",
        "Cache-Control: no-store",
        "X-Robots-Tag: noindex",
        "X-Content-Type-Options: nosniff",
        "Referrer-Policy: same-origin",
    )
    lines = "".join(f"{field}\r\n" for field in fields).encode("latin-1")
    connection.begin_answer(status_line(error.status) + lines, length=len(body))
    if head.method != b"HEAD":
        connection.send(body)
    connection.finish()


def why_not_yet(live: LiveEndpoint) -> ActivatorError:
    """What a program would be told that does not wait."""
    refusal, outlook = live.refusal(), live.outlook()
    if refusal is not None:
        cause, seconds = refusal
        return failed_start(cause, retry_after=seconds)
    expected = UNKNOWN if outlook.left is None else outlook.left.typical
    if outlook.paused:
        return Paused(retry_after=expected)
    return Starting(retry_after=expected)


def render(live: LiveEndpoint, outlook: Outlook, *, target: bytes, nonce: str) -> bytes:
    """The whole page; `target`: where it is shown, as it was asked for."""
    told = described(live, outlook, place=None)
    texts = {name: str(told[name]) for name in ("headline", "detail", "problem", "usual", "left")}
    texts |= {
        "endpoint": live.endpoint.name,
        "elapsed": "" if outlook.elapsed is None else in_words(round(outlook.elapsed)),
        "place": told["place"],
        "nonce": nonce,
    }
    markup = {
        "head": _head(outlook, target=target, nonce=nonce),
        "steps": _steps(outlook),
        "progress": _progress(told["share"]),
    }
    return fill(live.endpoint.page_template or _OURS, texts=texts, markup=markup).encode()


def described(live: LiveEndpoint, outlook: Outlook, *, place: int | None) -> dict[str, Any]:
    """As the stream tells it: words as the page shows them; seconds and steps as numbers.

    `place`: of the one who looks, None while they stand nowhere.
    """
    before = live.gate.held
    return {
        "headline": outlook.headline,
        "detail": outlook.detail,
        "problem": outlook.failure,
        "retry": None if outlook.retry_in is None else ceil(outlook.retry_in),
        "elapsed": outlook.elapsed,
        "usual": usual(outlook.whole),
        "left": remaining(outlook.left),
        "place": _place(place, before=before),
        "share": _share(outlook),
        "step": outlook.step,
    }


def _place(place: int | None, *, before: int) -> str:
    if place is not None:
        return "you are next" if place == 1 else f"number {place} in line"
    return f"{before} in line before you" if before else ""


def _share(outlook: Outlook) -> float | None:
    """Of what such a start usually takes, 0 to 1; None: it cannot be said."""
    if outlook.elapsed is None or outlook.left is None:
        return None
    whole = outlook.elapsed + outlook.left.typical
    return round(outlook.elapsed / whole, 3) if whole else None


def _head(outlook: Outlook, *, target: bytes, nonce: str) -> str:
    seconds = REFRESH if outlook.retry_in is None else max(REFRESH, min(60, ceil(outlook.retry_in)))
    stream = f"{STREAM}?at={quote(target, safe='')}"
    return (
        f'<meta name="robots" content="noindex"><noscript><meta http-equiv="refresh" '
        f'content="{seconds};url={escape(_itself(target))}"></noscript>'
        f'<script nonce="{nonce}" data-stream="{escape(stream)}" data-refresh="{REFRESH}">'
        f"{_SCRIPT}</script>"
    )


def _itself(target: bytes) -> str:
    """The page's address from the page, whatever prefix somebody in front has taken away. Without
    it a browser whose address has a fragment would only scroll."""
    path, question, query = target.decode("ascii").partition("?")
    return f"./{path.rpartition('/')[2]}{question}{query}"


def _steps(outlook: Outlook) -> str:
    items = []
    for number, words in enumerate(STEPS):
        current = ' aria-current="step"' if number == outlook.step else ""
        state = "done" if number < outlook.step else "now" if current else "next"
        items.append(f'<li class="{state}"{current}>{escape(words)}</li>')
    return f'<ol data-activator="steps">{"".join(items)}</ol>'


def _progress(share: float | None) -> str:
    value = "" if share is None else f' value="{share}"'
    return (
        f'<progress data-activator="progress" max="1"{value} aria-label="Share of the usual time">'
        "</progress>"
    )
