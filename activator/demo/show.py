"""`activator demo`: two endpoints at zero, traffic, and what came of it, in under 40 seconds.

The activator it shows is the real one, started in this process on ports of its own choosing, and
its model servers are real processes (`demo.server`). This file is the play: who sends what and
when. What is asked is `traffic`'s, what is seen `watch`'s, the verdict is `facts`'.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
import uvloop
import yaml

from activator.aiokit.tasks import Tasks
from activator.demo.facts import Act, Facts, broken_promises
from activator.demo.model import CORPUS, TextModel
from activator.demo.screen import report, screen
from activator.demo.traffic import Clients, Question
from activator.demo.watch import QUICK_POLL, View, Watch
from activator.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from activator.demo.facts import Reply
    from activator.demo.screen import Screen

REQUESTS = 24
"""In the burst: six times what the model works on at once, so that there is a line to see."""
CONCURRENCY = 4
IDLE_SECONDS = 3.0
LOAD_SECONDS = 2.0
TOKENS_PER_SECOND = 60.0
COST_PER_REPLICA_HOUR = 2.50
PATIENCE = 34.0
"""Seconds for the whole play, apart from what the models are told to spend on loading."""

_ENDING = {"drainDelay": 0, "shutdownGrace": 1}
"""Nobody but the demo sends anything, so nobody has to be given time when it ends."""

ALPHA, BETA = "alpha", "beta"


class DemoFailed(Exception):
    """The demo could not be played to its end; the message says where it stopped."""


class RunningActivator(Protocol):
    """What the demo needs of the composition root's application."""

    @property
    def data_port(self) -> int: ...

    @property
    def admin_port(self) -> int: ...

    async def start(self) -> None:
        """Returns when both ports are open."""

    async def stop(self) -> None:
        """Returns when everything it started has ended."""


Build = Callable[[Path], RunningActivator]
"""Makes an activator from the path of its configuration; raises ConfigError."""


@dataclass(frozen=True, slots=True)
class Options:
    load_seconds: float = LOAD_SECONDS
    animate: bool = True


