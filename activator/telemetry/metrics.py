"""Everything that is measured, as plain numbers, and its buckets.

Writers touch a number; what requests took is noted, and counted many at a time or when somebody
looks. Whatever costs more happens when somebody scrapes. What is worth measuring is decided by
those who call; what it is called is `families`'.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector

from activator.core.key_usage import OTHERS
from activator.telemetry.exposition import escaped, of_endpoints, of_process
from activator.telemetry.families import BOOKED, COUNTED, NOW, PROCESS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from activator.core.tokens import Tokens
    from activator.telemetry.exposition import Format

REQUEST_BUCKETS = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
    *(10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0),
)
"""Seconds, up to the default of `timeouts.total`."""
OVERHEAD_BUCKETS = (
    *(0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005),
    *(0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
)
"""Seconds; the proxy's own time is a fraction of a millisecond when all is well."""
WAIT_BUCKETS = (
    *(0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0),
    *(30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0),
)
COLD_START_BUCKETS = (
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0),
    *(60.0, 90.0, 120.0, 180.0, 300.0, 450.0, 600.0, 900.0, 1200.0, 1800.0),
)
"""Seconds: a process takes tenths, a large model on a new node half an hour."""

UNCOUNTED: Final = 3 * 1024
"""Places in the list of what has not been counted yet, three a request: of the whole process, so
that ten thousand endpoints that are asked now and then keep nothing more; and so many that where
a hundred are asked by turns there are some of each, by which counting many at a time gains."""
FEW: Final = 8
"""Numbers that are found their buckets one by one sooner than they are sorted."""

MAX_SERIES = 64
"""Label sets of one counter of one endpoint. A model server may answer with any status code;
what comes beyond the bound is counted as `other`."""
MAX_TOKEN_SERIES = 1024
"""Of one endpoint: four for each API key that has used it."""
MAX_KEYS = 256
"""Of one endpoint that are told apart by what they cost; further ones are counted as `*`, as those
are whose use is not told apart."""
OTHER = "other"

K = TypeVar("K")

_NONE: Final[Mapping[Any, Any]] = MappingProxyType({})


class Gauges(NamedTuple):
    """What an endpoint has right now, and what it has used since this activator started."""

    held: int = 0
    held_limit: int = 0
    """0 = none."""
    oldest_held: float = 0.0
    """Seconds."""
    in_flight: int = 0
    replicas: Mapping[str, int] = _NONE
    """Number of replicas by state."""
    replica_seconds: Mapping[str, float] = _NONE
    """Replica time used, by state."""
    cost: float = 0.0
    cost_saved: float = 0.0
    key_seconds: Mapping[tuple[str, str], float] = _NONE
    """What API keys have used: by key, and what it was."""


class Histogram:
    """Counts by upper bound, and a sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def observe_all(self, values: list[float]) -> None:
        """Each of them; most are in one bucket, and to sort the others is cheaper than to look for
        each one's."""
        counts, bounds = self.counts, self.bounds
        self.total += sum(values)
        if len(values) < FEW:
            for value in values:
                counts[bisect_left(bounds, value)] += 1
            return
        least = bisect_left(bounds, min(values))
        if least == bisect_left(bounds, max(values)):
            counts[least] += len(values)
            return
        others = list(filter(bounds[least].__lt__, values))
        counts[least] += len(values) - len(others)
        others.sort()
        begin, count = 0, len(others)
        while begin < count:
            bucket = bisect_left(bounds, others[begin])
            end = count if bucket == len(bounds) else bisect_right(others, bounds[bucket], begin)
            counts[bucket] += end - begin
            begin = end

    def __bool__(self) -> bool:
        """Whether there is anything in it."""
        return any(self.counts)

    def cumulative(self) -> list[int]:
        """How many were at most each bound, and all of them last."""
        return list(accumulate(self.counts))

    def buckets(self) -> list[tuple[str, int]]:
        """The same by bounds as they are told, `+Inf` last."""
        return list(zip((*map(repr, self.bounds), "+Inf"), self.cumulative(), strict=True))


