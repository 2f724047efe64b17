"""A model's cold start on a real GPU: one request through the activator to an endpoint at zero,
beside the same server started by hand and asked until it answers; and what of the GPU is free again
at zero.

From start to start the same program loads the same weights in seconds more or less, so whole starts
do not tell what the activator adds. Two parts of each are its own, and are judged: until there is a
process, and from its listening until the request reaches it.
"""

from __future__ import annotations

import subprocess
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from bench import contestants, model_starts
from bench.failure import BenchError
from bench.golang import BUILT
from bench.model_starts import NAME, Plan
from bench.nvidia import Gpu
from bench.report import Result, Verdict
from bench.rounds import interleaved, middle
from bench.size import Size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bench.lab import Lab
    from bench.model_starts import Burst, Command, Return, Start, Watched
    from bench.nvidia import Reading
    from bench.report import Cell

TITLE: Final = "cold start of a model on a GPU"
ADDED_LIMIT_MS: Final = 150.0
"""That the activator's parts of a start take beyond the same parts by hand."""
KEPT_LIMIT_MIB: Final = 16.0
"""Of the GPU's memory, at zero: less than a process takes that has only begun to use it."""
WEIGHTS: Final = BUILT / "weights"
NEEDED: Final = ("accelerate", "aiohttp", "torch", "transformers")


PLANS: Final = {
    Size.FULL: Plan("8B", 5, 16, 3.0, 16),
    Size.QUICK: Plan("1B", 2, 16, 3.0, 16),
    Size.SMOKE: Plan("tiny", 1, 4, 0.5, 3),
}


@dataclass(frozen=True, slots=True)
class Taken:
    before: Reading
    """The GPU's, before the first start."""
    by_hand: Sequence[Start]
    through: Sequence[tuple[Start, Return]]
    burst: Burst


def run(lab: Lab) -> Result:
    plan = PLANS[lab.size]
    gpu = Gpu.find()
    if gpu is None:
        return _left_out(plan, "no NVIDIA GPU here (nvidia-smi shows none)")
    try:
        versions = _versions(lab.model_python)
    except BenchError as error:
        return _left_out(plan, f"{error}; --model-python names another one")
    folder = WEIGHTS / plan.model
    command = partial(_command, lab, plan, folder)
    _write(command)
    taken = measure(lab, plan, command, gpu)
    note = f"{gpu.name}, driver {gpu.driver}, {versions}; weights of {_gigabytes(folder):.1f} GB"
    return result(plan, taken, notes=[f"{note}, which the page cache holds"])


def _left_out(plan: Plan, why: str) -> Result:
    return Result("gpu", TITLE, asdict(plan), (), notes=(f"left out: {why}",))


def _versions(python: str) -> str:
    """Of what the model server needs there. Raises BenchError if something is missing."""
    told = 'f"torch {torch.__version__}, transformers {transformers.__version__}"'
    question = f"import {', '.join(NEEDED)}; print({told} if torch.cuda.is_available() else '')"
    try:
        done = subprocess.run([python, "-c", question], capture_output=True, text=True, check=False)
    except OSError as error:
        raise BenchError(f"{python} cannot be run: {error}") from error
    if done.returncode:
        words = done.stderr.strip().splitlines()
        raise BenchError(f"{python} cannot run the model: {words[-1] if words else ''}")
    if not done.stdout.strip():
        raise BenchError(f"{python} has a torch that finds no GPU")
    return done.stdout.strip()


def _command(lab: Lab, plan: Plan, folder: Path, port: str) -> list[str]:
    """`port`: empty to write the weights. The model has every core but the activator's and the
    load's, if there are more."""
    cores = {lab.cores.upstream, *lab.cores.spare}
    return [
        *(lab.model_python, "-m", "bench.model_server", "--model", plan.model),
        *("--folder", str(folder), "--cores", *map(str, sorted(cores))),
        *(("--port", port) if port else ("--write",)),
    ]


def _write(command: Command) -> None:
    WEIGHTS.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(command(""), capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"the weights cannot be made: {done.stderr.strip()[-2000:]}")


