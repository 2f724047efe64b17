"""What a chat costs on its way to a ready model and back: the measure in which those take part that
speak nothing but OpenAI's dialect, too."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from bench import bursts, chat, contestants, wrk
from bench.bursts import Case
from bench.failure import BenchError
from bench.report import Result
from bench.size import Size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.bursts import Taken
    from bench.contestant import Contestant
    from bench.lab import Lab

TITLE: Final = "chats/s with a ready model: POST of 2 KiB, found by its model; answer of 4 KiB"


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int
    seconds: float
    connections: tuple[int, ...]


PLANS: Final = {
    Size.FULL: Plan(5, 2.0, (1, 16)),
    Size.QUICK: Plan(1, 2.0, (16,)),
    Size.SMOKE: Plan(1, 1.0, (4,)),
}


def run(lab: Lab) -> Result:
    plan = PLANS[lab.size]
    if not wrk.installed():
        return Result("chat", TITLE, asdict(plan), (), notes=("left out: no wrk here",))
    body = lab.folder / "chat.json"
    body.write_bytes(chat.request())
    cases = [Case("chat", chat.PATH, count, body) for count in plan.connections]
    with ExitStack() as stack:
        upstream = stack.enter_context(lab.upstream())
        everyone = (*contestants.PLAIN, contestants.NGINX_LINES, *contestants.ROUTERS)
        peers, left_out = contestants.enter(stack, lab, upstream, everyone)
        ours, without = contestants.over_every_store(
            stack, lab, upstream, dialect="openai", models=[chat.MODEL]
        )
        field, failed = warmed([stack.enter_context(lab.direct()), *peers, *ours], cases)
        taken = bursts.measure(field, cases, rounds=plan.rounds, seconds=plan.seconds)
    return result(plan, taken, left_out=[*left_out, *without, *failed])


def warmed(
    field: Sequence[Contestant], cases: Sequence[Case]
) -> tuple[list[Contestant], list[str]]:
    """Those that answer chats, once they have answered some; and a note for each peer that does
    not. Raises BenchError if one of ours does not."""
    answering: list[Contestant] = []
    notes: list[str] = []
    for each in field:
        try:
            warm = bursts.warm(each, cases[0])
            if warm.errors == warm.requests:
                raise BenchError("it answers chats with errors")
        except BenchError as error:
            if each.is_ours:
                raise
            notes.append(f"left out: {each.name} does not run here: {error}")
        else:
            answering.append(each)
    return answering, notes


def result(plan: Plan, taken: Taken, *, left_out: Sequence[str]) -> Result:
    return Result(
        "chat",
        TITLE,
        asdict(plan),
        taken.rows(),
        verdicts=(taken.nothing_failed(),),
        notes=[*left_out, *taken.notes()],
        raw=taken.raw(),
    )
