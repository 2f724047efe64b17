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
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from activator.aiokit.tasks import Tasks
from activator.errors import StoreUnavailable
from activator.queueing.base import DEFAULT_TTL, NOTHING_SAID, Handle
from activator.queueing.redis_budget import RedisBudget, counting_keys
from activator.redisio.scripts import load

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from activator.redisio.commands import Word
    from activator.redisio.keys import Keys
    from activator.redisio.link import Link
    from activator.redisio.scripts import Call

MARGIN: Final = 60.0
"""Seconds that a body outlives the time its request may wait."""
AT_ONCE: Final = 4
"""Bodies on their way to or from Redis: more would not be faster, and each is in memory."""
SMALL: Final = 16 << 10
"""Bytes up to which a body is small: what it takes is the round trip, and not its bytes."""
SMALL_AT_ONCE: Final = 32
"""Small bodies that come back at a time."""
TOGETHER: Final = 64 << 10
"""Bytes of small bodies that go in together: those of a burst come faster than they would go one by
one, and wait in memory by the thousand."""
CARRIERS: Final = 2
"""Of these at a time: while one is written the next are gathered."""
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
        self._going_in: deque[_Going] = deque()
        """Small ones, which no carrier has taken yet."""
        self._carriers = 0
        self._large_going_in = asyncio.Semaphore(AT_ONCE)
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
        done: asyncio.Future[Handle | StoreUnavailable] = asyncio.get_running_loop().create_future()

        def told(said: Handle | StoreUnavailable) -> None:
            if not done.done():
                done.set_result(said)
            elif isinstance(said, Handle):
                self._tasks.spawn(self.discard(said), name="discard")

        self.keep_then(endpoint, chunks, told, about=about, ttl=ttl)
        said = await done
        if isinstance(said, StoreUnavailable):
            raise said
        return said

    def keep_then(
        self,
        endpoint: str,
        chunks: Sequence[bytes],
        told: Callable[[Handle | StoreUnavailable], None],
        *,
        about: Mapping[str, str | bytes] = NOTHING_SAID,
        ttl: float = DEFAULT_TTL,
    ) -> None:
        size = sum(map(len, chunks))
        handle = Handle(f"{endpoint}/{self._holder}-{next(self._numbers):x}", size)
        going = _Going(handle, endpoint, chunks, about, ttl, told)
        if size > SMALL:
            self._tasks.spawn(self._carry_large(going), name="keep")
            return
        self._going_in.append(going)
        self._send_carrier()

    def _send_carrier(self) -> None:
        if self._going_in and self._carriers < CARRIERS:
            self._carriers += 1
            self._tasks.spawn(self._carry(), name="keep")

    async def _carry_large(self, going: _Going) -> None:
        async with self._large_going_in:
            await self._carry_in((going,))

    async def _carry(self) -> None:
        """What has come is taken along, as much as goes together."""
        waiting = self._going_in
        try:
            while waiting:
                some, size = [waiting.popleft()], 0
                while waiting and (size := size + some[-1].handle.size) < TOGETHER:
                    some.append(waiting.popleft())
                await self._carry_in(some)
        except Exception:
            self._carriers -= 1
            self._send_carrier()  # for those that came behind
            raise
        self._carriers -= 1

    async def _carry_in(self, some: Sequence[_Going]) -> None:
        """Whatever becomes of them, each is told."""
        mistake: Exception | None = None
        said: Sequence[Handle | StoreUnavailable]
        try:
            said = await self._keep_all(some)
        except Exception as error:
            mistake = error
            said = [StoreUnavailable("The body could not be stored")] * len(some)
            for each in some:
                self._give_up(each)
        for each, one in zip(some, said, strict=True):
            try:
                each.told(one)
            except Exception as error:
                mistake = mistake or error
        if mistake is not None:
            raise mistake  # of ours: the end of the task tells it

    async def _keep_all(self, some: Sequence[_Going]) -> list[Handle | StoreUnavailable]:
        said: dict[Handle, Handle | StoreUnavailable] = {}
        going: list[tuple[_Going, int]] = []
        for each in some:
            try:
                going.append((each, await self.budget.room(each.endpoint, each.handle.size)))
            except StoreUnavailable as error:
                self._failed()
                said[each.handle] = error
        for each, _ in going:
            self._remember(each.handle)
        said |= await self._write(going)
        return [said[each.handle] for each in some]

    async def _write(
        self, going: Sequence[tuple[_Going, int]]
    ) -> dict[Handle, Handle | StoreUnavailable]:
        """Each with the bytes that its endpoint may have."""
        commands = [command for each, room in going for command in self._commands(each, room)]
        replies: Sequence[Any]
        try:
            replies = await self._link.each(commands) if commands else ()
        except StoreUnavailable as error:
            replies = [error] * len(commands)
        said: dict[Handle, Handle | StoreUnavailable] = {}
        for at, (each, _) in enumerate(going):
            failure = self._failure_of(each, *replies[2 * at : 2 * at + 2])
            if failure is not None:
                self._give_up(each)
            said[each.handle] = failure or each.handle
        return said

    def _commands(self, going: _Going, room: int) -> tuple[Sequence[Word], Call]:
        body = _Body(self._link.keys, going.handle)
        lapse = int((going.ttl + MARGIN) * 1000)
        fields = [word for name, said in going.about.items() for word in (name, said[:MOST_SAID])]
        record = _KEEP(body.keys, (body.member, lapse, room, "holder", self._holder, *fields))
        return ("SET", body.keys[0], tuple(going.chunks), "PX", lapse), record

    def _failure_of(self, going: _Going, written: Any, recorded: Any) -> StoreUnavailable | None:
        for reply in (written, recorded):
            if isinstance(reply, StoreUnavailable):
                return reply
        outcome, used = recorded
        self.budget.note(going.endpoint, int(used))
        if outcome == 1:
            return None
        self._failed()
        if outcome == 0:
            return self.budget.full(going.handle.size)
        return StoreUnavailable("The store has lost what was just written")

    def _give_up(self, going: _Going) -> None:
        if self._forget(going.handle):
            self._leave(going.handle)

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


class _Going(NamedTuple):
    """A body on its way in."""

    handle: Handle
    endpoint: str
    chunks: Sequence[bytes]
    about: Mapping[str, str | bytes]
    ttl: float
    told: Callable[[Handle | StoreUnavailable], None]


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
