"""A caller of a running activator's admin API, for one command: blocking, direct, unredirected.

Over http.client, which imports quickly, follows no redirect with our token, and asks no proxy.
"""

from __future__ import annotations

import http.client
import json
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from activator.cli.arguments import DEFAULT_ADMIN, environment
from activator.cli.outcome import Failed, WrongUsage

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

TIMEOUT = 10.0
"""Seconds for an answer: what takes longest, to deactivate over several activators, is answered
within 9."""
SILENCE = 60.0
"""Seconds; a stream of events that is alive says something every 15."""


class Client:
    """Calls of one admin API. Every failure is a `Failed` that says where and what to do."""

    def __init__(self, url: str, *, token: str | None) -> None:
        text = url if "://" in url else f"http://{url}"
        try:
            parts = urlsplit(text)
            self._host, self._port = parts.hostname, parts.port
        except ValueError as broken:
            raise WrongUsage(f"{url!r} is no URL of an admin port: {broken}") from broken
        if parts.scheme not in ("http", "https") or not self._host:
            raise WrongUsage(f"{url!r} is no URL of an admin port; one looks like {DEFAULT_ADMIN}")
        self._secure = parts.scheme == "https"
        self._base = parts.path.rstrip("/")
        self._url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{self._base}"
        self._headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"

    def get(self, *path: str, query: dict[str, list[str]] | None = None) -> Any:
        """The JSON at `/api/` and these segments."""
        asked = urlencode(query or {}, doseq=True)
        return self._whole("GET", path, query=f"?{asked}" if asked else "")

    def text(self, *path: str, query: dict[str, list[str]], accept: str) -> str:
        """The same, as another kind of text."""
        self._headers["Accept"] = accept
        asked = urlencode(query, doseq=True)
        return self._content("GET", path, query=f"?{asked}" if asked else "").decode()

    def delete(self, *path: str) -> Any:
        return self._whole("DELETE", path)

    def post(self, *path: str, body: dict[str, Any]) -> Any:
        return self._whole("POST", path, body=json.dumps(body))

    def events(self, *, since: int) -> list[dict[str, Any]]:
        """The events after this id that are still kept."""
        told = self._whole("GET", ("events",), query=f"?since={since}")
        kept: list[dict[str, Any]] = told["events"]
        return kept

    def follow(self, *, since: int) -> Iterator[dict[str, Any]]:
        """The events after this id as they come, for ever; `{"lost": n}` where some are missing."""
        self._headers["Accept"] = "text/event-stream"
        query = f"?since={since}"
        with self._asked("GET", ("events",), query=query, timeout=SILENCE) as answer:
            for line in self._lines(answer):
                name, _, value = line.partition(b":")
                if name == b"data":
                    yield self._decoded(value)
        raise Failed(f"{self._url} has closed the stream of events")

    def _lines(self, answer: http.client.HTTPResponse) -> Iterator[bytes]:
        while True:
            try:
                line = answer.readline()
            except (OSError, http.client.HTTPException) as broken:
                raise Failed(f"the stream of events from {self._url} broke: {broken}") from broken
            if not line:
                return
            yield line.rstrip(b"\n")

    def _whole(
        self, method: str, path: tuple[str, ...], *, body: str | None = None, query: str = ""
    ) -> Any:
        return self._decoded(self._content(method, path, body=body, query=query))

    def _content(
        self, method: str, path: tuple[str, ...], *, body: str | None = None, query: str = ""
    ) -> bytes:
        with self._asked(method, path, body=body, query=query) as answer:
            try:
                return answer.read()
            except (OSError, http.client.HTTPException) as broken:
                raise Failed(f"the answer of {self._url} broke off: {broken}") from broken

    @contextmanager
    def _asked(
        self,
        method: str,
        path: tuple[str, ...],
        *,
        body: str | None = None,
        query: str = "",
        timeout: float = TIMEOUT,
    ) -> Iterator[http.client.HTTPResponse]:
        """A good answer, its body still to be read; connection and answer are closed at the end."""
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        target = "/".join([self._base, "api", *(quote(one, safe="") for one in path)]) + query
        with closing(kind(self._host or "", self._port, timeout=timeout)) as connection:
            try:
                connection.request(method, target, body, self._headers)
                answer = connection.getresponse()
                refusal = answer.read() if answer.status >= 300 else None
            except ConnectionRefusedError as refused:
                raise Failed(
                    f"no activator answers at {self._url}; is one running (activator serve)? "
                    "--admin or ACTIVATOR_ADMIN names another place"
                ) from refused
            except TimeoutError as late:
                raise Failed(f"{self._url} did not answer within {timeout:g} s") from late
            except (OSError, http.client.HTTPException, UnicodeError) as broken:
                why = str(broken).strip() or type(broken).__name__
                raise Failed(f"cannot talk to {self._url}: {why}") from broken
            with answer:
                if refusal is not None:
                    raise Failed(self._explained(answer.status, refusal))
                yield answer

    def _explained(self, status: int, content: bytes) -> str:
        try:
            problem = json.loads(content)
            detail = str(problem["detail"])
        except (ValueError, KeyError, TypeError):
            return f"{self._url} answers {status} and not like an activator's admin port"
        if status == 401:
            return (
                f"{self._url} wants the admin token: give --token-file FILE "
                "or ACTIVATOR_ADMIN_TOKEN"
                + ("" if "Authorization" not in self._headers else " (the one given is wrong)")
            )
        return detail

    def _decoded(self, content: bytes) -> Any:
        try:
            told = json.loads(content)
        except ValueError:
            told = None
        if not isinstance(told, dict):
            raise Failed(f"what answers at {self._url} is not an activator's admin port")
        return told


def client_of(args: argparse.Namespace) -> Client:
    """The client that options and environment ask for."""
    url = args.admin or environment("ADMIN") or DEFAULT_ADMIN
    return Client(url, token=_token(args.token_file))


def _token(file: str | None) -> str | None:
    if file is None:
        token, origin = environment("ADMIN_TOKEN"), "ACTIVATOR_ADMIN_TOKEN"
    else:
        origin = file
        try:
            token = Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as unreadable:
            why = getattr(unreadable, "strerror", None) or "it is not text"
            raise WrongUsage(f"cannot read the token from {file}: {why}") from unreadable
    if token is None:
        return None
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable():
        raise WrongUsage(f"{origin} holds no token: one is a line of printable ASCII")
    return token
