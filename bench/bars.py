"""Bars as one SVG file, without a library: panels side by side, in each a bar a contestant, its
value, and a whisker from the lowest round to the highest. It brings its own light background."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from math import ceil, floor, inf, log10
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH: Final = 960
MARGIN: Final = 20
HEAD: Final = 68
"""Of the figure: title and what it was measured on."""
PANEL_HEAD, PANEL_FOOT, ROW, GAP = 30, 46, 22, 18
NAMES: Final = 170
"""For the contestants' names, left of the bars."""
VALUES: Final = 58
"""For values right of the longest bar."""
_INK, _DIM, _FAINT, _OURS, _OTHERS = "#1c2430", "#4a5667", "#d9dee5", "#c2410c", "#8a97a8"
_TICKS: Final = 4
_LABEL: Final = 50.0
"""Between the middles of two figures under an axis, at least."""


@dataclass(frozen=True, slots=True)
class Bar:
    name: str
    value: float
    low: float
    high: float
    is_ours: bool


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    axis: str
    """What the bars are, with its unit."""
    bars: Sequence[Bar]


def svg(panels: Sequence[Panel], *, columns: int, title: str, subtitle: str) -> str:
    """Row by row, `columns` in each. `subtitle`: what the figures depend on, the machine first."""
    wide = (WIDTH - 2 * MARGIN - (columns - 1) * GAP) / columns
    rows = [panels[at : at + columns] for at in range(0, len(panels), columns)]
    parts: list[str] = []
    top = float(HEAD)
    for row in rows:
        for at, panel in enumerate(row):
            parts += _panel(panel, left=MARGIN + at * (wide + GAP), top=top, wide=wide)
        top += PANEL_HEAD + PANEL_FOOT + ROW * max(len(panel.bars) for panel in row)
    height = round(top + MARGIN / 2)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
        f' font-family="system-ui, sans-serif" font-size="12" fill="{_INK}">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(MARGIN, 28, title, size=16, weight=600),
        _text(MARGIN, 48, subtitle, colour=_DIM),
    )
    return "\n".join([*head, *parts, "</svg>"]) + "\n"


def _panel(panel: Panel, *, left: float, top: float, wide: float) -> list[str]:
    start, end = left + NAMES, left + wide - VALUES
    first, last = top + PANEL_HEAD, top + PANEL_HEAD + ROW * len(panel.bars)
    ticks = _ticks(max((max(bar.high, bar.value) for bar in panel.bars), default=0.0))

    def across(value: float) -> float:
        return start + (end - start) * max(0.0, value) / ticks[-1]

    parts = [_text(left, top + 18, panel.title, size=13, weight=600)]
    labelled = -inf
    for tick in ticks:
        parts.append(_line(across(tick), first, across(tick), last, colour=_FAINT))
        if across(tick) - labelled >= _LABEL:  # in a narrow panel not every line has one
            labelled = across(tick)
            parts.append(_text(labelled, last + 15, f"{tick:,.10g}", anchor="middle", colour=_DIM))
    parts.append(_text((start + end) / 2, last + 33, panel.axis, anchor="middle"))
    for at, bar in enumerate(panel.bars):
        y = first + ROW * at
        middle = y + ROW / 2
        colour = _OURS if bar.is_ours else _OTHERS
        parts.append(_text(start - 8, middle + 4, bar.name, anchor="end"))
        parts.append(
            f'<rect x="{start:.1f}" y="{y + 4:.1f}" width="{across(bar.value) - start:.1f}"'
            f' height="{ROW - 8}" fill="{colour}"/>'
        )
        if bar.high > bar.low:
            parts.append(_line(across(bar.low), middle, across(bar.high), middle, colour=_INK))
        right = across(max(bar.high, bar.value))
        parts.append(_text(right + 6, middle + 4, shown(bar.value)))
    return parts


def shown(value: float) -> str:
    """With three figures at least, and no more behind the point than they need."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _ticks(largest: float) -> list[float]:
    """From zero to beyond the largest, in steps of 1, 2 or 5 times a power of ten."""
    largest = largest or 1.0
    rough = largest / _TICKS
    power = 10.0 ** floor(log10(rough))
    step = next(f * power for f in (1, 2, 5, 10) if f * power >= rough * (1 - 1e-9))
    return [step * at for at in range(ceil(largest / step - 1e-9) + 1)]


def _line(x1: float, y1: float, x2: float, y2: float, *, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(
    x: float,
    y: float,
    words: str,
    *,
    anchor: str = "start",
    size: int = 12,
    weight: int = 400,
    colour: str = _INK,
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"'
        f' font-weight="{weight}" fill="{colour}">{escape(words)}</text>'
    )
