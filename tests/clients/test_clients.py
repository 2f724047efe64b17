"""What each client is told, from zero, with a timeout that is shorter than the start."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.clients.conftest import MODELS
from tests.clients.places import SCRIPTS, node, node_with, python_with, run

FRAMEWORKS = ("litellm==1.110.2", "langchain-openai==1.7.4")


async def told_by(python: str, script: str, base: str) -> dict[str, Any]:
    last = (await run(python, str(SCRIPTS / script), base)).splitlines()[-1]
    said: dict[str, Any] = json.loads(last)
    return said


def check_texts(said: dict[str, Any], *cases: str) -> None:
    for case in cases:
        assert said[case].strip(), case
    assert said["missing"] == "model_not_found"


def check_background(said: dict[str, Any]) -> None:
    assert said["background"]["first"] == "queued"
    assert said["background"]["last"] in ("completed", "incomplete")
    assert said["background"]["text"].strip()


def check_numbers(numbers: list[int]) -> None:
    assert len(numbers) > 8
    assert numbers == list(range(len(numbers)))


@pytest.mark.parametrize(
    "pins",
    [
        ("openai==1.10.0", "httpx<0.28"),
        ("openai==1.109.1",),
        ("openai==2.54.0",),
        ("openai==3.57.0",),
    ],
    ids=lambda pins: pins[0],
)
async def test_openai_for_python(base: str, pins: tuple[str, ...]) -> None:
    said = await told_by(str(await python_with(*pins)), "openai_python.py", base)

    assert f"openai=={said['version']}" == pins[0]
    check_texts(said, "stream", "plain", "later stream", "later plain")
    assert said["models"] == list(MODELS)
    assert said["took"] > 2.0  # it was zero
    if said["version"] != "1.10.0":  # which has no Responses yet
        check_background(said)
        assert said["background"]["cancelled"] == "cancelled"
        check_numbers(said["response"])
        check_numbers(said["resumed"])


async def test_litellm(base: str) -> None:
    said = await told_by(str(await python_with(*FRAMEWORKS)), "litellm_python.py", base)

    check_texts(said, "stream", "plain", "later stream", "later plain")
    check_background(said)


async def test_langchain(base: str) -> None:
    said = await told_by(str(await python_with(*FRAMEWORKS)), "langchain_python.py", base)

    check_texts(said, "stream", "plain", "later stream", "later plain", "response")


@pytest.mark.parametrize("name", ["openai4", "openai7"])
async def test_openai_for_node(base: str, name: str) -> None:
    place = await node_with(openai4="npm:openai@4.95.0", openai7="npm:openai@7.57.0")
    script = place / "openai_node.mjs"
    said = json.loads(await run(str(await node()), str(script), base, name, cwd=place))

    check_texts(said, "stream", "plain")
    check_background(said)
    if name != "openai4":
        check_numbers(said["resumed"])


async def test_curl_is_kept_by_the_comments(base: str) -> None:
    body = {"model": "stream", "stream": True, "messages": [{"role": "user", "content": "Why?"}]}
    patience = ("--speed-limit", "1", "--speed-time", "1")  # gives up after a second of silence
    told = await run(
        *("curl", "-sSN", *patience, f"{base}/chat/completions", "-d", json.dumps(body))
    )

    lines = told.splitlines()
    assert lines[0].startswith(": waiting for stream, place 1 in line")
    assert "data: [DONE]" in lines
