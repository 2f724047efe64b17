from __future__ import annotations

import io
from dataclasses import replace

from activator.demo.facts import Bill
from activator.demo.screen import report, screen
from activator.demo.watch import Row, View
from tests.unit.demo.test_facts import act, facts


def view() -> View:
    seen = View(began_at=0.0)
    bill = Bill("alpha", 0.0, 0.0, 0.0, 0.0)
    seen.rows = (Row("alpha", "activating", 24, 0, ("started",), (), 1.5, bill),)
    seen.note("alpha", "activated", "first of the line")
    seen.chat = "Once upon a time"
    return seen


def test_without_a_terminal_each_thing_is_a_line_and_said_once() -> None:
    out = io.StringIO()

    with screen(out, animate=False) as shown:
        seen = view()
        shown.show(seen)
        shown.show(seen)
        seen.note("beta", "deactivated", "idle")
        shown.show(seen)

    lines = out.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].split()[2:] == ["alpha", "activated", "first", "of", "the", "line"]
    assert "\x1b" not in out.getvalue()


def test_on_a_terminal_the_table_the_timeline_and_the_stream_are_drawn() -> None:
    out = io.StringIO()

    with screen(out, animate=True) as shown:
        shown.show(view())

    drawn = out.getvalue()
    for part in ("activating", "24", "about 1.5 s", "first of the line", "Once upon a time"):
        assert part in drawn


def test_the_report_of_a_good_run_says_so_and_shows_the_bill() -> None:
    out = io.StringIO()

    report(facts(act("1", "2")), stream=out)

    said = out.getvalue()
    assert "nothing lost" in said
    assert "2 / 2 / 0" in said
    assert "1.00000" in said
    assert "70%" in said
    assert "BROKEN" not in said


def test_the_report_of_a_bad_run_names_what_broke() -> None:
    out = io.StringIO()
    one = act("1", "2")
    lost = replace(one.replies[0], problem="got an answer that was cut off")

    report(facts(replace(one, replies=(lost, one.replies[1]))), stream=out)

    said = out.getvalue()
    assert "BROKEN" in said
    assert "2 / 1 / 1" in said
    assert "nothing lost" not in said
