"""A model server of the kind the activator stands in front of, small enough to start anywhere.

    python -m activator.demo.server --port 8000 --load-seconds 2

It speaks OpenAI's completions, chat completions and Responses, streamed or whole, and works on a
bounded number of requests at once. Like vLLM it opens its port only when the model is loaded, so
that "connection refused" means loading and `/health` has only one answer. Its text comes from the
n-gram model in `model`, fitted at the start; that takes milliseconds, so `--load-seconds` adds
what a real model would spend on its weights, and the start message tells the two apart.

`/stats` is for whoever wants to check a proxy's word from the model's side: when requests arrived
and in which order, the most at once, how many were refused, and how many clients left.
Imports nothing but aiohttp and the standard library: its start is what is being measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import time
import uuid
from collections import deque
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from activator.demo import openai, responses
from activator.demo.generation import Generation
from activator.demo.model import CORPUS, END, TextModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

LOGGED_ARRIVALS = 1000
"""How many of the latest requests `/stats` tells of."""
SHUTDOWN_GRACE = 5.0
"""Seconds for requests in flight to finish after SIGTERM."""


@dataclass(slots=True)
class Arrival:
    """One request for text. `at` is Unix time; `prompt` its first characters, once it was read."""

    at: float
    prompt: str = ""


@dataclass(slots=True)
class Stats:
    """What this process has seen. Moments are Unix time, `started_at` to about 10 ms."""

    pid: int
    started_at: float
    ready_at: float = 0.0
    requests: int = 0
    answered: int = 0
    refused: int = 0
    """For being beyond the limit."""
    cancelled: int = 0
    """Clients that left before their answer was complete."""
    in_flight: int = 0
    peak_in_flight: int = 0
    """The most at once that anybody tried, refused ones included."""
    tokens: int = 0
    arrivals: deque[Arrival] = field(default_factory=lambda: deque(maxlen=LOGGED_ARRIVALS))


class TooMany(Exception):
    """Beyond the limit of requests at once."""


class ModelServer:
    """The routes and the little state they share."""

    def __init__(
        self,
        model: TextModel,
        *,
        name: str = "tiny",
        concurrency: int = 4,
        tokens_per_second: float = 60.0,
    ) -> None:
        self._model = model
        self._name = name
        self._concurrency = concurrency
        self._pause = 1.0 / tokens_per_second if tokens_per_second else 0.0
        self.stats = Stats(pid=os.getpid(), started_at=process_started_at())

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[_errors_as_json])
        app.router.add_get("/health", self._health)
        app.router.add_get("/stats", self._tell_stats)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/completions", self._completions)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/responses", self._responses)
        return app

    def runner(self) -> web.AppRunner:
        """Cancels the handler of a client that left, which is what ends its generation."""
        return web.AppRunner(
            self._app(),
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=SHUTDOWN_GRACE,
        )

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _tell_stats(self, _: web.Request) -> web.Response:
        told = asdict(self.stats) | {"arrivals": [asdict(seen) for seen in self.stats.arrivals]}
        return web.json_response(told)

    async def _models(self, _: web.Request) -> web.Response:
        created = int(self.stats.ready_at)
        model = {"id": self._name, "object": "model", "created": created, "owned_by": "activator"}
        return web.json_response({"object": "list", "data": [model]})

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        return await self._counted(lambda arrival: self._answer(request, arrival, chat=False))

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._counted(lambda arrival: self._answer(request, arrival, chat=True))

    async def _responses(self, request: web.Request) -> web.StreamResponse:
        return await self._counted(lambda arrival: self._respond(request, arrival))

    async def _counted(
        self, answer: Callable[[Arrival], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        arrival = Arrival(at=time.time())
        self.stats.requests += 1
        self.stats.arrivals.append(arrival)
        try:
            response = await answer(arrival)
        except (asyncio.CancelledError, ConnectionError):
            self.stats.cancelled += 1
            raise
        self.stats.answered += 1
        return response

    async def _answer(
        self, request: web.Request, arrival: Arrival, *, chat: bool
    ) -> web.StreamResponse:
        # the slot is given back before the last bytes go out: whoever sees the answer's end may
        # send the next request at once
        with self._slot():
            ask = openai.read_ask(await _json(request), chat=chat, serves=self._name)
            arrival.prompt = ask.prompt[:80]
            heading = openai.Heading(
                id=f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}",
                created=int(arrival.at),
                model=self._name,
                chat=chat,
            )
            context = self._model.encode(ask.prompt + (END if chat else ""))
            generation = self._generation(ask, context)
            if ask.stream:
                stream = await _open_stream(request)
                await _send(stream, openai.opening(heading))
                async for text in self._paced(generation):
                    if text:
                        await _send(stream, openai.piece(heading, text))
            else:
                answer = "".join([text async for text in self._paced(generation)])
        usage = openai.usage_of(prompt_tokens=len(context), completion_tokens=generation.tokens)
        if not ask.stream:
            return web.json_response(
                openai.whole(heading, text=answer, finish=generation.finish, usage=usage)
            )
        await _send(stream, openai.closing(heading, finish=generation.finish))
        if ask.include_usage:
            await _send(stream, openai.usage_chunk(heading, usage))
        await stream.write(b"data: [DONE]\n\n")
        await stream.write_eof()
        return stream

    async def _respond(self, request: web.Request, arrival: Arrival) -> web.StreamResponse:
        with self._slot():
            ask = responses.read_ask(await _json(request), serves=self._name)
            arrival.prompt = ask.prompt[:80]
            course = responses.Course(f"resp_{uuid.uuid4().hex}", int(arrival.at), self._name)
            context = self._model.encode(ask.prompt + END)
            generation = self._generation(ask, context)
            stream = await _open_stream(request) if ask.stream else None
            if stream is not None:
                await _send_all(stream, course.opening())
            texts: list[str] = []
            async for text in self._paced(generation):
                texts.append(text)
                if stream is not None and text:
                    await _send_all(stream, [course.delta(text)])
        course.finish(
            "".join(texts),
            finish=generation.finish,
            prompt_tokens=len(context),
            tokens=generation.tokens,
        )
        if stream is None:
            return web.json_response(course.whole())
        await _send_all(stream, course.closing())
        await stream.write_eof()
        return stream

    @contextmanager
    def _slot(self) -> Iterator[None]:
        """Raises TooMany where all are taken."""
        stats = self.stats
        stats.in_flight += 1
        stats.peak_in_flight = max(stats.peak_in_flight, stats.in_flight)
        try:
            if stats.in_flight > self._concurrency:
                stats.refused += 1
                raise TooMany(f"This server works on {self._concurrency} requests at once")
            yield
        finally:
            stats.in_flight -= 1

    def _generation(self, ask: openai.Ask, context: list[int | None]) -> Generation:
        pieces = self._model.continue_text(
            context, temperature=ask.temperature, dice=random.Random(ask.seed)
        )
        return Generation(pieces, max_tokens=ask.max_tokens, stop=ask.stop)

    async def _paced(self, generation: Generation) -> AsyncIterator[str]:
        """A token each 1 / tokens_per_second, the first one included; never ahead of that."""
        due = time.monotonic()
        for text in generation:
            due += self._pause
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self.stats.tokens += 1
            yield text


def process_started_at() -> float:
    """Unix time at which the kernel started this process, so that imports are counted too."""
    try:
        with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
            # proc(5): the fields after the command in brackets; starttime is the 22nd of all
            ticks = int(file.read().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return time.time()
    uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.time() - (uptime - ticks / os.sysconf("SC_CLK_TCK"))


async def _json(request: web.Request) -> object:
    try:
        return json.loads(await request.read())
    except (ValueError, RecursionError) as problem:
        raise openai.BadAsk(f"The request body is not valid JSON: {problem}") from None


async def _open_stream(request: web.Request) -> web.StreamResponse:
    stream = web.StreamResponse(
        headers={"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
    )
    await stream.prepare(request)
    return stream


async def _send(stream: web.StreamResponse, event: dict[str, Any] | None) -> None:
    if event is not None:
        await stream.write(b"data: " + json.dumps(event).encode() + b"\n\n")


async def _send_all(stream: web.StreamResponse, events: Sequence[dict[str, Any]]) -> None:
    """Those that have names."""
    for event in events:
        await stream.write(f"event: {event['type']}\n".encode())
        await _send(stream, event)


@web.middleware
async def _errors_as_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except openai.BadAsk as problem:
        body = openai.error(
            str(problem), kind="invalid_request_error", param=problem.param, code=problem.code
        )
        return web.json_response(body, status=problem.status)
    except TooMany as problem:
        body = openai.error(str(problem), kind="rate_limit_error", code="rate_limit_exceeded")
        return web.json_response(body, status=429, headers={"Retry-After": "1"})
    except web.HTTPException as problem:
        message = f"{problem.reason}: {request.method} {request.path}"
        body = openai.error(message, kind="invalid_request_error")
        kept = {"Allow": allow} if (allow := problem.headers.get("Allow")) else {}
        return web.json_response(body, status=problem.status, headers=kept)


async def _serve(server: ModelServer, *, host: str, port: int, loaded: str) -> None:
    """Until SIGTERM or SIGINT. Raises OSError where the port cannot be had."""
    runner = server.runner()
    told_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        server.stats.ready_at = time.time()
        bound = runner.addresses[0]
        _say(f"ready on http://{bound[0]}:{bound[1]}: {loaded}")
        await told_to_stop.wait()
        _say(f"stopping: {server.stats.answered} answered, {server.stats.cancelled} cancelled")
    finally:
        await runner.cleanup()


def _say(line: str) -> None:
    print(f"model server: {line}", file=sys.stderr, flush=True)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m activator.demo.server",
        description="A tiny but honest text model behind OpenAI's API, to try the activator with.",
    )
    add = parser.add_argument
    add("--port", type=_between(0, 65535, int), required=True, help="0: any free one")
    add("--host", default="127.0.0.1")
    add("--model", default="tiny", help="the name it answers to")
    add(
        "--load-seconds",
        type=_between(0, 3600, float),
        default=2.0,
        help="what a real model would spend on its weights, added to the real start (default 2)",
    )
    add("--concurrency", type=_between(1, 10_000, int), default=4, help="at once; 429 beyond it")
    add(
        "--tokens-per-second",
        type=_between(0, 1e6, float),
        default=60.0,
        help="of each request; 0: as fast as it can",
    )
    return parser.parse_args(argv)


def _between(low: float, high: float, kind: type) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value: float = kind(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"must be between {low:g} and {high:g}")
        return value

    parse.__name__ = kind.__name__  # argparse names it in `invalid int value`
    return parse


def main(argv: Sequence[str] | None = None) -> int:
    options = _arguments(argv)
    try:
        return _load_and_serve(options)
    except KeyboardInterrupt:  # while loading; afterwards the loop has its own handler
        return 130


def _load_and_serve(options: argparse.Namespace) -> int:
    _say(f"loading, {options.load_seconds:g} s of it for show")
    before = time.monotonic()
    model = TextModel.fit(CORPUS.read_text(encoding="utf-8"))
    fitted = time.monotonic() - before
    time.sleep(options.load_seconds)
    server = ModelServer(
        model,
        name=options.model,
        concurrency=options.concurrency,
        tokens_per_second=options.tokens_per_second,
    )
    took = time.time() - server.stats.started_at
    loaded = f"{took:.2f} s since the process began, of which {fitted * 1000:.0f} ms fitted the "
    loaded += f"model and {options.load_seconds:g} s were asked for with --load-seconds"
    try:
        asyncio.run(_serve(server, host=options.host, port=options.port, loaded=loaded))
    except OSError as problem:
        _say(f"cannot listen on {options.host}:{options.port}: {problem.strerror or problem}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
