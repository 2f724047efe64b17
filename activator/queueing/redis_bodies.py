"""Bodies of held requests in Redis: this process keeps a handle.

A body is one string, written first and with an expiry; then one script makes it a record. So
there is no record without its body, and what is cut off in between lapses by itself, as does
everything whose activator has died. Lapsing is a backstop: whoever keeps a body takes or discards
it.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Final, cast

from activator.aiokit.tasks import Tasks
from activator.errors import StoreUnavailable
from activator.queueing.base import DEFAULT_TTL, NOTHING_SAID, Handle
from activator.queueing.redis_budget import RedisBudget, counting_keys
from activator.redisio.scripts import load

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from activator.redisio.keys import Keys
    from activator.redisio.link import Link

MARGIN: Final = 60.0
"""Seconds that a body outlives the time its request may wait."""
AT_ONCE: Final = 4
"""Bodies on their way to or from Redis: more would not be faster, and each is in memory."""
SMALL: Final = 16 << 10
"""Bytes up to which a body is small: what it takes is the round trip, and not its bytes."""
SMALL_AT_ONCE: Final = 32
"""Small bodies besides. With few, those of a burst come faster than they go, and wait in memory by
the thousand."""
PATIENCE: Final = 5.0
"""Seconds that a request whose turn has come waits for a store that has just gone: a restart or a
failover takes no longer. Later ones wait no more for one that has been away so long."""
NOTICED: Final = 0.1
"""Seconds within which a store that has failed is known to be away, if it is."""
MOST_SAID: Final = 1024
"""Characters of what is written beside a body: a target can be longer than its body."""
BATCH: Final = 100
MOST_LEAVING: Final = 100_000
"""Bodies that could not be removed and are tried again; beyond these they lapse."""
AGAIN: Final = 1.0
"""Seconds until what could not be removed is tried again."""
CLOSING: Final = 2.0
"""Seconds for leaving nothing behind."""

_KEEP: Final = load(__package__, "body_keep", includes=("bytes",))
_DROP: Final = load(__package__, "body_drop", includes=("bytes",))


class RedisBodies:
    """`BodyStore` over a Redis. A handle costs this process some 300 bytes."""

    def __init__(
        self,
        link: Link,
        *,
        max_bytes: int,
        holder: str = "",
        clock: Callable[[], float] = time.monotonic,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        """`max_bytes`: of all endpoints' bodies and jobs. `holder`: who we are, for the records.
        `failed`: called whenever something is refused here, and not by Redis."""
        self._link = link
        self._holder = holder or secrets.token_hex(8)
        self._failed = failed
        self._clock = clock
        self._gone_at: float | None = None
        """Since when the store is away."""
        self.budget = RedisBudget(link, max_bytes=max_bytes, clock=clock)
        self._numbers = count()
        self._kept: dict[str, int] = {}
        self._bytes_kept = 0
        self._going_in = _Way()
        self._coming_out = _Way()
        self._leaving: deque[Handle] = deque(maxlen=MOST_LEAVING)
        self._dropping: asyncio.Task[None] | None = None
        self._again: asyncio.TimerHandle | None = None
        self._tasks = Tasks("bodies")
        link.on_change(self._changed)

    async def keep(
        self,
        endpoint: str,
        chunks: Sequence[bytes],
        *,
        about: Mapping[str, str | bytes] = NOTHING_SAID,
        ttl: float = DEFAULT_TTL,
    ) -> Handle:
        size = sum(map(len, chunks))
        handle = Handle(f"{endpoint}/{self._holder}-{next(self._numbers):x}", size)
        async with self._going_in.of(size):
            try:
                room = await self.budget.room(endpoint, size)
            except StoreUnavailable:
                self._failed()
                raise
            self._remember(handle)
            try:
                used = await self._write(handle, chunks, about=about, ttl=ttl, room=room)
            except StoreUnavailable:
                self._forget(handle)
                self._leave(handle)
                raise
        self.budget.note(endpoint, used)
        return handle

    async def _write(
        self,
        handle: Handle,
        chunks: Sequence[bytes],
        *,
        about: Mapping[str, str | bytes],
        ttl: float,
        room: int,
    ) -> int:
        """The endpoint's bytes afterwards."""
        body = _Body(self._link.keys, handle)
        lapse = int((ttl + MARGIN) * 1000)
        fields = [word for name, said in about.items() for word in (name, said[:MOST_SAID])]
        record = _KEEP(body.keys, (body.member, lapse, room, "holder", self._holder, *fields))
        written = ("SET", body.keys[0], tuple(chunks), "PX", lapse)
        _, (outcome, used) = await self._link.pipeline((written, record))
        if outcome == 1:
            return int(used)
        self._failed()
        self.budget.note(body.endpoint, used)
        if outcome == 0:
            raise self.budget.full(handle.size)
        raise StoreUnavailable("The store has lost what was just written")

    async def take(self, handle: Handle) -> Sequence[bytes]:
        if not self._forget(handle):
            raise self._gone()
        try:
            body = await self._read(handle)
        finally:
            self._leave(handle)
        if body is None:
            raise self._gone()
        return (body,)

    def take_now(self, handle: Handle) -> Sequence[bytes] | None:
        return None

    async def discard(self, handle: Handle) -> None:
        """A store that is away is told when it is back."""
        if self._forget(handle):
            await asyncio.shield(self._leave(handle))

    @property
    def bytes_kept(self) -> int:
        return self._bytes_kept

    async def aclose(self) -> None:
        """Whatever is still kept leaves, as far as the store is there."""
        self._leaving += (Handle(key, size) for key, size in self._kept.items())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSING):
                await asyncio.shield(self._dropper())
        if self._again is not None:
            self._again.cancel()
        await self._tasks.aclose()
        await self.budget.aclose()

    async def _read(self, handle: Handle) -> bytes | None:
        """Again if the store has just gone and comes back: nothing is lost by asking."""
        key = _Body(self._link.keys, handle).keys[0]
        asked_at = self._clock()
        while True:
            try:
                async with self._coming_out.of(handle.size):
                    return cast("bytes | None", await self._link.command("GET", key))
            except StoreUnavailable:
                since = asked_at if self._gone_at is None else min(asked_at, self._gone_at)
                if not await self._is_back(within=since + PATIENCE - self._clock()):
                    raise

    async def _is_back(self, *, within: float) -> bool:
        try:
            async with asyncio.timeout(max(0.0, within)):
                await asyncio.sleep(NOTICED)
                await self._link.until_up()
        except TimeoutError:
            return False
        return True

    def _leave(self, handle: Handle) -> asyncio.Task[None]:
        self._leaving.append(handle)
        return self._dropper()

    def _dropper(self) -> asyncio.Task[None]:
        """The one that takes out whatever leaves, many at a time."""
        if self._again is not None:
            self._again.cancel()
        if self._dropping is None or self._dropping.done():
            self._dropping = self._tasks.spawn(self._drop(), name="drop")
        return self._dropping

    async def _drop(self) -> None:
        while self._leaving:
            some = [self._leaving.popleft() for _ in range(min(BATCH, len(self._leaving)))]
            bodies = [_Body(self._link.keys, handle) for handle in some]
            try:
                sums = await self._link.pipeline(
                    [_DROP(each.keys, (each.member,)) for each in bodies]
                )
            except StoreUnavailable:
                self._leaving += some
                if self._link.up:
                    self._again = asyncio.get_running_loop().call_later(AGAIN, self._dropper)
                return
            for body, used in zip(bodies, sums, strict=True):
                self.budget.note(body.endpoint, used)

    def _changed(self, up: bool) -> None:
        self._gone_at = None if up else self._clock()
        if up and self._leaving:
            self._dropper()

    def _remember(self, handle: Handle) -> None:
        self._kept[handle.key] = handle.size
        self._bytes_kept += handle.size

    def _forget(self, handle: Handle) -> bool:
        if self._kept.pop(handle.key, None) is None:
            return False
        self._bytes_kept -= handle.size
        return True

    def _gone(self) -> StoreUnavailable:
        self._failed()
        return StoreUnavailable("The body of this request is no longer in the store")


class _Way:
    """As many at once as one way bears."""

    def __init__(self) -> None:
        self._large = asyncio.Semaphore(AT_ONCE)
        self._small = asyncio.Semaphore(SMALL_AT_ONCE)

    def of(self, size: int) -> asyncio.Semaphore:
        """To be held by a body of so many bytes on its way."""
        return self._small if size <= SMALL else self._large


class _Body:
    """Where a body is, and what its endpoint's index calls it."""

    def __init__(self, keys: Keys, handle: Handle) -> None:
        self.endpoint, _, name = handle.key.partition("/")
        self.member = f"{name}:{handle.size}"
        self.keys = (
            keys.of(self.endpoint, "body", name),
            keys.of(self.endpoint, "held", name),
            *counting_keys(keys, self.endpoint),
        )
