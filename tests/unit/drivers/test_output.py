from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from activator.drivers.output import KEPT_LINES, LINE_BYTES, LOGGED_PER_SECOND, Output


def test_lines_are_logged_as_they_end() -> None:
    logged: list[str] = []
    output = Output(logged.append)

    output.feed(b"load", now=0.0)
    output.feed(b"ing\n\nready\nhalf", now=0.1)

    assert logged == ["loading", "ready"]
    assert output.last_lines() == ("loading", "ready", "half")


def test_a_carriage_return_ends_a_line_as_progress_bars_have_it() -> None:
    output = Output(_ignore)

    output.feed(b"10%\r20%\r\ndone\r\n", now=0.0)

    assert output.last_lines() == ("10%", "20%", "done")


def test_only_the_last_lines_are_kept() -> None:
    output = Output(_ignore)

    output.feed(b"".join(b"%d\n" % number for number in range(100)) + b"rest", now=0.0)

    assert output.last_lines() == (*map(str, range(101 - KEPT_LINES, 100)), "rest")


def test_a_long_line_is_cut_and_says_so() -> None:
    output = Output(_ignore)

    output.feed(b"x" * LINE_BYTES + b"\n", now=0.0)
    for _ in range(1000):
        output.feed(b"y" * 1000, now=0.0)
    output.feed(b"\nnext\n", now=0.0)

    assert output.last_lines() == ("x" * LINE_BYTES, "y" * LINE_BYTES + " …", "next")


def test_bytes_that_are_no_text_and_control_sequences_do_no_harm() -> None:
    output = Output(_ignore)

    output.feed(b"\x1b[31mred\x1b[0m \xff\x07 \xc3\xa9\ttab\n", now=0.0)

    assert output.last_lines() == ("red \ufffd é\ttab",)


def test_a_flood_is_logged_in_part_and_the_rest_is_counted() -> None:
    logged: list[str] = []
    output = Output(logged.append)

    output.feed(b"line\n" * (LOGGED_PER_SECOND + 5), now=10.0)
    assert logged == ["line"] * LOGGED_PER_SECOND
    output.feed(b"later\n", now=11.0)

    assert logged[LOGGED_PER_SECOND:] == ["(5 more lines came too fast to be logged)", "later"]


def test_closing_logs_what_has_not_been() -> None:
    logged: list[str] = []
    output = Output(logged.append)
    output.feed(b"line\n" * (LOGGED_PER_SECOND + 1) + b"no newline", now=0.0)

    output.close()

    assert logged[LOGGED_PER_SECOND:] == ["(2 more lines came too fast to be logged)"]
    assert output.last_lines()[-1] == "no newline"


@given(st.binary(max_size=4000), st.lists(st.integers(0, 4000), max_size=8))
def test_it_does_not_matter_how_the_output_is_split(data: bytes, cuts: list[int]) -> None:
    whole, split = Output(_ignore), Output(_ignore)
    edges = [0, *sorted(cuts), len(data)]

    whole.feed(data, now=0.0)
    for start, end in pairwise(edges):
        split.feed(data[start:end], now=0.0)

    assert split.last_lines() == whole.last_lines()
    assert all(len(line) <= LINE_BYTES + 2 for line in whole.last_lines())


def _ignore(_: str) -> None:
    return
