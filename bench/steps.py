"""What a piece of Python does, counted instead of timed: the same on every machine that has the
same minor version of Python. What C code does on its behalf is not in it, only how often it is
called.
"""

from __future__ import annotations

import gc
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median_high
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

KEYS: Final = tuple(f"x-{number}" for number in range(8))
TABLE: Final = {key: number for number, key in enumerate(KEYS)}


@dataclass(frozen=True, slots=True)
class Steps:
    """Of one run."""

    bytecodes: int
    calls: int
    """Of functions that are written in Python; a generator that goes on counts as one."""
    c_calls: int


def count(run: Callable[[], object], *, times: int) -> Steps:
    """The median run of so many: now and then one has to do more, such as format a new second."""
    stepped = [_stepped(run) for _ in range(times)]
    called = [_c_calls(run) for _ in range(times)]
    return Steps(
        bytecodes=median_high(bytecodes for bytecodes, _ in stepped),
        calls=median_high(calls for _, calls in stepped),
        c_calls=median_high(called),
    )


def _stepped(run: Callable[[], object]) -> tuple[int, int]:
    bytecodes = calls = 0

    def each(frame: FrameType, event: str, _arg: object) -> Any:
        nonlocal bytecodes, calls
        if event == "call":
            calls += 1
            frame.f_trace_lines = False
            frame.f_trace_opcodes = True
        elif event == "opcode":
            bytecodes += 1
        return each

    before = sys.gettrace()
    with _no_collection():
        sys.settrace(each)
        try:
            run()
        finally:
            sys.settrace(before)
    return bytecodes, calls


def _c_calls(run: Callable[[], object]) -> int:
    calls = -1  # the one that ends the counting

    def each(_frame: FrameType, event: str, _arg: object) -> None:
        nonlocal calls
        calls += event == "c_call"

    before = sys.getprofile()
    with _no_collection():
        sys.setprofile(each)
        try:
            run()
        finally:
            sys.setprofile(before)
    return calls


@contextmanager
def _no_collection() -> Iterator[None]:
    """It would run the finalizers of others in the midst of what is counted."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _Sum:
    __slots__ = ("of",)

    def __init__(self) -> None:
        self.of = 0

    def add(self, number: int) -> None:
        self.of += number


def thousand() -> int:
    """A thousand steps of the kind that a request is made of, 250 of each: a value looked up in a
    dictionary, an attribute read, a method called, bytes formatted. What a piece of Python takes
    in multiples of this says little of the machine, and much of the piece."""
    table, keys, total, size = TABLE, KEYS, _Sum(), 0
    for number in range(250):
        found = table[keys[number & 7]]
        seen = total.of
        total.add(found)
        size += len(b"%d: %d\r\n" % (found, seen))
    return size
