"""Reading a file of thousands of endpoints beside others who need the interpreter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

Breathe = Callable[[], object]
"""Called every now and then, for whoever wants to rest meanwhile; what it raises ends the work."""


def unhurried(these: Iterable[T], breathe: Breathe | None) -> Iterable[T]:
    """The same, with a breath before each."""
    return these if breathe is None else _breathing(these, breathe)


def _breathing(these: Iterable[T], breathe: Breathe) -> Iterator[T]:
    for each in these:
        breathe()
        yield each


def empty(these: list[Any], breathe: Breathe | None) -> None:
    """To free one after the other what nobody needs any more, instead of all at once."""
    while breathe is not None and these:
        these.pop()
        breathe()
