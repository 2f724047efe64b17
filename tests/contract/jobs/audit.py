"""Whether what lies in a Redis agrees with itself: each job with the lines, sums and sets it is in.

Reads the keys as `lua/jobs.lua` lays them out, and computes anew what the scripts keep up to date.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from activator.redisio.link import Link

WAITING = {"queued", "activating"}
ENDED = {"succeeded", "failed", "cancelled", "expired"}


async def audit(link: Link, endpoint: str = "m") -> list[str]:
    """What is wrong; nothing, if all is well."""
    return [found async for found in _Audit(link, endpoint).findings()]


async def leftovers(link: Link) -> list[str]:
    """Every key under this link's prefix but the register of endpoints, which has an expiry."""
    names = await link.command("KEYS", f"{link.keys.prefix}:*")
    register = link.keys.shared("bytes", "endpoints")
    return sorted(name.decode() for name in names if name.decode() != register)


class _Audit:
    def __init__(self, link: Link, endpoint: str) -> None:
        self._link = link
        self._endpoint = endpoint
        self._base = link.keys.of(endpoint, "jobs")

    async def findings(self) -> Any:
        await self._read()
        for finding in (*self._of_jobs(), *self._of_lines(), *self._of_sums(), *self._of_sets()):
            yield finding
        async for finding in self._of_expiries():
            yield finding

    async def _read(self) -> None:
        names = await self._link.command("KEYS", f"{self._base}:*")
        self._names = {name.decode().removeprefix(f"{self._base}:") for name in names}
        self.jobs = {
            name.partition(":")[2]: await self._hash(name)
            for name in self._names
            if name.startswith("job:")
        }
        self.sizes = {id_: await self._size(id_) for id_ in self.jobs}
        self.lines = {
            line: {
                id_.decode() for id_ in await self._link.command("ZRANGE", self._key(line), 0, -1)
            }
            for line in ("line", "later", "held", "all", "due", "hooks")
        }
        self.awaited = await self._members("awaited")
        self.up = await self._hash("up")
        self.meta = await self._hash("meta")
        self.acts = await self._members("acts")
        self.sets = {
            name: await self._members(name)
            for name in self._names
            if name.startswith(("claims:", "reads:"))
        }
        counted = await self._link.command(
            "GET", self._link.keys.of(self._endpoint, "bytes", "jobs")
        )
        self.bytes = int(counted or 0)

    def _key(self, name: str) -> str:
        return f"{self._base}:{name}"

    async def _hash(self, name: str) -> dict[str, str]:
        flat = await self._link.command("HGETALL", self._key(name))
        texts = [each.decode("latin-1") for each in flat]
        return dict(zip(texts[::2], texts[1::2], strict=True))

    async def _members(self, name: str) -> set[str]:
        return {each.decode() for each in await self._link.command("SMEMBERS", self._key(name))}

    async def _size(self, id_: str) -> tuple[int, int, int]:
        """Of envelope, body and result in bytes, the head of the result not counted."""
        body = await self._link.command("LRANGE", self._key(f"body:{id_}"), 0, -1)
        out = await self._link.command("LRANGE", self._key(f"out:{id_}"), 1, -1)
        envelope = await self._link.command("STRLEN", self._key(f"env:{id_}"))
        return envelope, sum(map(len, body)), sum(map(len, out))

    # --- what is wrong

    def _of_jobs(self) -> Iterator[str]:
        for id_, job in self.jobs.items():
            envelope, body, out = self.sizes[id_]
            if not envelope:
                yield f"{id_} has no envelope"
            if (body, out) != (int(job.get("bb", 0)), int(job.get("ob", 0))):
                yield f"{id_} has {body} + {out} bytes, and says {job.get('bb')} + {job.get('ob')}"
            if int(job["rm"]) != envelope + body + out + 1024:
                yield f"{id_} takes {job['rm']} bytes, and has {envelope} + {body} + {out}"
            if job["s"] in ENDED and job.get("h"):
                yield f"{id_} is {job['s']} and held"
            if f"ev:{id_}" not in self._names:
                yield f"{id_} has no events"
        for name in self._names:
            kind, _, id_ = name.partition(":")
            if kind in ("env", "out", "ev") and id_ not in self.jobs:
                yield f"{name} belongs to no job"
            if kind == "body" and id_ not in self.jobs and id_ not in self.up:
                yield f"{name} belongs to nobody"

    def _of_lines(self) -> Iterator[str]:
        for id_, job in self.jobs.items():
            stands = {line for line in ("line", "later", "held") if id_ in self.lines[line]}
            waits, claimed = job["s"] in WAITING, bool(job.get("h"))
            if not waits:
                right = not stands
            elif claimed:
                right = stands == {"held"}
            else:
                right = stands in ({"line"}, {"later"})
            if not right:
                yield f"{id_} is {job['s']}, held by {job.get('h')}, and stands in {stands}"
            if (waits and not int(job.get("d", 0))) != (id_ in self.awaited):
                yield f"{id_} is {job['s']}, detached: {job.get('d')}, and counted otherwise"
            if job["s"] in WAITING | ENDED and id_ not in self.lines["due"]:
                yield f"{id_} is looked at by nobody"
        for line, ids in self.lines.items():
            for id_ in ids - self.jobs.keys():
                yield f"{line} has {id_}, which is no job"
        for id_ in self.awaited - self.jobs.keys():
            yield f"{id_}, which is no job, is counted as waited for"
        for id_ in self.jobs.keys() - self.lines["all"]:
            yield f"{id_} is not among all"

    def _of_sums(self) -> Iterator[str]:
        taken = sum(int(job["rm"]) for job in self.jobs.values()) + sum(map(int, self.up.values()))
        if taken != self.bytes:
            yield f"{taken} bytes are taken, and {self.bytes} are counted"
        states = Counter(job["s"] for job in self.jobs.values())
        counted = {
            name.removeprefix("n:"): int(count)
            for name, count in self.meta.items()
            if name.startswith("n:") and int(count)
        }
        if states != counted:
            yield f"jobs are {dict(states)}, and counted are {counted}"

    def _of_sets(self) -> Iterator[str]:
        holding = {
            (job["h"].rpartition(":")[0], id_) for id_, job in self.jobs.items() if job.get("h")
        }
        claims = set(self._pairs("claims"))
        if holding != claims:
            yield f"held are {holding}, and sets of claims have {claims}"
        readers = Counter(id_ for _, id_ in self._pairs("reads"))
        for id_, job in self.jobs.items():
            if readers[id_] != int(job.get("rd", 0)):
                yield f"{id_} has {readers[id_]} readers, and says {job.get('rd')}"
        for id_ in readers.keys() - self.jobs.keys():
            yield f"somebody reads {id_}, which is no job"
        known = {name.partition(":")[2] for name in self.sets}
        if known != self.acts:
            yield f"activators with claims or readers are {known}, and known are {self.acts}"
        keys = {name.partition(":")[2] for name in self._names if name.startswith("key:")}
        for scope in keys - {job.get("k") for job in self.jobs.values()}:
            yield f"the key {scope} stands for no job"

    def _pairs(self, kind: str) -> Iterator[tuple[str, str]]:
        for name, ids in self.sets.items():
            if name.startswith(f"{kind}:"):
                yield from ((name.partition(":")[2], id_) for id_ in ids)

    async def _of_expiries(self) -> Any:
        for name in self._names:
            if (await self._link.command("PTTL", self._key(name))) == -1:
                yield f"{name} has no expiry"