def configuration(options: Options) -> dict[str, Any]:
    """Two endpoints by host, free ports everywhere; the same as `config/quickstart.yaml`."""
    server = [sys.executable, "-m", "activator.demo.server", "--port", "{port}"]
    server += ["--load-seconds", f"{options.load_seconds:g}", "--concurrency", f"{CONCURRENCY}"]
    server += ["--tokens-per-second", f"{TOKENS_PER_SECOND:g}"]
    return {
        "server": {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", **_ENDING},
        "defaults": {
            "dialect": "openai",
            "probe": {"path": "/health"},
            "scale": {"idleTimeout": IDLE_SECONDS, "startTimeout": 30},
            "concurrency": CONCURRENCY,
            "costPerReplicaHour": COST_PER_REPLICA_HOUR,
        },
        "endpoints": [
            {
                "name": name,
                "match": {"hosts": [f"{name}.localhost"]},
                "backend": {"type": "process", "command": [*server, "--model", name]},
            }
            for name in (ALPHA, BETA)
        ],
    }


async def demo(*, build: Build, options: Options, stream: TextIO) -> Facts:
    """Plays it once; whatever way it ends, nothing it started is left.

    Raises DemoFailed where it cannot be played to the end; broken promises are in the facts.
    """
    view = View()
    with tempfile.TemporaryDirectory(prefix="activator-demo-") as folder:
        path = Path(folder) / "activator.yaml"
        path.write_text(yaml.safe_dump(configuration(options), sort_keys=False), encoding="utf-8")
        try:
            activator = build(path)
            await activator.start()
        except Exception as problem:  # the composition root's own classes are not known down here
            raise DemoFailed(f"the activator did not start: {problem}") from problem
        try:
            with screen(stream, animate=options.animate) as shown:
                return await _watched(activator, view=view, shown=shown, options=options)
        finally:
            await activator.stop()


async def _watched(
    activator: RunningActivator, *, view: View, shown: Screen, options: Options
) -> Facts:
    """The play, with somebody watching; if the watching fails, so does the play."""
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_failure(task: str, problem: BaseException) -> None:
        if not failed.done():
            failed.set_exception(DemoFailed(f"{task} failed: {problem!r}"))

    tasks = Tasks("demo", on_failure=on_failure)
    limit = PATIENCE + 2 * options.load_seconds
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        watch = Watch(session, port=activator.admin_port, view=view, shown=lambda: shown.show(view))
        model = TextModel.fit(CORPUS.read_text(encoding="utf-8"))
        clients = Clients(session, port=activator.data_port, model=model)
        play = Play(clients, watch, tasks=tasks, view=view)
        try:
            await watch.look()
            tasks.spawn(watch.follow_endpoints(), name="watching the endpoints")
            tasks.spawn(watch.follow_events(), name="watching the events")
            playing = tasks.spawn(play.play(), name="the play")
            async with asyncio.timeout(limit):
                await asyncio.wait({playing, failed}, return_when=asyncio.FIRST_COMPLETED)
            if not playing.done():
                failed.result()
            facts: Facts = playing.result()
            return facts
        except TimeoutError:
            raise DemoFailed(f"not done after {limit:g} s; it was {play.doing}") from None
        except aiohttp.ClientError as problem:
            raise DemoFailed(f"{problem} while {play.doing}") from problem
        finally:
            await tasks.aclose()
            if not failed.cancel():
                failed.exception()  # seen, whether or not it was what ended the play


class Play:
    """The acts, in their order."""

    def __init__(self, clients: Clients, watch: Watch, *, tasks: Tasks, view: View) -> None:
        self._clients = clients
        self._watch = watch
        self._tasks = tasks
        self._view = view
        self.doing = "about to begin"

    async def play(self) -> Facts:
        self._view.note("", "demo", "two endpoints, no model server runs")
        burst, chat = await asyncio.gather(self._burst(), self._chat())
        self.doing = f"waiting for {ALPHA} to go back to zero"
        await self._watch.at_zero(ALPHA)
        late = await self._late()
        self.doing = "waiting for both endpoints to go back to zero"
        await self._watch.at_zero(ALPHA, BETA)
        self._view.note("", "demo", "both endpoints are back at zero")
        await self._watch.look()
        acts = (burst, chat, late)
        return Facts(
            acts=acts,
            bills=self._watch.bills(),
            limit=CONCURRENCY,
            cost_per_replica_hour=COST_PER_REPLICA_HOUR,
            still_running=tuple(act.model.pid for act in acts if is_running(act.model.pid)),
            took=time.time() - self._view.began_at,
        )

    async def _burst(self) -> Act:
        """Each request is sent when the one before has been taken in: so there is an order."""
        self.doing = f"sending {REQUESTS} requests to {ALPHA}"
        asked: list[asyncio.Task[Reply]] = []
        for number in range(1, REQUESTS + 1):
            question = Question(ALPHA, f"({number}) In the morning", max_tokens=24, seed=number)
            asked.append(self._tasks.spawn(self._clients.ask(question), name=question.prompt))
            await self._taken_in(asked)
        self._view.note(ALPHA, "demo", f"{REQUESTS} requests sent, one after another")
        self.doing = f"waiting for {ALPHA} to answer"
        replies = await asyncio.gather(*asked)
        self._note_answered(ALPHA, replies)
        return await self._act(ALPHA, f"a burst of {REQUESTS}", replies)

    async def _taken_in(self, asked: list[asyncio.Task[Reply]]) -> None:
        while True:
            ended = sum(1 for task in asked if task.done())
            if ended + await self._watch.taken_in(ALPHA) >= len(asked):
                return
            await asyncio.sleep(QUICK_POLL)

    async def _chat(self) -> Act:
        question = Question(BETA, "Why does the oven sleep?", max_tokens=90, seed=20, chat=True)
        self._view.note(BETA, "demo", f"asked as a chat: {question.prompt}")
        reply = await self._clients.ask(question, on_text=self._hear)
        self._view.note(BETA, "said", self._view.chat.strip())
        self._note_answered(BETA, [reply])
        return await self._act(BETA, "a chat stream", [reply])

    def _hear(self, text: str) -> None:
        if not self._view.chat:
            self._view.note(BETA, "demo", "the stream begins")
        self._view.chat += text

    async def _late(self) -> Act:
        self.doing = f"waiting for {ALPHA} to answer a late request"
        self._view.note(ALPHA, "demo", "a late request, to an endpoint back at zero")
        question = Question(ALPHA, "(late) In the evening", max_tokens=24, seed=1)
        reply = await self._clients.ask(question)
        self._note_answered(ALPHA, [reply])
        return await self._act(ALPHA, "a late request", [reply])

    def _note_answered(self, endpoint: str, replies: Sequence[Reply]) -> None:
        answered = sum(1 for reply in replies if reply.problem is None)
        self._view.note(endpoint, "demo", f"{answered} of {len(replies)} answered")

    async def _act(self, endpoint: str, title: str, replies: Sequence[Reply]) -> Act:
        """Ends an act while its model still runs: afterwards it could not be asked."""
        model = await self._watch.model_side(endpoint)
        if model is None:
            problem = next((r.problem for r in replies if r.problem is not None), "all answered")
            raise DemoFailed(f"no model server of {endpoint} to ask after {title} ({problem})")
        return Act(endpoint=endpoint, title=title, replies=tuple(replies), model=model)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def main(argv: Sequence[str] | None = None, *, build: Build) -> int:
    """0: played and every promise kept; 1: not; 130 and 143: interrupted, all stopped."""
    options = _options(argv)
    logs.configure(level="warning", requests="off")
    interrupted: list[signal.Signals] = []
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            facts = runner.run(_interruptible(build, options, interrupted))
        report(facts, stream=sys.stdout)
    except DemoFailed as problem:
        print(f"activator demo: {problem}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        print("activator demo: interrupted; everything it started is stopped", file=sys.stderr)
        return 128 + interrupted[0]
    except BrokenPipeError:
        # nobody reads any more; the interpreter must not try again when it flushes at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if broken := broken_promises(facts):
        print(f"activator demo: {len(broken)} promises were broken, see above", file=sys.stderr)
    return 1 if broken else 0


async def _interruptible(
    build: Build, options: Options, interrupted: list[signal.Signals]
) -> Facts:
    """The demo; SIGINT and SIGTERM cancel it and are noted."""
    loop = asyncio.get_running_loop()
    playing = asyncio.current_task()

    def interrupt(number: signal.Signals) -> None:
        interrupted.append(number)
        if playing is not None:
            playing.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt, number)
    return await demo(build=build, options=options, stream=sys.stdout)


def _options(argv: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(
        prog="activator demo",
        description="Start two model servers from zero, send them traffic, let them go back to "
        "zero, and check at both ends that nothing was lost.",
        epilog="example: activator demo --load-seconds 5",
    )
    parser.add_argument(
        "--load-seconds",
        type=_load_seconds,
        default=LOAD_SECONDS,
        metavar="S",
        help=f"what each model server spends on loading (default {LOAD_SECONDS:g})",
    )
    parser.add_argument("--plain", action="store_true", help="lines instead of an animation")
    given = parser.parse_args(argv)
    return Options(load_seconds=given.load_seconds, animate=not given.plain and sys.stdout.isatty())


def _load_seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 60:
        raise argparse.ArgumentTypeError("must be between 0 and 60")
    return value
