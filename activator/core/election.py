"""Who leads: one activator at a time, by a record in the store that its holder keeps moving.

Decides when to ask the store for what, and whether this activator leads right now. Nobody's wall
clock and no key's expiry counts: a holder stops leading `hold` seconds after it began to ask for
its last renewal, others take over when they have watched the record stand still for `lapse`
seconds of their own clock while the store answered. `hold` is shorter than `lapse` by more than
clocks differ in pace, so that two never lead. Asking is the shell's business (`coordination`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from activator.core.duty import Duty

NEVER = float("-inf")
CUT_OFF_AFTER: Final = 2
"""Questions in a row without an answer. One may be that this process was stopped while it asked."""


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """What the store holds. Nobody has ever led: term 0."""

    holder: str = ""
    """Empty: it was given back."""
    term: int = 0
    """Rises with every holder: what an earlier one asks for can be told apart and refused."""
    beat: int = 0
    """Another with every renewal of a term."""
    finishing: float = 0.0
    """Seconds that the one who gave it back may need for what it had in flight, if that is known
    here."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds, all of one's own monotonic clock; the same for all activators of a store."""

    lapse: float = 10.0
    """A record that stood still for so long may be taken: together with `look` and one delay of the
    store this is the time without a leader, which must stay under 15 s."""
    hold: float = 7.0
    """Leading ends so long after the last renewal was asked for: `lapse` less the difference in
    pace of two clocks, generously, and less what is decided just before the end."""
    renew: float = 2.0
    """Between renewals: three may fail before leading ends."""
    look: float = 1.0
    """Between looks at somebody else's record."""
    late: float = 1.0
    """An answer that took longer says nothing about how long the record has stood still: the store
    itself may have been."""


@dataclass(frozen=True, slots=True)
class Look:
    """Read the record."""


@dataclass(frozen=True, slots=True)
class Acquire:
    """Become its holder, with `term`, if the record is still `seen`."""

    seen: LeaseRecord
    term: int


@dataclass(frozen=True, slots=True)
class Renew:
    """Move the record, if it is still of this holder and of `seen.term`."""

    seen: LeaseRecord


@dataclass(frozen=True, slots=True)
class StepDown:
    """Leading has ended; told once."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is to be done before this moment."""

    until: float


Question = Look | Acquire | Renew
Step = Question | StepDown | Wait


class Election:
    """One activator's view of the lease.

    The shell asks for a `step`, carries it out, tells `answered` or `failed`, and asks again; it
    never has two questions to the store at the same time.
    """

    def __init__(self, me: str, *, pace: Pace | None = None) -> None:
        self._me = me
        self._pace = pace or Pace()
        self._seen = LeaseRecord()
        self._highest = 0
        """Term: one that the store has forgotten is not given again."""
        self._still_since: float | None = None
        """From when on the record was watched standing still; None: it must be read first."""
        self._leads_until = NEVER
        self._ask_at = NEVER
        self._owes_stepping_down = False
        self._unanswered = 0
        """Questions since the last answer."""
        self._has_left = False
        self._taken_from: LeaseRecord | None = None
        self._gone = ""
        """A holder that has ended: nobody need wait for its record to lapse."""

    @property
    def record(self) -> LeaseRecord:
        """As last seen."""
        return self._seen

    @property
    def taken_from(self) -> LeaseRecord | None:
        """What was found when it was taken, or when that was tried last; None: it never was."""
        return self._taken_from

    def leads(self, *, now: float) -> bool:
        return now < self._leads_until

    def duty(self, *, now: float) -> Duty:
        """Of an activator that may do nothing that its lease does not allow."""
        if self._has_left:
            return Duty.LEAVING
        if self.leads(now=now):
            return Duty.SERVES
        if self._seen.holder != self._me:
            return Duty.STANDS_BY
        return Duty.CUT_OFF if self._unanswered >= CUT_OFF_AFTER else Duty.LAPSED

    def step(self, *, now: float) -> Step:
        """What to do now."""
        if self._owes_stepping_down and not self.leads(now=now):
            self._owes_stepping_down = False
            return StepDown()
        if now < self._acts_at:
            return Wait(self._acts_at)
        if self._seen.holder == self._me:
            return Renew(self._seen)
        if self._may_acquire(now=now):
            self._taken_from = self._seen  # if it succeeds, whether the answer comes or not
            return Acquire(self._seen, self._highest + 1)
        return Look()

    def answered(
        self, question: Question, record: LeaseRecord, *, done: bool, asked: float, now: float
    ) -> None:
        """The record is now `record`; `done`: because the store did what was asked.

        `asked`: a moment before any of it could happen.
        """
        # while the store answers nobody, nobody can renew either
        if record != self._seen or self._still_since is None or now - asked > self._pace.late:
            self._still_since = now
        self._seen = record
        self._unanswered = 0
        self._highest = max(self._highest, record.term)
        mine = record.holder == self._me
        if mine and done and not isinstance(question, Look):
            self._leads_until = asked + self._pace.hold
            self._owes_stepping_down = True
        elif not mine:
            self._leads_until = NEVER
        if not mine:
            found_free = self._is_free and isinstance(question, Look)
            self._ask_at = now if found_free else asked + self._pace.look
        else:
            # taken by a question whose answer was lost: it must be moved before it counts
            self._ask_at = asked + self._pace.renew if done else now

    def failed(self, *, now: float) -> None:
        """The store did not answer, or only to refuse."""
        self._still_since = None
        self._unanswered += 1
        self._ask_at = now + self._pace.look

    def is_gone(self, act: str) -> None:
        """This activator has ended and will never renew again."""
        self._gone = act
        if self._seen.holder == act:
            self._ask_at = NEVER

    def look_now(self) -> None:
        """The record may have been given back."""
        if self._seen.holder != self._me and self._still_since is not None:
            self._still_since, self._ask_at = None, NEVER

    def give_back(self) -> LeaseRecord | None:
        """Leading ends here and now, for good. The record to give back; None: it is not ours."""
        self._leads_until = NEVER
        if self._seen.holder != self._me or self._has_left:
            return None
        self._has_left = True
        return self._seen

    @property
    def _acts_at(self) -> float:
        if self._owes_stepping_down:
            return min(self._ask_at, self._leads_until)
        if self._still_since is None or self._seen.holder == self._me:
            return self._ask_at
        return min(self._ask_at, self._still_since + self._pace.lapse)

    def _may_acquire(self, *, now: float) -> bool:
        if self._still_since is None:
            return False
        return self._is_free or now >= self._still_since + self._pace.lapse

    @property
    def _is_free(self) -> bool:
        return self._seen.holder in {"", self._gone}
