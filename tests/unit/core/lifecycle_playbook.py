"""Words for conversations with a Lifecycle: facts to show it, states to begin in, what it said."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from activator.core.effects import (
    Answer,
    AskQuiet,
    FailedStart,
    Record,
    WakeAt,
)
from activator.core.endpoint import ScalePolicy
from activator.core.lifecycle import (
    Ended,
    Lifecycle,
    Observation,
    SeenReplica,
    State,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from activator.core.effects import Effect

POLICY = ScalePolicy(idle_timeout=600.0, start_timeout=900.0)
MANY = replace(POLICY, max=5, target_concurrency=8.0, down_delay=300.0)
CAUSE = FailedStart("exited with status 3", exit_code=3, last_lines=("no such model",))

NOTHING = Observation(demand=0, wanted=0)
STARTING = SeenReplica("r1", ready=False)
READY = SeenReplica("r1", ready=True)


def seen(*replicas: SeenReplica, demand: int = 0, **more: Any) -> Observation:
    facts: dict[str, Any] = {"wanted": len(replicas), "last_ended": 0.0} | more
    return Observation(demand=demand, replicas=replicas, **facts)


def acts(effects: Iterable[Effect]) -> list[Effect]:
    """What is asked for, without what is only told."""
    return [each for each in effects if not isinstance(each, WakeAt | Record | Answer)]


def told(effects: Iterable[Effect]) -> list[str]:
    return [f"{each.action}: {each.reason}" for each in effects if isinstance(each, Record)]


def answer(effects: Iterable[Effect]) -> str | None:
    """To an operator who deactivates: empty if none are ordered, or why not; None: not yet."""
    answers = [each.refusal for each in effects if isinstance(each, Answer)]
    assert len(answers) <= 1
    return answers[0] if answers else None


def wake(effects: list[Effect]) -> float | None:
    moments = [each.at for each in effects if isinstance(each, WakeAt)]
    assert len(moments) <= 1
    return moments[0] if moments else None


def ended(*ids: str, was_ready: bool = False) -> tuple[Ended, ...]:
    return tuple(Ended(each, CAUSE, was_ready=was_ready) for each in ids)


def asleep(policy: ScalePolicy = POLICY) -> Lifecycle:
    life = Lifecycle(policy, now=0.0)
    life.observe(NOTHING, now=0.0)
    return life


def activating(policy: ScalePolicy = POLICY, *, at: float = 0.0) -> Lifecycle:
    life = asleep(policy)
    life.observe(replace(NOTHING, demand=1), now=at)
    life.observe(seen(STARTING, demand=1), now=at)
    assert life.state is State.ACTIVATING
    return life


def active(policy: ScalePolicy = POLICY, *, at: float = 0.0) -> Lifecycle:
    life = activating(policy, at=at)
    life.observe(seen(READY, demand=1), now=at)
    assert life.state is State.ACTIVE
    return life


def draining() -> Lifecycle:
    life = active()
    assert AskQuiet() in life.observe(seen(READY), now=600.0)
    return life


def failed() -> Lifecycle:
    """Since 2.0, after attempts that ended at 0.0, 0.5 and 2.0."""
    life = activating()
    life.observe(seen(demand=1, ended=ended("r1")), now=0.0)
    for at, lost in ((0.5, "r2"), (1.5, "r3")):
        life.observe(seen(demand=1, ended=ended("r1", "r2")[: int(at + 1)]), now=at)
        life.observe(seen(STARTING, demand=1), now=at)
        life.observe(seen(demand=1, ended=ended(lost)), now=at + 0.5 * (lost == "r3"))
    assert life.state is State.FAILED
    return life
