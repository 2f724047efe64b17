"""The benchmark on a GPU, where there is none: its course with a server that needs none, what the
driver says, and who is left out."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import pytest
from aiohttp.test_utils import TestClient, TestServer

from bench.benchmarks import gpu
from bench.failure import BenchError
from bench.lab import Lab
from bench.machine import Cores
from bench.model_server import ModelServer
from bench.model_starts import Plan
from bench.nvidia import Gpu, Reading
from bench.processes import python
from bench.size import Size
from tests.bench.counting_server import generate
from tests.bench.test_bench import run_bench

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CARD = "NVIDIA H100 80GB HBM3, 580.159.04"


class Untouched:
    """A GPU that nobody uses."""

    def look(self) -> Reading:
        return Reading(memory=4.0, power=70.0)

    def watch(self, seconds: float) -> Reading:
        return self.look()


def install_nvidia_smi(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else is found."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_a_model_is_started_both_ways_by_turns_and_a_burst_is_answered_in_order(
    tmp_path: Path,
) -> None:
    lab = Lab(cores=Cores.choose(), size=Size.SMOKE, folder=tmp_path)
    plan = Plan("counting", rounds=2, tokens=3, rest=0.0, burst=3, idle="100ms")

    def command(port: str) -> list[str]:
        return python("tests.bench.counting_server", "--port", port, "--load-seconds", "1")

    taken = gpu.measure(lab, plan, command, Untouched())

    assert taken.before == Untouched().look()
    starts = [*taken.by_hand, *(start for start, _ in taken.through)]
    assert len(starts) == 4
    question = len("Why does a GPU that nobody uses draw power?")
    for start in starts:
        assert start.text == f"{question} {question + 1} {question + 2}"
        assert start.loaded > 1.0
        assert start.ordered > -0.02, "the kernel tells it to a hundredth"
        assert min(start.found, start.answered) > 0
        parts = start.ordered + start.loaded + start.found + start.answered
        assert start.took == pytest.approx(parts)
    assert all(back.is_gone and back.kept == 0 and back.after > 0.1 for _, back in taken.through)
    assert taken.burst.numbers == [0, 1, 2]


async def test_the_server_answers_one_at_a_time_in_order_and_refuses_what_is_no_chat() -> None:
    at_work = most = 0

    def careful(question: Sequence[int], wanted: int) -> list[int]:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        time.sleep(0.01)  # a thread's, not the loop's: those that wait are waiting meanwhile
        at_work -= 1
        return generate(question, wanted)

    server = ModelServer("counting", careful, listening=time.monotonic())
    chat = {"messages": [{"role": "user", "content": "é"}], "max_tokens": 2}
    async with TestClient(TestServer(server.app())) as client:
        answers = await asyncio.gather(
            *(client.post("/v1/chat/completions", json=chat) for _ in range(4))
        )
        refused = await client.post("/v1/chat/completions", json={"messages": []})
        told = [await answer.json() for answer in answers]
        problem = (await refused.json())["error"]["message"]

    assert sorted(one["id"] for one in told) == [f"chatcmpl-{number}" for number in range(4)]
    assert {one["choices"][0]["message"]["content"] for one in told} == {"2 3"}
    assert told[0]["usage"] == {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4}
    assert most == 1
    timings = told[0]["timings"]
    assert timings["started"] < timings["listening"] < timings["arrived"] < time.monotonic()
    assert refused.status == 400
    assert "not a chat" in problem


def test_the_driver_is_asked_for_the_gpu_that_cuda_would_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = tmp_path / "asked"
    install_nvidia_smi(
        tmp_path,
        f'echo "$1" >>{asked}; case "$2" in *name*) echo "{CARD}";; *) echo "17, [N/A]";; esac',
        monkeypatch,
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")

    found = Gpu.find()

    assert found == Gpu("3", "NVIDIA H100 80GB HBM3", "580.159.04")
    assert found.watch(0.0) == Reading(memory=17.0, power=None)
    assert asked.read_text().split() == ["--id=3", "--id=3"]


def test_a_driver_that_finds_no_gpu_is_none_and_one_that_is_lost_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_nvidia_smi(tmp_path, 'echo "No devices were found"; exit 6', monkeypatch)

    assert Gpu.find() is None
    with pytest.raises(BenchError, match="No devices were found"):
        Gpu("0", "lost", "1").look()


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("exit 9", "no NVIDIA GPU here"),
        (f'echo "{CARD}"', "/none/such cannot be run"),
    ],
)
async def test_where_no_model_can_run_the_benchmark_is_left_out_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, why: str
) -> None:
    install_nvidia_smi(tmp_path, script, monkeypatch)

    status, out, err = await run_bench(
        *("gpu", "--smoke", "--model-python", "/none/such", "--out", str(tmp_path))
    )

    assert (status, err) == (0, "")
    (note,) = json.loads((tmp_path / "gpu.json").read_text())["notes"]
    assert note.startswith(f"left out: {why}")
    assert f"note  left out: {why}" in out
