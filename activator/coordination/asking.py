"""The leader's part of scaling down: to ask every activator for its word, and to act on it once.

Decides who must answer, who is waited for no longer, and when the question has failed. What a word
means to its giver is decided by `words`.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from activator.coordination.board_talk import Answered, Declared, Revived
from activator.core.draining import Drain, Stage
from activator.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.aiokit.tasks import Tasks
    from activator.coordination.base import Roster
    from activator.coordination.drain_store import DrainStore
    from activator.coordination.words import Words

ANSWER_WITHIN = 2.0
"""Seconds that activators have to answer. One that is alive does so in milliseconds; meanwhile the
others hold what comes."""
ASK_AGAIN = 0.5
"""Seconds: a question, or its answer, may have been missed."""


@dataclass(slots=True)
class _Question:
    """One that has not been concluded."""

    declared: Declared
    members: frozenset[str]
    """Who has joined; whoever is present is asked as well."""
    said: set[str] = field(default_factory=set)
    excused: tuple[str, ...] = ()
    failed: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def fail(self) -> None:
        self.failed = True
        self.changed.set()


@dataclass(slots=True)
class _Attempt:
    """The store is being told what is asked."""

    early: list[Answered | Revived] = field(default_factory=list)


class Asking:
    """This activator's questions, at most one an endpoint."""

    def __init__(
        self,
        store: DrainStore,
        roster: Roster,
        words: Words,
        tasks: Tasks,
        *,
        term: Callable[[], int],
        clock: Callable[[], float],
        overruled: Callable[[str, str], None],
    ) -> None:
        """`overruled` is told the endpoint, and the activator that is waited for no longer."""
        self._store = store
        self._roster = roster
        self._words = words
        self._tasks = tasks
        self._term = term
        self._clock = clock
        self._overruled = overruled
        self._questions: dict[str, _Question] = {}
        self._attempts: dict[str, _Attempt] = {}
        """By endpoint, unless it was called off."""

    def is_ours(self, endpoint: str, number: int) -> bool:
        """This drain is this activator's own, and not concluded."""
        question = self._questions.get(endpoint)
        return question is not None and question.declared.number == number

    async def ask(self, endpoint: str, replicas: tuple[str, ...] | None, *, fence: str) -> bool:
        """See `DemandBoard.ask_quiet`."""
        by = self._roster.me
        attempt = self._attempts[endpoint] = _Attempt()
        drain, done = Drain(), False
        with contextlib.suppress(StoreUnavailable):
            drain, done = await self._store.declare(
                endpoint, by=by, term=self._term(), replicas=replicas, fence=fence
            )
        called_off = self._attempts.get(endpoint) is not attempt
        if not called_off:
            del self._attempts[endpoint]
        if not done:
            if drain.stage is Stage.AGREED:
                await self._words.make_void(endpoint, drain)
            return False
        declared = Declared(endpoint, drain.number, by, replicas, fence)
        if called_off:
            await self._conclude(declared, ordered=False)
            return False
        question = self._questions[endpoint] = _Question(declared, frozenset(drain.words))
        for said in attempt.early:
            self._heard(question, said)
        self._words.declared(declared)
        if await self._all_say_yes(question):
            return True
        if self.is_ours(endpoint, drain.number):
            del self._questions[endpoint]
            self._words.called_off(endpoint, drain.number)
            await self._conclude(declared, ordered=False)
        return False

    async def agree(self, endpoint: str) -> bool:
        question = self._questions.get(endpoint)
        if question is None or question.failed:
            return False
        number = question.declared.number
        try:
            return await self._store.agree(endpoint, number=number, excused=question.excused)
        except StoreUnavailable:
            return False

    def conclude(self, endpoint: str, *, ordered: bool) -> None:
        """The question is answered for good: to this activator its own word means nothing now."""
        self._attempts.pop(endpoint, None)
        question = self._questions.pop(endpoint, None)
        if question is None:
            return
        question.fail()
        self._tasks.spawn(
            self._conclude(question.declared, ordered=ordered), name=f"conclude {endpoint}"
        )
        self._words.called_off(endpoint, question.declared.number)

    def heard(self, said: Answered | Revived) -> None:
        question, attempt = self._questions.get(said.endpoint), self._attempts.get(said.endpoint)
        if question is not None:
            self._heard(question, said)
        elif attempt is not None:  # others may hear the question before we know its number
            attempt.early.append(said)

    def _heard(self, question: _Question, said: Answered | Revived) -> None:
        if said.number != question.declared.number:
            return
        if isinstance(said, Answered):
            question.said.add(said.act)
        if isinstance(said, Revived) or not said.quiet:
            question.failed = True
        question.changed.set()

    async def _all_say_yes(self, question: _Question) -> bool:
        endpoint = question.declared.endpoint
        until = self._clock() + ANSWER_WITHIN
        while not question.failed:
            missing = await self._missing(question)
            if not missing:
                for act in question.excused:
                    self._overruled(endpoint, act)
                return not question.failed
            if self._clock() >= until or missing & self._roster.unknown:
                return False
            question.changed.clear()
            try:
                async with asyncio.timeout(ASK_AGAIN):
                    await question.changed.wait()
            except TimeoutError:
                await self._remind(question.declared)
        return False

    async def _missing(self, question: _Question) -> set[str]:
        """Whose answer is waited for."""
        endpoint = question.declared.endpoint
        # one that serves the endpoint may not have been able to say so
        present = self._roster.members | self._roster.unknown
        missing = set((question.members | present) - question.said)
        for act in [act for act in missing if self._roster.is_gone(act)]:
            try:
                await self._store.leave([endpoint], act)
            except StoreUnavailable:
                continue
            missing.discard(act)
        question.excused = tuple(act for act in missing if self._is_excused(act, endpoint))
        return missing.difference(question.excused)

    def _is_excused(self, act: str, endpoint: str) -> bool:
        """It may exist, but whatever it had must be over by now."""
        since, patience = self._roster.silent_since(act), self._words.patience(endpoint)
        return since is not None and 0.0 < patience <= self._clock() - since

    async def _remind(self, declared: Declared) -> None:
        self._words.declared(declared)
        try:
            await self._store.remind(declared)
        except StoreUnavailable:
            return

    async def _conclude(self, declared: Declared, *, ordered: bool) -> None:
        try:
            await self._store.conclude(declared.endpoint, number=declared.number, ordered=ordered)
        except StoreUnavailable:
            return  # words are kept, and taken back by those who gave them
