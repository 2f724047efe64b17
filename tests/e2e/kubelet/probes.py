"""Asks a container whether it is up, in the kubelet's rhythm: at once, then once a period.

`watch` says each change of mind, after as many successes or failures in a row as the probe asks
for; what follows from it is the container's business.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from tests.e2e.api import Json

Said: TypeAlias = "Callable[[str], None]"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a container can be asked."""

    address: str
    ports: dict[str, int]
    """Those with a name."""
    enter: Sequence[str]
    """The words before a command that is to run in it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    ok: bool
    message: str = ""


async def watch(probe: Json, place: Place, *, believed: bool, failed: Said) -> AsyncIterator[bool]:
    """Each time that what is `believed` turns out wrong, the new belief; `failed` hears of every
    failure."""
    period = float(probe.get("periodSeconds", 10))
    needed = {True: probe.get("successThreshold", 1), False: probe.get("failureThreshold", 3)}
    loop = asyncio.get_running_loop()
    due = loop.time() + float(probe.get("initialDelaySeconds", 0))
    in_a_row, last = 0, believed
    while True:
        await asyncio.sleep(max(0.0, due - loop.time()))
        due = max(due + period, loop.time())
        verdict = await ask(probe, place)
        if not verdict.ok:
            failed(verdict.message)
        in_a_row = in_a_row + 1 if verdict.ok is last else 1
        last = verdict.ok
        if verdict.ok is not believed and in_a_row >= needed[verdict.ok]:
            believed = verdict.ok
            yield believed


async def ask(probe: Json, place: Place) -> Verdict:
    """Once."""
    timeout = float(probe.get("timeoutSeconds", 1))
    try:
        async with asyncio.timeout(timeout):
            if http := probe.get("httpGet"):
                return await _http(http, place)
            if tcp := probe.get("tcpSocket"):
                return await _tcp(_port(tcp["port"], place), place)
            if command := probe.get("exec"):
                return await _exec(command["command"], place)
    except TimeoutError:
        return Verdict(ok=False, message="context deadline exceeded")
    except (OSError, aiohttp.ClientError) as error:
        return Verdict(ok=False, message=str(error))
    raise ValueError(f"no such probe here: {probe}")


async def _http(http: Json, place: Place) -> Verdict:
    scheme, path = http.get("scheme", "HTTP").lower(), http.get("path", "/").lstrip("/")
    url = f"{scheme}://{place.address}:{_port(http['port'], place)}/{path}"
    headers = {"User-Agent": "kube-probe/1.36", "Connection": "close"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(url, ssl=False, allow_redirects=False) as answer,
    ):
        ok = 200 <= answer.status < 400
        return Verdict(ok=ok, message=f"HTTP probe failed with statuscode: {answer.status}")


async def _tcp(port: int, place: Place) -> Verdict:
    _, writer = await asyncio.open_connection(place.address, port)
    writer.close()
    return Verdict(ok=True)


async def _exec(command: Sequence[str], place: Place) -> Verdict:
    process = await asyncio.create_subprocess_exec(
        *place.enter,
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        status = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
    return Verdict(ok=status == 0, message=f"command ended with {status}")


def _port(port: int | str, place: Place) -> int:
    return port if isinstance(port, int) else place.ports[port]
