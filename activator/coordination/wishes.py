"""What operators want, over a store that all activators share: pauses are kept in it, the leader is
asked through it to deactivate.

Which of two orders for a pause is the later one is decided by `core.standing`. Whoever has heard of
one keeps to it while the store is away, and says it again to a store that has forgotten it.
"""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from activator.aiokit.slices import Slices
from activator.aiokit.tasks import Tasks
from activator.coordination.base import NoLeader, Outcome
from activator.coordination.wish_talk import Activated, Answered, Asked, Ordered
from activator.core.backoff import Backoff
from activator.core.standing import Standing
from activator.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from activator.coordination.base import Subject
    from activator.coordination.wish_talk import Said

MEET_EVERY: Final = 3600.0
"""Seconds between two times that the store is told which endpoints there are: it forgets those that
nobody has named for a month."""
ASK_AGAIN: Final = 1.0
"""Seconds after which the leader is asked once more: it may be another by now."""
ANSWERED_WITHIN: Final = 7.0
"""Seconds that its answer is waited for: it takes up to 5 to say how far it has come."""
REMEMBERED: Final = 100
"""So many questions are known again when they are asked once more."""

_AGAIN: Final = Backoff(first=0.1, cap=2.0)


class WishStore(Protocol):
    """All verbs raise StoreUnavailable."""

    async def order(self, endpoint: str, *, paused: bool, known: int) -> Standing:
        """A later order than all that are kept, and than `known`. It is called out."""

    async def meet(self, known: Mapping[str, Standing]) -> Mapping[str, Standing]:
        """Everything that is kept, after what is `known` has been added where it is later (and
        called out). Those endpoints stay in the store for another month."""

    async def say(self, said: Activated | Asked | Answered) -> None:
        """Call it out."""

    def listen(self, heard: Callable[[Said], None], missed: Callable[[], None]) -> None:
        """`heard` for everything that anybody calls out, also this activator itself; `missed`
        whenever that begins: what was said before may not have been heard."""


class SharedWishes:
    """Implements `coordination.base.Wishes`, between `open` and `aclose`."""

    def __init__(self, store: WishStore, me: str, *, leading: Callable[[], bool]) -> None:
        self._store = store
        self._me = me
        self._leading = leading
        self._tasks = Tasks("wishes")
        self._standing: dict[str, Standing] = {}
        self._subjects: dict[str, Subject] = {}
        self._due = asyncio.Event()
        self._answers: dict[str, asyncio.Future[Outcome]] = {}
        """To what was asked here."""
        self._taken: dict[str, Outcome | None] = {}
        """What this activator was asked while it led; None: it is at it."""
        store.listen(self._heard, self._due.set)

    async def open(self) -> None:
        """Afterwards it is known what is paused, if the store answers."""
        run = partial(self._run, known=await self._meet())
        self._tasks.spawn_lasting(run, name="meet", again=self._due.set)

    async def aclose(self) -> None:
        await self._tasks.aclose()

    # --- Wishes

    def join(self, endpoint: str, subject: Subject) -> None:
        self._subjects[endpoint] = subject
        if self._of(endpoint).paused:
            subject.pause()

    def leave(self, endpoint: str) -> None:
        self._subjects.pop(endpoint, None)

    async def pause(self, endpoint: str, *, on: bool) -> None:
        known = self._of(endpoint).number
        self._learn(endpoint, await self._store.order(endpoint, paused=on, known=known))

    def activated(self, endpoint: str) -> None:
        self._tasks.spawn(self._say(Activated(endpoint, self._me)), name="activated")

    async def deactivate(self, endpoint: str, *, force: bool) -> Outcome:
        asked = Asked(os.urandom(8).hex(), endpoint, force)
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._answers[asked.name] = answer
        try:
            async with asyncio.timeout(ANSWERED_WITHIN):
                while not answer.done():
                    await self._store.say(asked)
                    await asyncio.wait((answer,), timeout=ASK_AGAIN)
        except TimeoutError:
            raise NoLeader from None
        finally:
            del self._answers[asked.name]
        return answer.result()

    # --- pauses

    def _of(self, endpoint: str) -> Standing:
        return self._standing.get(endpoint, Standing())

    def _learn(self, endpoint: str, told: Standing) -> None:
        before = self._of(endpoint)
        now = self._standing[endpoint] = before.meet(told)
        subject = self._subjects.get(endpoint)
        if subject is None or now.paused == before.paused:
            return
        if now.paused:
            subject.pause()
        else:
            subject.resume()

    async def _run(self, *, known: bool) -> None:
        attempt = 0 if known else 1
        while True:
            try:
                async with asyncio.timeout(_AGAIN.delay(attempt) if attempt else MEET_EVERY):
                    await self._due.wait()
            except TimeoutError:
                pass
            self._due.clear()
            attempt = 0 if await self._meet() else attempt + 1

    async def _meet(self) -> bool:
        slices = Slices()
        known: dict[str, Standing] = {}
        for endpoint in tuple(self._subjects):
            known[endpoint] = self._of(endpoint)
            await slices.turn()
        try:
            kept = await self._store.meet(known)
        except StoreUnavailable:
            return False
        slices.begin()
        for endpoint, standing in kept.items():
            self._learn(endpoint, standing)
            await slices.turn()
        return True

    # --- what is heard

    def _heard(self, said: Said) -> None:
        match said:
            case Ordered(endpoint, standing):
                self._learn(endpoint, standing)
            case Activated(endpoint, act) if act != self._me and endpoint in self._subjects:
                self._subjects[endpoint].touch()
            case Asked():
                self._was_asked(said)
            case Answered(name, outcome):
                answer = self._answers.get(name)
                if answer is not None and not answer.done():
                    answer.set_result(outcome)

    def _was_asked(self, asked: Asked) -> None:
        subject = self._subjects.get(asked.endpoint)
        if asked.name in self._taken:
            outcome = self._taken[asked.name]
            if outcome is not None:  # the answer was lost
                self._tasks.spawn(self._say(Answered(asked.name, outcome)), name="answer")
        elif self._leading():
            self._remember(asked.name, None)
            self._tasks.spawn(self._carry_out(asked, subject), name="deactivate")
        elif subject is not None:
            subject.stay_down()

    async def _carry_out(self, asked: Asked, subject: Subject | None) -> None:
        if subject is None:
            outcome = Outcome(refusal="the activator that leads does not have this endpoint")
        else:
            outcome = await subject.deactivate(force=asked.force)
        self._remember(asked.name, outcome)
        await self._say(Answered(asked.name, outcome))

    def _remember(self, name: str, outcome: Outcome | None) -> None:
        self._taken[name] = outcome
        while len(self._taken) > REMEMBERED:
            del self._taken[next(iter(self._taken))]

    async def _say(self, said: Activated | Answered) -> None:
        try:
            await self._store.say(said)
        except StoreUnavailable:
            return  # nobody counts on it: whoever waits for an answer asks again