def _gigabytes(folder: Path) -> float:
    return sum(each.stat().st_size for each in folder.glob("*.safetensors")) / 1e9


def measure(lab: Lab, plan: Plan, command: Command, gpu: Watched) -> Taken:
    """Both ways by turns, then the burst."""
    endpoint = {
        "name": NAME,
        "match": {"hosts": [NAME]},
        "backend": {"type": "process", "command": command("{port}")},
        "scale": {"idleTimeout": plan.idle},
        "concurrency": 1,
    }
    by_hand = partial(model_starts.by_hand, lab, plan, command, gpu)
    before = gpu.watch(plan.rest)
    by_hand()  # the first start after the weights were made fills caches for all
    with contestants.activator(lab, [endpoint]) as activator:
        through = partial(model_starts.through, plan, activator, gpu)
        ways: list[Callable[[], tuple[Start, Return | None]]] = [by_hand, through]
        hand, ours = interleaved(ways, rounds=plan.rounds, measure=lambda way: way())
        burst = model_starts.burst(plan, activator)
    return Taken(
        before=before,
        by_hand=[start for start, _ in hand],
        through=[(start, back) for start, back in ours if back is not None],
        burst=burst,
    )


def result(plan: Plan, taken: Taken, *, notes: Sequence[str]) -> Result:
    ours = [start for start, _ in taken.through]
    returns = [back for _, back in taken.through]
    added = [
        (through.reached - by_hand.reached) * 1e3
        for by_hand, through in zip(taken.by_hand, ours, strict=True)
    ]
    numbers = taken.burst.numbers
    answered = [number for number in numbers if number is not None]
    rows = [
        _row("by hand", taken.by_hand, rest="loaded"),
        _row("activator", ours, rest="just at 0"),
    ]
    return Result(
        "gpu",
        TITLE,
        asdict(plan),
        rows,
        verdicts=[
            Verdict("added to a start by hand, median", middle(added), ADDED_LIMIT_MS, "ms"),
            Verdict(
                "GPU memory in use at zero beyond before, worst",
                max(back.kept for back in returns),
                KEPT_LIMIT_MIB,
                "MiB",
            ),
            Verdict("processes left at zero", sum(not back.is_gone for back in returns), 0, ""),
            Verdict(f"of {plan.burst} at once not answered", numbers.count(None), 0, ""),
            Verdict("and answered out of order", _out_of_order(answered), 0, ""),
        ],
        notes=[
            *notes,
            f"a start took {_range(taken.by_hand)} by hand, {_range(ours)} through the activator",
            f"before the first start the GPU had {taken.before.memory:.0f} MiB in use and drew"
            f" {_watts(taken.before)}",
            f"at zero {middle(back.after for back in returns):.2f} s after the answer, the idle"
            f" timeout of {plan.idle} included; {plan.burst} at once: {taken.burst.took:.2f} s",
        ],
        raw=asdict(taken),
    )


def _range(starts: Sequence[Start]) -> str:
    took = sorted(start.took for start in starts)
    return f"{took[0]:.2f} to {took[-1]:.2f} s"


def _watts(reading: Reading) -> str:
    return "what it does not tell" if reading.power is None else f"{reading.power:.0f} W"


def _out_of_order(numbers: Sequence[int]) -> int:
    return sum(one != other for one, other in zip(numbers, sorted(numbers), strict=True))


def _row(name: str, starts: Sequence[Start], *, rest: str) -> dict[str, Cell]:
    powers = [one.power for one in starts if one.power is not None]
    return {
        "started": name,
        "starts": len(starts),
        "to answer s": middle(one.took for one in starts),
        "worst s": max(one.took for one in starts),
        "to process ms": middle(one.ordered for one in starts) * 1e3,
        "loading s": middle(one.loaded for one in starts),
        "listening to request ms": middle(one.found for one in starts) * 1e3,
        "answering s": middle(one.answered for one in starts),
        "GPU MiB": middle(one.memory for one in starts),
        "W": middle(powers) if powers else None,
        "W while": rest,
    }
