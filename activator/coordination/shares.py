"""What every activator has of each endpoint: ours told to the others, theirs kept here.

Decides when to tell: the first request after there was none at once, everything else at most ten
times a second, nothing of endpoints at rest. A local copy answers questions at once; what may have
been missed is told again now and then.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Protocol

from activator.coordination.base import Share
from activator.coordination.board_talk import Shares, Told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from activator.coordination.base import Member

EVERY = 0.1
"""Seconds between two looks at endpoints that have something: averages over six seconds and idle
timeouts need no more, and a busy endpoint costs ten short messages a second."""
AGAIN = 10.0
"""Seconds between two messages that tell all of it: a message that was missed is mended by then."""
MOST = 200
"""Endpoints told in one message that is not whole; the others come with the next."""
RECENT = 3600.0
"""Seconds after its last response that an endpoint at rest is still told as a whole: the idle
timeouts of whoever has just started may be as long."""

_NOTHING = Share()


class Timer(Protocol):
    def cancel(self) -> object: ...


@dataclass(slots=True)
class _Ours:
    member: Member
    told: Share = _NOTHING
    ended: float = -inf
    """As it was told."""


class SharesKept:
    """Of all endpoints. Moments are monotonic seconds."""

    def __init__(
        self,
        me: str,
        *,
        clock: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], Timer],
        say: Callable[[Shares], None],
        alive: Callable[[], Iterable[str]],
    ) -> None:
        """`say` tells the others. What nobody can hear is told by `tell_all` once somebody can."""
        self._me = me
        self._clock = clock
        self._call_later = call_later
        self._say = say
        self._alive = alive
        self._ours: dict[str, _Ours] = {}
        self._stirring: dict[str, None] = {}
        """Endpoints that have something, or had when it was told last; looked at longest ago
        first."""
        self._lately: dict[str, None] = {}
        """Endpoints that may have to be told as a whole: those, and what has rested less than
        RECENT."""
        self._theirs: dict[str, dict[str, Share]] = {}
        """By endpoint, then activator."""
        self._ended: dict[str, float] = {}
        """Anywhere else, by endpoint."""
        self._sums: dict[str, Share] = {}
        self._timer: Timer | None = None
        self._soon = False
        self._said_at = -inf
        self._again = self._call_later(AGAIN, self._tell_again)

    # --- ours

    def join(self, endpoint: str, member: Member) -> None:
        self._ours[endpoint] = _Ours(member)
        self.stirred(endpoint)

    def leave(self, endpoint: str) -> None:
        ours = self._ours.pop(endpoint, None)
        self._stirring.pop(endpoint, None)
        self._lately.pop(endpoint, None)
        if ours is not None and ours.told.demand:
            self._say(Shares(self._me, {endpoint: Told(_NOTHING)}, whole=False))

    def stirred(self, endpoint: str) -> None:
        """It may have something from now on."""
        if endpoint in self._stirring:
            return
        self._stirring[endpoint] = self._lately[endpoint] = None
        if not self._soon:
            self._soon = True
            self._look_in(max(0.0, self._said_at + EVERY - self._clock()))

    def tell_all(self, *, asking: bool = False) -> None:
        """Somebody knows nothing of what was told, or may have missed some of it. `asking`: we
        do, and everybody is to tell all of it."""
        now = self._clock()
        told = {}
        for endpoint in list(self._lately):
            ours = self._ours[endpoint]
            ours.told, ours.ended = ours.member.share, ours.member.last_ended
            if ours.told.demand:
                self._stirring[endpoint] = None
            if ours.told.demand or now - ours.ended < RECENT:
                told[endpoint] = Told(ours.told, max(0.0, now - ours.ended))
            elif endpoint not in self._stirring:
                del self._lately[endpoint]
        self._say(Shares(self._me, told, whole=True, asks=asking))
        if self._stirring and self._timer is None:
            self._look_in(EVERY)

    def close(self) -> None:
        self._again.cancel()
        if self._timer is not None:
            self._timer.cancel()

    def _tell_again(self) -> None:
        self._again = self._call_later(AGAIN, self._tell_again)
        self.tell_all()

    def _look_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._call_later(seconds, self._look)

    def _look(self) -> None:
        self._timer, self._soon = None, False
        now = self._clock()
        told: dict[str, Told] = {}
        for endpoint in list(self._stirring)[:MOST]:
            ours = self._ours[endpoint]
            share, ended = ours.member.share, ours.member.last_ended
            del self._stirring[endpoint]
            if share.demand or not ours.member.is_at_rest:
                self._stirring[endpoint] = None
            elif ended == -inf:  # nothing has been asked of it yet
                self._lately.pop(endpoint, None)
            if share != ours.told or ended != ours.ended:
                ours.told, ours.ended = share, ended
                told[endpoint] = Told(share, max(0.0, now - ended))
        if told:
            self._said_at = now
            self._say(Shares(self._me, told, whole=False))
        if self._stirring:
            self._look_in(EVERY)

    # --- theirs

    def heard(self, shares: Shares) -> list[str]:
        """Returns the endpoints of which there is something now and was nothing, or reverse."""
        if shares.act == self._me:
            return []
        now = self._clock()
        touched = set(shares.told)
        if shares.whole:
            touched |= {name for name, theirs in self._theirs.items() if shares.act in theirs}
        before = {name: self.elsewhere(name).demand for name in touched}
        for name in touched:
            told = shares.told.get(name)
            if told is not None:
                self._ended[name] = max(self._ended.get(name, -inf), now - told.ended_ago)
            self._keep(name, shares.act, told.share if told else _NOTHING)
        return [name for name in touched if bool(self.elsewhere(name).demand) != bool(before[name])]

    def forget(self, act: str) -> None:
        """It has ended: what it had is gone."""
        for name in list(self._theirs):
            self._keep(name, act, _NOTHING)

    def roster_changed(self) -> None:
        """Somebody counts who did not, or reverse."""
        self._sums.clear()

    def elsewhere(self, endpoint: str) -> Share:
        """All others that are alive together."""
        found = self._sums.get(endpoint)
        if found is None:
            theirs = self._theirs.get(endpoint)
            found = _NOTHING if not theirs else self._sum(theirs)
            self._sums[endpoint] = found
        return found

    def ended(self, endpoint: str) -> float:
        """The latest end of a response at another; minus infinity: none is known."""
        return self._ended.get(endpoint, -inf)

    def _keep(self, endpoint: str, act: str, share: Share) -> None:
        theirs = self._theirs.setdefault(endpoint, {})
        if share.demand or share.held:
            theirs[act] = share
        else:
            theirs.pop(act, None)
        if not theirs:
            del self._theirs[endpoint]
        self._sums.pop(endpoint, None)

    def _sum(self, theirs: dict[str, Share]) -> Share:
        alive = frozenset(self._alive())
        counted = [share for act, share in theirs.items() if act in alive]
        loads: Counter[str] = Counter()
        for share in counted:
            loads.update(share.loads)
        return Share(
            demand=sum(share.demand for share in counted),
            held=sum(share.held for share in counted),
            held_bytes=sum(share.held_bytes for share in counted),
            loads=loads,
        )
