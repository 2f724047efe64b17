"""Who has used an endpoint: what its replica time is divided by among API keys.

Decides what counts as use while it happens (`KeyMeter`, one activator's), and how a day's replica
time is divided by the use of all (`divide`). Replica time itself is counted by `costs` and booked
by `usage`; use is booked beside it, by every activator for itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from math import fsum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date

    from activator.core.usage import Usage

MOST_KEYS: Final = 200
"""Of one endpoint that are told apart; what further ones use goes to `OTHERS`."""
OTHERS: Final = "*"
"""No key is called so."""
NOBODY: Final = ""
"""Whose the replica time is that no key has woken, used or kept."""


@dataclass(frozen=True, slots=True)
class KeyUse:
    """Of one key at one endpoint."""

    requests: int = 0
    """That were given to a replica."""
    slot_seconds: float = 0.0
    """At replicas, each request for itself."""
    wait_seconds: float = 0.0
    """In line while nothing was ready, each request for itself."""
    kept_seconds: float = 0.0
    """Replica time without a request anywhere, after the last one, which was this key's."""

    def __add__(self, other: KeyUse) -> KeyUse:
        return KeyUse(*(getattr(self, name) + getattr(other, name) for name in USES))

    def __sub__(self, other: KeyUse) -> KeyUse:
        return KeyUse(*(getattr(self, name) - getattr(other, name) for name in USES))


UNUSED: Final = KeyUse()
USES: Final = tuple(each.name for each in fields(KeyUse))


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """What keys have used of an endpoint on a day, at one activator."""

    endpoint: str
    day: date
    by: str
    """The activator, by a name that is new at each start."""
    number: int
    """Higher with each of its entries."""
    uses: Mapping[str, KeyUse]


@dataclass(frozen=True, slots=True)
class DayKeyUse:
    endpoint: str
    day: date
    key: str
    use: KeyUse


@dataclass(frozen=True, slots=True)
class KeyShare:
    """What one key answers for of an endpoint's day."""

    use: KeyUse = UNUSED
    replica_seconds: float = 0.0
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class DayKeyCost:
    endpoint: str
    day: date
    key: str
    share: KeyShare


@dataclass(slots=True)
class _Account:
    requests: int = 0
    open: int = 0
    """Requests at replicas now."""
    slots: float = 0.0
    """Slot-seconds, less the moments at which the open ones began."""
    waited: float = 0.0
    kept: float = 0.0


@dataclass(slots=True)
class KeyMeter:
    """One endpoint's use by key, at one activator. Moments are monotonic seconds.

    Requests without a key are not told of: where there are keys, there are none.
    """

    used_elsewhere: Callable[[], bool] = field(default=lambda: False)
    """Whether another activator has a request, or had the last one."""
    _accounts: dict[str, _Account] = field(default_factory=dict)
    _open: int = 0
    _keeper: _Account | None = None
    """Whose request was the last, or the one that it was started for."""
    _ready: int = 0
    _at: float = 0.0
    """Until when it is known who has kept the replicas."""

    @property
    def is_used(self) -> bool:
        """A key has ever had something of it."""
        return bool(self._accounts)

    def begin(self, key: str, *, now: float) -> None:
        """A request of this key's is given to a replica."""
        self._advance(now)
        account = self._account(key)
        account.requests += 1
        account.open += 1
        account.slots -= now
        self._open += 1

    def end(self, key: str, *, now: float) -> None:
        """It is at a replica no longer."""
        account = self._account(key)
        account.open -= 1
        account.slots += now
        self._open -= 1
        self._keeper, self._at = account, now

    def waited(self, key: str, seconds: float, *, now: float) -> None:
        """A request of this key's has stood in line for so long while nothing was ready."""
        account = self._account(key)
        account.waited += seconds
        if not self._open and self._keeper is None:
            self._keeper, self._at = account, now

    def serving(self, ready: int, *, now: float) -> None:
        """From now on so many replicas are ready."""
        self._advance(now)
        if not ready and self._ready:
            self._keeper = None
        self._ready = ready

    def read(self, *, now: float) -> dict[str, KeyUse]:
        """By key, since the beginning."""
        self._advance(now)
        return {
            key: KeyUse(each.requests, each.slots + each.open * now, each.waited, each.kept)
            for key, each in self._accounts.items()
        }

    def _advance(self, now: float) -> None:
        """Whoever has kept the replicas idle until now is told so."""
        if self._keeper is not None and not self._open and not self.used_elsewhere():
            self._keeper.kept += max(0.0, now - self._at) * self._ready
        self._at = max(now, self._at)

    def _account(self, key: str) -> _Account:
        account = self._accounts.get(key)
        if account is None:
            if len(self._accounts) >= MOST_KEYS:
                key = OTHERS
            account = self._accounts.setdefault(key, _Account())
        return account


def divide(usage: Usage, uses: Mapping[str, KeyUse]) -> dict[str, KeyShare]:
    """An endpoint's day, divided among keys; the shares add up to the whole.

    Time in which replicas were ready and idle goes to who kept them; the rest of the time in which
    they were ready is divided by slot-seconds; time in which they were not (they started, nearly
    always) by the seconds that requests waited for a start. Where nobody did the one, the other
    decides; where nobody did anything, the time is nobody's. Money follows time.
    """
    if not uses and not usage.ready_seconds and not usage.other_seconds:
        return {}  # nearly all of many endpoints, on nearly all days
    kept = {key: use.kept_seconds for key, use in uses.items()}
    slots = {key: use.slot_seconds for key, use in uses.items()}
    waits = {key: use.wait_seconds for key, use in uses.items()}
    idle = min(fsum(kept.values()), usage.ready_seconds)
    seconds = dict.fromkeys(uses, 0.0)
    for amount, weights in (
        (idle, (kept,)),
        (usage.ready_seconds - idle, (slots, kept, waits)),
        (usage.other_seconds, (waits, slots, kept)),
    ):
        for key, part in _parts(amount, weights).items():
            seconds[key] = seconds.get(key, 0.0) + part
    whole = usage.ready_seconds + usage.other_seconds
    price = usage.cost / whole if whole > 0 else 0.0
    return {
        key: KeyShare(uses.get(key, UNUSED), spent, spent * price)
        for key, spent in seconds.items()
        if key or spent
    }


def _parts(amount: float, choices: tuple[Mapping[str, float], ...]) -> dict[str, float]:
    """`amount`, in proportion to the first of these that has anything."""
    for weights in choices:
        total = fsum(weights.values())
        if total > 0:
            return {key: amount * (weight / total) for key, weight in weights.items()}
    return {NOBODY: amount}
