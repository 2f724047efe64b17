"""Outcomes of several policies side by side: which are worth having, and where more money stops
buying much less waiting."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING

from activator.simulate.replay import replay

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from activator.simulate.policies import Policy
    from activator.simulate.replay import Model, Outcome
    from activator.simulate.trace import Trace

WORTH_PROCESSES = 200_000
"""Requests, over all policies, from which several processes are quicker than one."""

BEND = 0.05
"""How far, of 1, the frontier must lie below a straight line to be told to have a knee."""


def compare(
    trace: Trace,
    policies: Sequence[Policy],
    *,
    model: Model,
    done: Callable[[int], None] = lambda count: None,
) -> list[Outcome]:
    """One outcome a policy, in their order; `done` is told how many there are so far.

    Raises ValueError for a policy under which no replica could start in time.
    """
    outcomes = []
    one = partial(replay, trace, model=model)
    workers = min(len(os.sched_getaffinity(0)), len(policies))
    if len(trace) * len(policies) < WORTH_PROCESSES or workers == 1:
        for policy in policies:
            outcomes.append(one(policy))
            done(len(outcomes))
        return outcomes
    # spawned, not forked: what else this process has (threads, a terminal) is none of theirs
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for outcome in pool.map(one, policies):
            outcomes.append(outcome)
            done(len(outcomes))
    return outcomes


def frontier(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Those that no other beats in both replica time and waiting, the cheapest first."""
    best: list[Outcome] = []
    for outcome in sorted(outcomes, key=lambda each: (each.replica_seconds, each.mean_wait)):
        if not best or outcome.mean_wait < best[-1].mean_wait:
            best.append(outcome)
    return best


def knee(outcomes: Sequence[Outcome]) -> Outcome | None:
    """The point of the frontier that bends most; None if it has no bend.

    The farthest from the line between its ends, both axes scaled to 0..1 (Satopää et al., 2011,
    "Finding a 'Kneedle' in a Haystack").
    """
    edge = frontier(outcomes)
    if len(edge) < 3:
        return None
    first, last = edge[0], edge[-1]
    wide = last.replica_seconds - first.replica_seconds
    high = first.mean_wait - last.mean_wait

    def below(outcome: Outcome) -> float:
        across = (outcome.replica_seconds - first.replica_seconds) / wide
        up = (outcome.mean_wait - last.mean_wait) / high
        return 1.0 - across - up

    bend = max(edge[1:-1], key=below)
    return bend if below(bend) > BEND else None
