"""Cost against waiting as one SVG file, without a library: some points, two axes, their names.

Readable on white and on black: it brings its own background.
"""

from __future__ import annotations

from html import escape
from math import ceil, floor, log10
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activator.simulate.replay import Outcome

WIDTH, HEIGHT = 760, 460
LEFT, RIGHT, TOP, BOTTOM = 76, 24, 44, 58
_INK, _FAINT, _LINE, _MARK = "#1c2430", "#d9dee5", "#8a97a8", "#c2410c"
_TICKS = 6
_LETTER, _LINE_HEIGHT = 6.8, 14.0
"""How wide and high text of 12 px is, about."""


def svg(
    outcomes: Sequence[Outcome], *, edge: Sequence[Outcome], knee: Outcome | None, title: str
) -> str:
    """`edge`: the frontier, drawn as a line. X is cost (replica hours where all cost nothing), y
    the mean wait of a request in seconds."""
    costs = any(each.cost for each in outcomes)

    def across(outcome: Outcome) -> float:
        return outcome.cost if costs else outcome.replica_seconds / 3600

    x = _Axis([across(each) for each in outcomes], LEFT, WIDTH - RIGHT)
    y = _Axis([each.mean_wait for each in outcomes], HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        f' font-family="system-ui, sans-serif" font-size="12" fill="{_INK}">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        _text(LEFT, 24, title, size=14, weight=600),
    ]
    for value in x.ticks:
        at = x.at(value)
        parts.append(_line(at, TOP, at, HEIGHT - BOTTOM))
        parts.append(_text(at, HEIGHT - BOTTOM + 18, f"{value:g}", anchor="middle"))
    for value in y.ticks:
        at = y.at(value)
        parts.append(_line(LEFT, at, WIDTH - RIGHT, at))
        parts.append(_text(LEFT - 8, at + 4, f"{value:g}", anchor="end"))
    axis = "cost" if costs else "replica hours"
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, axis, anchor="middle"))
    parts.append(
        f'<text transform="translate(18 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)"'
        f' text-anchor="middle">mean wait of a request, seconds</text>'
    )
    drawn = " ".join(f"{x.at(across(each)):.1f},{y.at(each.mean_wait):.1f}" for each in edge)
    parts.append(f'<polyline points="{drawn}" fill="none" stroke="{_LINE}" stroke-width="1.5"/>')
    labels = _Labels()
    for each in sorted(outcomes, key=across):
        is_knee = each is knee
        at, height = x.at(across(each)), y.at(each.mean_wait)
        colour, radius = (_MARK, 6) if is_knee else (_INK, 4)
        name = escape(each.policy.name)
        parts.append(
            f'<circle cx="{at:.1f}" cy="{height:.1f}" r="{radius}" fill="{colour}">'
            f"<title>{name}</title></circle>"
        )
        if any(each is one for one in edge):  # of the others, only the pointer tells the name
            label = f"{each.policy.name} (knee)" if is_knee else each.policy.name
            parts.append(labels.place(label, at, height, weight=600 if is_knee else 400))
    return "\n".join([*parts, "</svg>"]) + "\n"


class _Labels:
    """Names beside their points, raised until they lie over no other name."""

    def __init__(self) -> None:
        self._taken: list[tuple[float, float, float]] = []
        """(left, right, base) of those placed."""

    def place(self, label: str, at: float, height: float, *, weight: int) -> str:
        wide = _LETTER * len(label)
        anchor = "end" if at + 9 + wide > WIDTH else "start"
        left = at - 9 - wide if anchor == "end" else at + 9
        base = height - 7
        while any(
            left < right and before < left + wide and abs(base - line) < _LINE_HEIGHT
            for before, right, line in self._taken
        ):
            base -= 2
        self._taken.append((left, left + wide, base))
        return _text(
            left + wide if anchor == "end" else left, base, label, anchor=anchor, weight=weight
        )


class _Axis:
    """From zero to a round number beyond the largest value."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self._start, self._end = start, end
        step = _round_step(max(values, default=0.0) or 1.0)
        self._top = step * ceil(max(max(values, default=0.0), step) / step - 1e-9)
        self.ticks = [step * i for i in range(round(self._top / step) + 1)]

    def at(self, value: float) -> float:
        return self._start + (self._end - self._start) * value / self._top


def _round_step(largest: float) -> float:
    """1, 2 or 5 times a power of ten, so that there are at most `_TICKS` steps."""
    rough = largest / _TICKS
    power = 10.0 ** floor(log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{_FAINT}"/>'


def _text(
    x: float, y: float, words: str, *, anchor: str = "start", size: int = 12, weight: int = 400
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"'
        f' font-weight="{weight}">{escape(words)}</text>'
    )