class EndpointMetrics:
    """The counters of one endpoint. `gauges` is read when somebody scrapes."""

    __slots__ = (
        "_durations",
        "_overheads",
        "_requests",
        "_tokens",
        "cold_starts",
        "fallbacks",
        "gauges",
        "jobs",
        "key_costs",
        "phases",
        "retries",
        "scale_actions",
        "waits",
    )

    def __init__(self) -> None:
        self._requests: dict[tuple[int | str, str], int] = {}
        self._durations = Histogram(REQUEST_BUCKETS)
        self._overheads = Histogram(OVERHEAD_BUCKETS)
        self.waits = Histogram(WAIT_BUCKETS)
        self.cold_starts: dict[str, int] = {}
        self.phases: dict[str, Histogram] = {}
        self.scale_actions: dict[tuple[str, str], int] = {}
        self.retries: dict[str, int] = {}
        self.fallbacks: dict[str, int] = {}
        self._tokens: dict[tuple[str, bool], list[int]] = {}
        """In and out, by API key and whether the model told them."""
        self.key_costs: dict[str, float] = {}
        self.gauges: Callable[[], Gauges] | None = None
        self.jobs: Mapping[str, int] = {}
        """By state, over all activators; some seconds old."""

    def request(self, code: int, reason: str, duration: float, overhead: float) -> None:
        """A request has ended.

        `reason` is empty when the model answered, else the error's reason; `duration` is from the
        head's arrival to the answer's end, `overhead` the part of it spent in the proxy itself
        (neither waiting in line nor for the model); both in seconds.
        """
        if code == 200 and not reason:
            uncounted = _uncounted
            uncounted += self, duration, overhead
            if len(uncounted) >= UNCOUNTED:
                _count_answers()
        else:
            key, requests = (code, reason), self._requests
            if key in requests:
                requests[key] += 1
            else:
                _count(requests, key, beyond=(f"{str(code)[:1]}xx", reason and OTHER))
            self._durations.observe(duration)
            self._overheads.observe(overhead)

    # whoever reads what `request` writes finds it counted: there is no other way to it

    @property
    def requests(self) -> Mapping[tuple[int | str, str], int]:
        """That have ended, by code and reason."""
        _count_answers()
        return self._requests

    @property
    def durations(self) -> Histogram:
        _count_answers()
        return self._durations

    @property
    def overheads(self) -> Histogram:
        _count_answers()
        return self._overheads

    @property
    def ended(self) -> int:
        """Requests that have ended."""
        return sum(self.requests.values())

    def count_answers(self, durations: list[float], overheads: list[float]) -> None:
        """So many that the model answered with 200."""
        _count(self._requests, (200, ""), len(durations), beyond=("2xx", ""))
        self._durations.observe_all(durations)
        self._overheads.observe_all(overheads)

    def waited(self, seconds: float) -> None:
        """A held request has left the line, whichever way."""
        self.waits.observe(seconds)

    def cold_start(self, *, outcome: str) -> None:
        """A start from zero has ended: `ready`, `failed` …"""
        _count(self.cold_starts, outcome, beyond=OTHER)

    def phase(self, phase: str, seconds: float) -> None:
        """So long did this phase of a cold start take."""
        phases = self.phases
        if phase not in phases:
            phase = phase if len(phases) < MAX_SERIES else OTHER
            phases.setdefault(phase, Histogram(COLD_START_BUCKETS))
        phases[phase].observe(seconds)

    def scaled(self, *, direction: str, reason: str) -> None:
        """Replicas were asked for (`up`) or given back (`down`)."""
        _count(self.scale_actions, (direction, reason), beyond=(direction, OTHER))

    def retried(self, reason: str) -> None:
        _count(self.retries, reason, beyond=OTHER)

    def fell_back(self, outcome: str) -> None:
        """A request that nothing was ready for has gone to the fallback, or why it has not."""
        _count(self.fallbacks, outcome, beyond=OTHER)

    def used(self, tokens: Tokens | None, *, key: str) -> None:
        """By one answer. `key`: the API key's name, empty where none is needed."""
        if tokens is None:
            return
        prompt, answer, told = tokens
        used = self._tokens.get((key, told))
        if used is None:
            if 2 * len(self._tokens) >= MAX_TOKEN_SERIES:
                key = OTHER
            used = self._tokens.setdefault((key, told), [0, 0])
        used[0] += prompt
        used[1] += answer

    @property
    def tokens(self) -> dict[tuple[str, str, str], int]:
        """By API key, direction and how they were counted."""
        return {
            (key, direction, "usage" if told else "chunks"): number
            for (key, told), used in self._tokens.items()
            for direction, number in zip(("in", "out"), used, strict=True)
        }

    def charged(self, key: str, cost: float) -> None:
        """So much more is what this API key has cost; an empty one is nobody."""
        if key not in self.key_costs and len(self.key_costs) >= MAX_KEYS:
            key = OTHERS
        self.key_costs[key] = self.key_costs.get(key, 0.0) + cost


