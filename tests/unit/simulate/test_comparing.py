from __future__ import annotations

from array import array
from xml.etree import ElementTree

import pytest

from activator.core.endpoint import ScalePolicy
from activator.simulate import comparing
from activator.simulate.comparing import compare, frontier, knee
from activator.simulate.plot import svg
from activator.simulate.policies import Policy
from activator.simulate.replay import Model, Outcome
from activator.simulate.trace import Trace


def outcome(name: str, *, hours: float, wait: float, cost: float = 0.0) -> Outcome:
    waits = array("d", [wait] if wait else [])
    return Outcome(
        Policy(name, ScalePolicy()),
        requests=1,
        waits=waits,
        replica_seconds=hours * 3600,
        cost=cost,
    )


BENT = [
    outcome("never up", hours=1, wait=40),
    outcome("bend", hours=2, wait=4),
    outcome("beaten", hours=3, wait=5),
    outcome("dear", hours=9, wait=1),
]


def test_the_frontier_leaves_out_what_another_beats_in_both() -> None:
    assert [each.policy.name for each in frontier(BENT)] == ["never up", "bend", "dear"]


def test_the_knee_is_where_the_frontier_bends_most() -> None:
    bend = knee(BENT)

    assert bend is not None
    assert bend.policy.name == "bend"


@pytest.mark.parametrize(
    "straight",
    [
        BENT[:2],
        [outcome(str(i), hours=i, wait=4 - i) for i in range(4)],
        [outcome("a", hours=1, wait=4), outcome("b", hours=2, wait=3.9), BENT[3]],
    ],
)
def test_without_a_bend_there_is_no_knee(straight: list[Outcome]) -> None:
    assert knee(straight) is None


@pytest.mark.parametrize("worth", [1, 1_000_000])
def test_outcomes_come_in_the_order_of_the_policies_in_one_process_or_several(
    monkeypatch: pytest.MonkeyPatch, worth: int
) -> None:
    monkeypatch.setattr(comparing, "WORTH_PROCESSES", worth)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1})
    trace = Trace()
    trace.add(0.0, 1.0)
    trace.add(1000.0, 1.0)
    policies = [Policy(str(idle), ScalePolicy(idle_timeout=idle)) for idle in (60, 600, 6000)]
    counted: list[int] = []

    outcomes = compare(trace, policies, model=Model((10.0,)), done=counted.append)

    assert [each.policy.name for each in outcomes] == ["60", "600", "6000"]
    assert [each.cold_starts for each in outcomes] == [2, 2, 1]
    assert counted == [1, 2, 3]


def test_the_plot_names_the_frontier_and_marks_the_knee() -> None:
    drawn = svg(BENT, edge=frontier(BENT), knee=knee(BENT), title="a < b")

    root = ElementTree.fromstring(drawn)
    words = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "bend (knee)" in words
    assert "a < b" in words
    assert "replica hours" in words
    assert "beaten" not in words
    assert len(list(root.iter("{http://www.w3.org/2000/svg}circle"))) == len(BENT)


def test_points_lie_within_the_plot_even_if_all_of_them_are_nothing() -> None:
    nothing = [outcome("a", hours=0, wait=0)]

    root = ElementTree.fromstring(svg(nothing, edge=nothing, knee=None, title="x"))

    circle = next(root.iter("{http://www.w3.org/2000/svg}circle"))
    assert (circle.get("cx"), circle.get("cy")) == ("76.0", "402.0")
