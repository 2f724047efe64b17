"""A client of the Docker Engine's API: the dozen calls that drivers need, over aiohttp.

Decides what an answer means: taken, refused (`EngineRefused`), or that the engine cannot be asked
(`EngineAway`). When to ask, and what follows, is the drivers'. Shapes are those of
https://docs.docker.com/reference/api/engine/ (1.41, Docker 20.10, and newer).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    Json = dict[str, Any]

DEFAULT_ENGINE: Final = "unix:///var/run/docker.sock"

SPOKEN: Final = (1, 44)
"""The version of the API that is spoken if the engine has it. Engines of version 29 refuse less."""
NEEDED: Final = (1, 41)
"""The oldest that is tested: Docker 20.10."""

TIMEOUT: Final = 30.0
"""Seconds for an answer: a busy engine takes some to create a container, but never this long."""
LINE: Final = 1 << 20
"""Bytes of one line of events or progress at most; labels can make an event long."""


class EngineAway(Exception):
    """The engine could not be asked, or it broke off: whether an order was taken is not known."""


class EngineRefused(Exception):
    """The engine's answer is no; the message is its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Engine:
    """One engine; a connection is made for each call that finds no idle one."""

    def __init__(self, address: str = DEFAULT_ENGINE) -> None:
        """`unix:///path` or `tcp://host:port`. Raises ValueError for anything else."""
        url = urlsplit(address)
        match url.scheme:
            case "unix" if url.path:
                self.host = "127.0.0.1"
                self._base = "http://engine"
                self._path: str | None = url.path
            case "tcp" | "http" if url.hostname and url.port:
                self.host = url.hostname
                self._base = f"http://{url.netloc}"
                self._path = None
            case _:
                raise ValueError(f"{address!r} is neither unix:///path nor tcp://host:port")
        self.address = address
        self._version = ""
        self._session: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def agree(self) -> None:
        """Find the version of the API that both speak; again after each time it was away."""
        self._version = ""
        told = await self._json("GET", "/version")
        newest, oldest = _version(told["ApiVersion"]), _version(told.get("MinAPIVersion", "1.12"))
        if newest < NEEDED:
            raise EngineRefused(400, f"it speaks API {told['ApiVersion']}, and 1.41 is needed")
        major, minor = max(oldest, min(newest, SPOKEN))
        self._version = f"/v{major}.{minor}"

    # --- containers -----------------------------------------------------------------------------

    async def containers(self, *labels: str) -> list[Json]:
        """Summaries of all that have these labels (`name=value`), running or not."""
        query = {"all": "1", "filters": json.dumps({"label": list(labels)})}
        found: list[Json] = await self._json("GET", "/containers/json", query)
        return found

    async def inspect(self, container: str) -> Json | None:
        """None if there is no such container."""
        try:
            found: Json = await self._json("GET", f"/containers/{quote(container)}/json")
        except EngineRefused as refusal:
            if refusal.status == 404:
                return None
            raise
        return found

    async def create(self, name: str, body: Json) -> str:
        """The new container's id. Refused with 404: the image is missing, 409: the name is
        taken."""
        made = await self._json("POST", "/containers/create", {"name": name}, body=body)
        return str(made["Id"])

    async def start(self, container: str) -> None:
        """One that runs already is fine."""
        await self._json("POST", f"/containers/{quote(container)}/start")

    async def stop(self, container: str, *, grace: float) -> None:
        """SIGTERM (or the image's own signal), and SIGKILL after whole seconds of `grace`; returns
        when it has ended. One that does not run, or does not exist, is fine."""
        query = {"t": str(max(0, round(grace)))}
        with _gone_is_fine():
            await self._json(
                "POST", f"/containers/{quote(container)}/stop", query, timeout=grace + TIMEOUT
            )

    async def remove(self, container: str) -> None:
        """With its anonymous volumes, also if it runs. One that is gone, or going, is fine."""
        with _gone_is_fine():
            query = {"force": "1", "v": "1"}
            await self._json("DELETE", f"/containers/{quote(container)}", query)

    async def last_output(self, container: str, *, lines: int) -> list[bytes]:
        """What its processes wrote last, in pieces as they were written."""
        query = {"stdout": "1", "stderr": "1", "tail": str(lines)}
        path = f"/containers/{quote(container)}/logs"
        data = await self._read("GET", path, query)
        return list(_frames(data)) if _is_framed(data) else [data]

    # --- what goes on ---------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def events(self, filters: Mapping[str, list[str]]) -> AsyncIterator[AsyncIterator[Json]]:
        """Events from now on: what happens after this has been entered is told. The iterator ends
        with EngineAway, never by itself."""
        query = {"filters": json.dumps(dict(filters))}
        with self._translated():
            async with asyncio.timeout(TIMEOUT):
                answer = await self._open("GET", "/events", query)
        try:
            yield self._endless(answer)
        finally:
            answer.close()

    async def pull(self, image: str) -> AsyncIterator[Json]:
        """Progress, a mapping a line; ends when the image is there. Raises EngineRefused."""
        query = {"fromImage": image}
        if "@" not in image and ":" not in image.rpartition("/")[2]:
            query["tag"] = "latest"  # without one, the engine would fetch every tag there is
        with self._translated():
            answer = await self._open("POST", "/images/create", query)
            async with answer:
                async for line in _lines(answer):
                    if "error" in line:
                        raise EngineRefused(500, str(line["error"]))
                    yield line

    # --- one call -------------------------------------------------------------------------------

    async def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: Json | None = None,
        timeout: float = TIMEOUT,
    ) -> Any:
        data = await self._read(method, path, query, body=body, timeout=timeout)
        try:
            return json.loads(data) if data else None
        except ValueError as error:
            raise EngineAway(f"{self.address} does not speak the Docker Engine's API") from error

    async def _read(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: Json | None = None,
        timeout: float = TIMEOUT,
    ) -> bytes:
        with self._translated():
            async with (
                asyncio.timeout(timeout),
                await self._open(method, path, query, body=body) as answer,
            ):
                return await answer.read()

    async def _open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: Json | None = None,
    ) -> aiohttp.ClientResponse:
        """An answer that is no refusal, its body still to be read."""
        url = f"{self._base}{self._version}{path}"
        answer = await self._connected().request(method, url, params=query, json=body)
        if answer.status >= 400:
            async with answer:
                raise EngineRefused(answer.status, _message(await answer.text()))
        return answer

    async def _endless(self, answer: aiohttp.ClientResponse) -> AsyncIterator[Json]:
        with self._translated():
            async for line in _lines(answer):
                yield line
        raise EngineAway(f"{self.address} has ended its events")

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise EngineAway(f"{self.address} does not answer") from error
        except aiohttp.ClientConnectorError as error:
            why = error.os_error.strerror or str(error.os_error)
            raise EngineAway(f"{self.address}: {why.lower()}") from error
        except (OSError, ValueError, aiohttp.ClientError) as error:
            raise EngineAway(f"{self.address} broke off: {error}") from error

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = (
                aiohttp.UnixConnector(self._path, limit=0)
                if self._path is not None
                else aiohttp.TCPConnector(limit=0)
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(),
                read_bufsize=LINE,
            )
        return self._session


@contextlib.contextmanager
def _gone_is_fine() -> Iterator[None]:
    try:
        yield
    except EngineRefused as refusal:
        # 409 to a removal: it is in progress
        if refusal.status not in {404, 409}:
            raise


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor)


def _message(text: str) -> str:
    """A proxy in front of the engine answers in its own words."""
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return " ".join(text.split())[:200] or "no reason given"


async def _lines(answer: aiohttp.ClientResponse) -> AsyncIterator[Json]:
    while line := await answer.content.readline():
        if line.strip():
            yield json.loads(line)


def _is_framed(data: bytes) -> bool:
    return data[:1] in {b"\0", b"\1", b"\2"} and data[1:4] == b"\0\0\0"


def _frames(data: bytes) -> Iterator[bytes]:
    """Standard output and error come as frames: a byte says which, four how long."""
    at = 0
    while at + 8 <= len(data):
        end = at + 8 + int.from_bytes(data[at + 4 : at + 8])
        yield data[at + 8 : end]
        at = end