class Metrics:
    """All instruments of this process."""

    def __init__(self) -> None:
        self._endpoints: dict[str, EndpointMetrics] = {}
        self.unrouted = EndpointMetrics()
        """Requests that belong to no endpoint; their label is empty."""
        self.connections = 0
        """Client connections that are open now."""
        self.store_errors = 0
        self.overruled = 0
        """Times that an endpoint went to sleep although a silent activator may exist."""
        self.leader: Callable[[], bool] = bool
        """Whether this activator leads; asked at each scrape."""
        self._of_library = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._of_library)
        PlatformCollector(registry=self._of_library)

    def store_failed(self) -> None:
        """An operation of the store failed."""
        self.store_errors += 1

    def endpoint(self, name: str) -> EndpointMetrics:
        """The counters of an endpoint, the same ones for as long as it is not forgotten."""
        found = self._endpoints.get(name)
        if found is None:
            found = self._endpoints[name] = EndpointMetrics()
        return found

    def forget(self, name: str) -> None:
        """The endpoint is no longer configured: its series end."""
        self._endpoints.pop(name, None)

    def render(self, form: Format) -> Iterator[str]:
        """The exposition, text after text: none has more than a thousand lines, and many are
        empty, so that others may have turns in between. It tells of the endpoints there are at the
        beginning.
        """
        names, each = [""], [self.unrouted]
        gauged: list[str] = []
        gauges: list[Gauges] = []
        for name in sorted(self._endpoints):
            if (one := self._endpoints.get(name)) is None:
                continue  # it has been forgotten since
            label = escaped(name)
            names.append(label)
            each.append(one)
            if one.gauges is not None:
                gauged.append(label)
                gauges.append(one.gauges())
            yield ""
        for family in COUNTED:
            yield form.head(family)
            yield from of_endpoints(family, names, each)
        for of_now in NOW:
            yield form.head(of_now)
            yield from of_endpoints(of_now, gauged, gauges)
        for family in BOOKED:
            yield form.head(family)
            yield from of_endpoints(family, names, each)
        for own in PROCESS:
            yield form.head(own) + of_process(own, self)
        yield form.end(self._of_library)


_uncounted: list[Any] = []
"""Answers of models with 200, which is what nearly all requests end in: by turns the endpoint's
metrics, the duration, the overhead. One flat list, for a tuple each would be work for the garbage
collector."""


def _count_answers() -> None:
    """That are noted by now."""
    if not _uncounted:
        return
    endpoints, durations, overheads = _uncounted[::3], _uncounted[1::3], _uncounted[2::3]
    _uncounted.clear()
    one: EndpointMetrics = endpoints[0]
    if endpoints.count(one) == len(endpoints):
        one.count_answers(durations, overheads)
        return
    of: dict[EndpointMetrics, tuple[list[float], list[float]]] = {}
    for one, duration, overhead in zip(endpoints, durations, overheads, strict=True):
        if one not in of:
            of[one] = [], []
        took, spent = of[one]
        took.append(duration)
        spent.append(overhead)
    for one, (took, spent) in of.items():
        one.count_answers(took, spent)


def _count(counters: dict[K, int], key: K, more: int = 1, *, beyond: K) -> None:
    """`more` of `key`, or of `beyond` when it would be one label set too many."""
    if key not in counters and len(counters) >= MAX_SERIES:
        key = beyond
    counters[key] = counters.get(key, 0) + more
