"""Is this a person's browser that opens a page? Only then may the answer be HTML of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from activator.wire.heads import RequestHead

_DOCUMENTS: Final = frozenset({b"document", b"iframe", b"frame"})
"""Destinations (`Sec-Fetch-Dest`) at which a page can be looked at."""


def is_navigation(head: RequestHead) -> bool:
    """A safe request that a browser makes to show its answer as a page.

    Browsers say so (Fetch metadata: `Sec-Fetch-Mode: navigate`); of those too old to say it
    `Accept` is believed, if it names text/html itself: `*/*` is what programs send.
    """
    if head.method not in (b"GET", b"HEAD") or head.length or head.websocket:
        return False
    mode = head.get(b"sec-fetch-mode")
    if mode is None:
        if b"x-requested-with" in head.first:  # a script's request, before there was fetch
            return False
    elif mode != b"navigate" or head.get(b"sec-fetch-dest") not in (None, *_DOCUMENTS):
        return False
    return any(_takes_html(part) for value in head.get_all(b"accept") for part in value.split(b","))


def _takes_html(part: bytes) -> bool:
    kind, *parameters = (each.strip(b" \t").lower() for each in part.split(b";"))
    return kind == b"text/html" and not any(_is_nothing(each) for each in parameters)


def _is_nothing(parameter: bytes) -> bool:
    """`q=0`: anything but this (RFC 9110 §12.4.2)."""
    name, _, value = parameter.partition(b"=")
    return name == b"q" and not value.strip(b"0.")
