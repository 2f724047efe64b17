"""Activators and routers of OpenAI's dialect alone, as far as `make bench-peers` has installed
them: each in front of one plain server with one model, without retries, without a log of requests.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Any, Final

import yaml

from bench import chat, peers
from bench.contestant import Contestant
from bench.contestants.peer import Peer
from bench.failure import BenchError
from bench.processes import LOOPBACK, free_port, started, wait_until_listening

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from bench.lab import Lab
    from bench.processes import Address

LITELLM_ENVIRONMENT: Final = {
    "LITELLM_LOG": "ERROR",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it waits for the internet at its start
    # as open as the others: nobody shows a key
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
}
START_WITHIN: Final = 120.0
"""Seconds; LiteLLM imports for half a minute on a slow core."""


def llama_swap_configuration(upstream: Address) -> dict[str, Any]:
    """A server that runs already is a peer to it; nothing has to be started or swapped."""
    host, port = upstream
    peer = {"proxy": f"http://{host}:{port}", "models": [chat.MODEL]}
    return {"logLevel": "error", "models": {}, "peers": {"plain": peer}}


def litellm_configuration(upstream: Address) -> dict[str, Any]:
    host, port = upstream
    server = {
        "model": f"openai/{chat.MODEL}",
        "api_base": f"http://{host}:{port}/v1",
        "api_key": "none",
    }
    return {
        "model_list": [{"model_name": chat.MODEL, "litellm_params": server}],
        "litellm_settings": {"num_retries": 0, "telemetry": False},
    }


@contextmanager
def llama_swap(lab: Lab, upstream: Address) -> Iterator[Contestant | None]:
    """One thread of Go. None if it is not installed."""
    file = lab.folder / "llama-swap.yaml"
    file.write_text(yaml.safe_dump(llama_swap_configuration(upstream)), encoding="utf-8")
    port = free_port()
    arguments = ("-config", str(file), "-listen", f"{LOOPBACK}:{port}")
    with _running(
        lab, peers.LLAMA_SWAP, *arguments, port=port, environment={"GOMAXPROCS": "1"}
    ) as contestant:
        yield contestant


@contextmanager
def router(installed: Path, lab: Lab, upstream: Address) -> Iterator[Contestant | None]:
    """vLLM's or SGLang's router, which have their arguments in common. Tokio sees one core, and
    takes one thread. None if it is not installed."""
    port, (host, upstream_port) = free_port(), upstream
    arguments = (
        *("--host", LOOPBACK, "--port", str(port)),
        *("--worker-urls", f"http://{host}:{upstream_port}", "--policy", "round_robin"),
        *("--disable-retries", "--log-level", "error", "--prometheus-port", str(free_port())),
    )
    launch = () if installed == peers.VLLM_ROUTER else ("launch",)
    with _running(lab, installed, *launch, *arguments, port=port) as contestant:
        yield contestant


@contextmanager
def litellm(lab: Lab, upstream: Address) -> Iterator[Contestant | None]:
    """One worker, as it comes. None if it is not installed."""
    file = lab.folder / "litellm.yaml"
    file.write_text(yaml.safe_dump(litellm_configuration(upstream)), encoding="utf-8")
    port = free_port()
    arguments = ("--config", str(file), "--host", LOOPBACK, "--port", str(port))
    with _running(
        lab, peers.LITELLM, *arguments, port=port, environment=LITELLM_ENVIRONMENT
    ) as contestant:
        yield contestant


@contextmanager
def _running(
    lab: Lab,
    program: Path,
    *arguments: str,
    port: int,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Contestant | None]:
    if not program.exists():
        yield None
        return
    name = peers.NAMES[program]
    log = lab.folder / f"{name}.log"
    command = [str(program), *arguments]
    core = lab.cores.contestant
    with started(command, core=core, log=log, environment=environment) as running:
        wait_until_listening(port, by=running, within=START_WITHIN)
        contestant = Contestant(name, (LOOPBACK, port), name, running)
        _wait_until_answering(contestant)
        yield contestant


def _wait_until_answering(contestant: Contestant) -> None:
    """Some listen before they believe in their server. Raises BenchError if it never does."""
    until = time.monotonic() + START_WITHIN
    while True:
        contestant.running.check()
        connection = HTTPConnection(*contestant.address, timeout=START_WITHIN)
        try:
            fields = {"Host": contestant.host, "Content-Type": "application/json"}
            connection.request("POST", chat.PATH, chat.request(), fields)
            status = connection.getresponse().status
        except (OSError, HTTPException) as error:
            raise BenchError(f"{contestant.name} does not answer: {error!r}") from error
        finally:
            connection.close()
        if status == HTTPStatus.OK:
            return
        if time.monotonic() > until:
            raise BenchError(f"{contestant.name} answers a chat with {status}")
        time.sleep(0.1)


ROUTERS: Final = tuple(
    Peer(peers.NAMES[program], start, "make bench-peers")
    for program, start in (
        (peers.LLAMA_SWAP, llama_swap),
        (peers.VLLM_ROUTER, partial(router, peers.VLLM_ROUTER)),
        (peers.SGLANG_ROUTER, partial(router, peers.SGLANG_ROUTER)),
        (peers.LITELLM, litellm),
    )
)
