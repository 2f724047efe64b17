"""One cold start of a model server on a GPU, by hand or through the activator, in its parts; and a
burst of requests that waits for one."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from bench import contestants
from bench.chat import PATH
from bench.failure import BenchError
from bench.processes import LOOPBACK, free_port, started

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.contestants import Activator
    from bench.lab import Lab
    from bench.nvidia import Reading
    from bench.processes import Address

    Command = Callable[[str], list[str]]
    """The model server's, by its port."""

NAME: Final = "model"
"""Of the endpoint, and the host that it is found by."""
ASK_AGAIN: Final = 0.005
"""Seconds, by hand."""
PATIENCE: Final = 600.0
"""Seconds for one start."""


class Watched(Protocol):
    """The GPU."""

    def look(self) -> Reading: ...

    def watch(self, seconds: float) -> Reading: ...


@dataclass(frozen=True, slots=True)
class Plan:
    model: str
    """One of `bench.model_server`."""
    rounds: int
    tokens: int
    """Of an answer."""
    rest: float
    """Seconds over which the GPU is watched, loaded and at zero."""
    burst: int
    """Requests at once."""
    idle: str = "2s"
    """Timeout."""


@dataclass(frozen=True, slots=True)
class Start:
    """From nothing to the first answer, in seconds, and its parts one after the other."""

    took: float
    ordered: float
    """Until the kernel made the process, told to a hundredth."""
    loaded: float
    """Until it listened."""
    found: float
    """Until a request reached it."""
    answered: float
    text: str
    memory: float
    """MiB of the GPU beyond what was in use before."""
    power: float | None
    """Watts: by hand, while the model is loaded and rests; through the activator, just at zero."""

    @property
    def reached(self) -> float:
        """Seconds of it that are no program's but those of whoever starts it and asks."""
        return self.ordered + self.found


@dataclass(frozen=True, slots=True)
class Return:
    """What followed a start through the activator."""

    after: float
    """Seconds from the answer until the endpoint was at zero, the idle timeout included."""
    is_gone: bool
    """The process that answered."""
    kept: float
    """MiB of the GPU in use beyond before, as soon as the endpoint said that it is at zero."""


@dataclass(frozen=True, slots=True)
class Burst:
    took: float
    """Seconds until the last answer."""
    numbers: Sequence[int | None]
    """Places in which the requests reached the model, in the order in which they were sent; None:
    not answered."""


def by_hand(lab: Lab, plan: Plan, command: Command, gpu: Watched) -> tuple[Start, None]:
    before = gpu.look()
    port = free_port()
    log = lab.folder / f"model-{port}.log"
    began = time.monotonic()
    with started(command(str(port)), core=lab.cores.contestant, log=log) as running:
        while True:
            try:
                answer = _ask((LOOPBACK, port), plan)
            except ConnectionRefusedError:
                running.check()
                if time.monotonic() > began + PATIENCE:
                    raise BenchError(f"the model does not listen after {PATIENCE:g} s") from None
                time.sleep(ASK_AGAIN)
            else:
                break
        ended = time.monotonic()
        loaded = gpu.watch(plan.rest)
    memory = loaded.memory - before.memory
    return _start(answer, began=began, ended=ended, memory=memory, power=loaded.power), None


def through(plan: Plan, activator: Activator, gpu: Watched) -> tuple[Start, Return]:
    before = gpu.look()
    began = time.monotonic()
    answer = _ask(activator.address, plan)
    ended = time.monotonic()
    memory = gpu.look().memory - before.memory
    activator.wait_for(NAME, within=PATIENCE, state="inactive", replicas=[])
    back = Return(
        after=time.monotonic() - ended,
        is_gone=not Path(f"/proc/{answer['timings']['pid']}").exists(),
        kept=gpu.look().memory - before.memory,
    )
    power = gpu.watch(plan.rest).power
    return _start(answer, began=began, ended=ended, memory=memory, power=power), back


def _start(
    answer: dict[str, Any], *, began: float, ended: float, memory: float, power: float | None
) -> Start:
    told = answer["timings"]
    return Start(
        took=ended - began,
        ordered=told["started"] - began,
        loaded=told["listening"] - told["started"],
        found=told["arrived"] - told["listening"],
        answered=ended - told["arrived"],
        text=answer["choices"][0]["message"]["content"],
        memory=memory,
        power=power,
    )


def burst(plan: Plan, activator: Activator) -> Burst:
    """All wait before the model is there, each sent when the one before is held: so their order is
    known."""
    began = time.monotonic()
    connections: list[HTTPConnection] = []
    try:
        for number in range(plan.burst):
            connections.append(_send(activator.address, plan))
            until = time.monotonic() + contestants.READY_WITHIN
            while (held := activator.endpoint(NAME)["held"]) <= number:
                if time.monotonic() > until:
                    raise BenchError(f"{number + 1} requests were sent, {held} are held")
        numbers = [_number(each, plan) for each in connections]
    finally:
        for each in connections:
            each.close()
    return Burst(time.monotonic() - began, numbers)


def _number(connection: HTTPConnection, plan: Plan) -> int | None:
    try:
        return int(_read(connection, plan)["id"].rpartition("-")[2])
    except (BenchError, OSError, HTTPException):
        return None


def _ask(to: Address, plan: Plan) -> dict[str, Any]:
    """Raises ConnectionRefusedError if nobody listens, BenchError for anything but an answer of so
    many tokens."""
    connection = _send(to, plan)
    try:
        return _read(connection, plan)
    except (OSError, HTTPException) as error:
        raise BenchError(f"no answer: {error}") from error
    finally:
        connection.close()


def _send(to: Address, plan: Plan) -> HTTPConnection:
    connection = HTTPConnection(*to, timeout=PATIENCE)
    said = [{"role": "user", "content": "Why does a GPU that nobody uses draw power?"}]
    body = json.dumps({"model": plan.model, "messages": said, "max_tokens": plan.tokens})
    try:
        connection.request("POST", PATH, body, {"Host": NAME, "Content-Type": "application/json"})
    except OSError:
        connection.close()
        raise
    return connection


def _read(connection: HTTPConnection, plan: Plan) -> dict[str, Any]:
    answer = connection.getresponse()
    said = answer.read()
    if answer.status != 200:
        raise BenchError(f"answered {answer.status}: {said[:500]!r}")
    completion: dict[str, Any] = json.loads(said)
    if completion["usage"]["completion_tokens"] != plan.tokens:
        raise BenchError(f"{plan.tokens} tokens were asked for: {completion['usage']}")
    return completion
