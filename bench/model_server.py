"""A model server in OpenAI's dialect that generates on a GPU: Llama's architecture, random weights.

    python -m bench.model_server --model 1B --folder weights/1B --write
    python -m bench.model_server --model 1B --folder weights/1B --port 8001

What it says means nothing; what it takes is what a trained one takes: the weights are read from
files to the GPU, and each token is one pass through all of them. It runs in an interpreter of its
own, with torch, transformers, accelerate and aiohttp; nothing else of ours imports the first three.

A token of a question is a byte of its last message, one of an answer is told by its number. The
port opens once the weights are loaded. An answer's `id` has its place in the order in which
requests came; its `timings` are CLOCK_MONOTONIC seconds, which every process on a machine shares.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
import time
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Generate = Callable[[Sequence[int], int], Sequence[int]]
    """(tokens of a question, how many are wanted) → tokens of the answer."""

SHAPES: Final[dict[str, dict[str, Any]]] = {
    "8B": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128_256,
    },
    "1B": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128_256,
        "tie_word_embeddings": True,
    },
    "tiny": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 512,
    },
}
"""Of Llama 3.1 8B and 3.2 1B; `tiny` fits anywhere."""
SHARD: Final = "4GB"
MOST_TOKENS: Final = 1024
"""Of an answer."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Of the process that answered, and of the request."""

    pid: int
    started: float
    """To a hundredth: when the kernel made the process."""
    listening: float
    arrived: float


class ModelServer:
    """Answers one request at a time, in the order in which they came."""

    def __init__(self, name: str, generate: Generate, *, listening: float) -> None:
        self._name = name
        self._generate = generate
        self._listening = listening
        self._started = process_started()
        self._turn = asyncio.Lock()
        self._numbers = count()

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/health", self._health)
        app.router.add_post("/v1/chat/completions", self._complete)
        return app

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _complete(self, request: web.Request) -> web.Response:
        arrived, number = time.monotonic(), next(self._numbers)
        try:
            body = json.loads(await request.read())
            question = body["messages"][-1]["content"].encode()
            wanted = min(int(body.get("max_tokens", 16)), MOST_TOKENS)
        except (ValueError, LookupError, TypeError, AttributeError) as problem:
            error = {"message": f"not a chat: {problem!r}", "type": "invalid_request_error"}
            return web.json_response({"error": error}, status=400)
        async with self._turn:
            # in a thread, so that /health answers meanwhile
            tokens = await asyncio.to_thread(self._generate, list(question), wanted)
        said = {"role": "assistant", "content": " ".join(map(str, tokens))}
        usage = {
            "prompt_tokens": len(question),
            "completion_tokens": len(tokens),
            "total_tokens": len(question) + len(tokens),
        }
        timings = Timings(os.getpid(), self._started, self._listening, arrived)
        return web.json_response(
            {
                "id": f"chatcmpl-{number}",
                "object": "chat.completion",
                "created": int(time.time()),
                "model": self._name,
                "choices": [{"index": 0, "message": said, "finish_reason": "length"}],
                "usage": usage,
                "timings": asdict(timings),
            }
        )


def serve(name: str, load: Callable[[], Generate], *, port: int) -> None:
    """Loads, then listens on loopback until SIGTERM."""
    generate = load()
    with socket.create_server(("127.0.0.1", port)) as listener:
        server = ModelServer(name, generate, listening=time.monotonic())
        web.run_app(server.app(), sock=listener, access_log=None, print=None, shutdown_timeout=5)


def process_started() -> float:
    """When the kernel made this process (proc_pid_stat(5), the 22nd field; 3 is the first after the
    name, which may hold anything)."""
    fields = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    since_boot = int(fields[22 - 3]) / os.sysconf("SC_CLK_TCK")
    return since_boot - time.clock_gettime(time.CLOCK_BOOTTIME) + time.monotonic()


def write(model: str, folder: Path) -> None:
    """Random weights as shards of safetensors; nothing if they are there already."""
    if folder.exists():
        return
    import torch  # noqa: PLC0415 - of this program's own interpreter, and seconds to import
    from transformers import AutoModelForCausalLM, LlamaConfig  # noqa: PLC0415

    config = LlamaConfig(**SHAPES[model])
    torch.manual_seed(0)
    with torch.device(_device(torch)):
        made = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    made.save_pretrained(unfinished, max_shard_size=SHARD)
    unfinished.rename(folder)


def load(folder: Path) -> Generate:
    """From `folder` to the GPU, or to memory where there is none."""
    import torch  # noqa: PLC0415 - as above
    from transformers import AutoModelForCausalLM  # noqa: PLC0415

    device = _device(torch)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, device_map=device)

    def generate(question: Sequence[int], wanted: int) -> list[int]:
        """Greedily, and on beyond any token that ends a text."""
        asked = torch.tensor([question], device=device)
        made = model.generate(
            asked,
            attention_mask=torch.ones_like(asked),
            max_new_tokens=wanted,
            min_new_tokens=wanted,
            do_sample=False,
            pad_token_id=0,
        )
        tokens: list[int] = made[0, len(question) :].tolist()
        return tokens

    return generate


def _device(torch: Any) -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=SHAPES, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="of the weights")
    parser.add_argument("--cores", type=int, nargs="*", default=(), help="those to run on")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--write", action="store_true", help="makes the weights and ends")
    what.add_argument("--port", type=int, help="serves them there")
    options = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # all there is to read is in the folder
    if options.cores:
        os.sched_setaffinity(0, options.cores)
    if options.write:
        write(options.model, options.folder)
    else:
        serve(options.model, lambda: load(options.folder), port=options.port)


if __name__ == "__main__":
    main()
